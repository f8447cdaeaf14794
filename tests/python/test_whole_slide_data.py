"""whole-slide-data from PyPI, unmodified, on `cobuf.concurrentbuffer`: the same bytes as with upstream.

`requirements-large.txt` has it, with upstream's concurrentbuffer and what both need. Each script runs
twice, in processes of its own: with upstream, and by ``python -m cobuf.concurrentbuffer``. Python 3.10
and later lack a name that whole-slide-data 0.0.16 imports; a `sitecustomize` puts it back for both.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY

NEEDED = ("concurrentbuffer", "openslide", "tifffile", "wholeslidedata")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
if MISSING:
    pytest.skip(
        f"left out, for want of {', '.join(MISSING)}: whole-slide-data on cobuf.concurrentbuffer; "
        "pip install --no-deps -r tests/python/requirements-large.txt",
        allow_module_level=True,
    )

SITE = """
    import collections
    import collections.abc

    collections.Iterable = collections.abc.Iterable
"""

HANDED = """
    from wholeslidedata.buffer.patchcommander import SlidingPatchCommander


    class Handed(SlidingPatchCommander):
        \"\"\"Without the slide that it has closed, which cannot be pickled.\"\"\"

        def __getstate__(self):
            return {name: value for name, value in self.__dict__.items() if name != "_wsi"}
"""

SCRIPT = """
    import hashlib
    import multiprocessing
    import sys

    from handed import Handed
    from wholeslidedata.buffer.patchcommander import SlidingPatchCommander
    from wholeslidedata.iterators import create_batch_iterator, create_patch_iterator


    def told(arrays):
        for array in arrays:
            print(array.shape, array.dtype, hashlib.sha256(array.tobytes()).hexdigest(), end=" ")


    def patches(context):
        settings = {"commander_class": Handed} if context == "spawn" else {}
        with create_patch_iterator(
            "slide.tif", 0.5, cpus=2, context=context, tile_shape=(128, 128, 3), backend="openslide", **settings
        ) as iterator:
            print(len(iterator))
            for arrays, info in iterator:
                told(arrays)
                # The message goes into the queue while its buffer's number may be added to it.
                print({key: value for key, value in info.items() if key != "/buffer_id"})


    def batches(context):
        with create_batch_iterator(
            "user.yml", "training", number_of_batches=5, cpus=2, context=context, buffer_dtype="uint8"
        ) as iterator:
            print(len(iterator))
            for *arrays, info in iterator:
                told(arrays)
                print(info["index"], info["mode"], len(info["sample_references"]))


    if __name__ == "__main__":
        what, context = sys.argv[1:]
        # Of the queue that it makes for itself.
        multiprocessing.set_start_method(context)
        {"patches": patches, "batches": batches}[what](context)
"""

SCENARIO = """
    import hashlib
    import sys

    import numpy as np
    from concurrentbuffer.commander import Commander
    from concurrentbuffer.iterator import buffer_iterator_factory
    from concurrentbuffer.producer import Producer

    SHAPES = ((4, 60, 60, 3), (4, 60, 60))
    COUNT = 40


    class Numbers(Commander):
        def build(self):
            self._generator = np.random.RandomState(5)
            self._number = 0

        def create_message(self):
            self._number += 1
            return {"number": self._number, "seed": self._generator.randint(1000), "pair": (1, {2})}


    class Noise(Producer):
        def build(self):
            self._scale = 70_000.5

        def create_data(self, message):
            assert message["pair"] == (1, {2}) and 0 <= message["/buffer_id"] < 12
            generator = np.random.RandomState(message["seed"])
            image = generator.random_sample(SHAPES[0]) * self._scale
            # Casts, a list of arrays, and an axis that is broadcast.
            return [list(image), image[:1, :, :, 0].astype(np.int64) + message["number"]]


    def main():
        context, dtype, deterministic = sys.argv[1], sys.argv[2], sys.argv[3] == "ordered"
        iterator = buffer_iterator_factory(
            3, SHAPES, Numbers(), Noise(), context, deterministic, buffer_dtype=np.dtype(dtype)
        )
        digests = []
        for _ in range(COUNT):
            arrays = next(iterator)
            assert isinstance(arrays, list)
            assert all(array.flags.writeable and array.flags.owndata for array in arrays)
            texts = [f"{array.shape} {array.dtype} {array.flags.c_contiguous}" for array in arrays]
            digests.append((hashlib.sha256(b"".join(map(bytes, arrays))).hexdigest(), *texts))
        iterator.stop()
        # In any order, it is not settled which ones are the first.
        if deterministic:
            print(*digests, sep="\\n")
        print(len(set(digests)), "of", len(digests))


    if __name__ == "__main__":
        main()
"""

USER = """
    wholeslidedata:
      default:
        image_backend: openslide
        seed: 123
        yaml_source: data.yml
        label_map:
          tumor: 1
          stroma: 2
        batch_shape:
          batch_size: 4
          shape: [128, 128, 3]
          spacing: 0.5
"""

DATA = """
    training:
      - wsi:
          path: slide.tif
        wsa:
          path: slide.xml
"""

# Name, left, top, width, height.
BOXES = (("tumor", 100, 100, 300, 200), ("stroma", 500, 300, 250, 300), ("tumor", 650, 60, 200, 150))


def annotations() -> str:
    """The boxes, as ASAP writes them."""

    def annotation(name: str, x: int, y: int, width: int, height: int) -> str:
        corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
        points = "".join(f'<Coordinate Order="{at}" X="{x}" Y="{y}"/>' for at, (x, y) in enumerate(corners))
        return (
            f'<Annotation Name="box" Type="Polygon" PartOfGroup="{name}" Color="#F4FA58">'
            f"<Coordinates>{points}</Coordinates></Annotation>"
        )

    groups = "".join(f'<Group Name="{name}" PartOfGroup="None" Color="#ff0000"/>' for name in ("tumor", "stroma"))
    boxes = "".join(annotation(*box) for box in BOXES)
    return (
        f"<ASAP_Annotations><Annotations>{boxes}</Annotations>"
        f"<AnnotationGroups>{groups}</AnnotationGroups></ASAP_Annotations>"
    )


def write_slide(path: Path) -> None:
    """A pyramid of three levels, of 1024 × 768 pixels of half a micrometer."""
    import tifffile

    generator = np.random.default_rng(3)
    blocks = generator.integers(0, 256, (48, 64, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    pixels = blocks ^ generator.integers(0, 16, blocks.shape, np.uint8)
    with tifffile.TiffWriter(path) as file:
        for step in (1, 2, 4):
            file.write(
                pixels[::step, ::step],
                tile=(128, 128),
                photometric="rgb",
                compression="zlib",
                resolution=(20_000 / step, 20_000 / step),
                resolutionunit="CENTIMETER",
                subfiletype=int(step > 1),
            )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    write_slide(folder / "slide.tif")
    (folder / "slide.xml").write_text(annotations())
    files = {"script.py": SCRIPT, "scenario.py": SCENARIO, "handed.py": HANDED, "sitecustomize.py": SITE, "user.yml": USER, "data.yml": DATA}
    for name, text in files.items():
        (folder / name).write_text(textwrap.dedent(text))
    return folder


def said(folder: Path, *arguments: str, timeout: float = 300) -> str:
    """What the script prints. If it does not end in time, all of its processes are killed."""
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY / 'host/python/python'}"}
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as script:
        try:
            output, errors = script.communicate(timeout=timeout)
        except BaseException:
            os.killpg(script.pid, signal.SIGKILL)
            raise
    assert script.returncode == 0, errors
    return output


def said_with_upstream(folder: Path, *arguments: str) -> str:
    """What the script prints with upstream, which now and then never ends: then it is run again. With
    cobuf, no script is."""
    for attempt in range(3):
        try:
            return said(folder, *arguments, timeout=100)
        except subprocess.TimeoutExpired:
            warnings.warn(f"upstream did not end, in attempt {attempt + 1} at {arguments}", stacklevel=2)
    raise AssertionError("upstream did not end in three attempts")


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize(("what", "count"), [("patches", 48), ("batches", 5)])
def test_whole_slide_data_gives_the_same_bytes_as_with_upstream(
    folder: Path, what: str, count: int, context: str
) -> None:
    upstream = said_with_upstream(folder, "script.py", what, context)
    assert upstream.splitlines()[0] == str(count)
    assert len(set(upstream.splitlines())) == 1 + count
    assert said(folder, "-m", "cobuf.concurrentbuffer", "script.py", what, context) == upstream


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize(("dtype", "order"), [("uint16", "ordered"), ("<f4", "ordered"), ("uint8", "any order")])
def test_scenario_gives_the_same_bytes_as_with_upstream(
    folder: Path, dtype: str, order: str, context: str
) -> None:
    upstream = said_with_upstream(folder, "scenario.py", context, dtype, order)
    assert upstream.splitlines()[-1] == "40 of 40"
    assert len(upstream.splitlines()) == (41 if order == "ordered" else 1)
    assert said(folder, "-m", "cobuf.concurrentbuffer", "scenario.py", context, dtype, order) == upstream
