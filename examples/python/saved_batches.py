"""Gives back the batches that `cobuf run --save` has written: `python examples/python/saved_batches.py`.

`Files` names the files of a folder in the order of their numbers, and `SavedBatches` reads them. So a
model sees exactly the same batches again, and a slow pipeline runs only once. The example saves the
batches of a pipeline first; the digests of both runs are then the same. For an application:

    cobuf.Loader(commander=Files("batches"), producer=SavedBatches, producer_config={"folder": "batches"})
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy

import cobuf

COMMAND = Path(cobuf.__file__).parent / "bin" / "cobuf"


class Files:
    """The commander. A batch that failed has no file: it fails again, under its number."""

    def __init__(self, folder):
        self.last = max(int(path.stem) for path in Path(folder).glob("*.npz"))

    def __len__(self):
        return self.last + 1

    def __getitem__(self, number):
        return {"file": f"{number:09}.npz"}


class SavedBatches:
    """The producer. Each file says which arrays there are; a batch may be shorter than they are."""

    @staticmethod
    def arrays(folder):
        with numpy.load(next(Path(folder).glob("*.npz"))) as saved:
            declared = json.loads(saved["__metadata__"].item())["arrays"]
            return {array["name"]: cobuf.Array(saved[array["name"]].dtype, axes(array)) for array in declared}

    def __init__(self, folder):
        self.folder = Path(folder)

    def produce(self, message, out, context):
        with numpy.load(self.folder / message["file"]) as saved:
            arrays = dict(saved)
        context.metadata = json.loads(arrays.pop("__metadata__").item())["metadata"]
        return arrays


def axes(array):
    """The lengths of an array's axes."""
    return tuple(cobuf.AtMost(n) if axis in array.get("at_most", ()) else n for axis, n in enumerate(array["shape"]))


class Walks:
    """What is saved first: random walks of different lengths, the last batch shorter than the others."""

    arrays = {
        "start": cobuf.Array("float32", (8, 2)),
        "steps": cobuf.Array("int8", (cobuf.AtMost(1000), 2)),
    }

    def produce(self, message, out, context):
        if message["index"] == 19:
            context.rows = 3
        length = int(context.rng.integers(1001))
        out.set_shape("steps", (length, 2))
        out["start"][:] = context.rng.random(out["start"].shape)
        out["steps"][:] = context.rng.integers(-1, 2, (length, 2))
        context.metadata = {"length": length}


class Jobs:
    def __len__(self):
        return 20

    def __getitem__(self, index):
        return {"index": index}


def run(folder, commander, producer, *options):
    """The report of a pipeline of two classes of this file."""
    (folder / "pipeline.toml").write_text(
        f'[commander]\nplugin = "{__file__}:{commander}"\n[producer]\nplugin = "{__file__}:{producer}"\n'
    )
    command = [COMMAND, "run", "pipeline.toml", "--json", "--python", sys.executable, *options]
    return json.loads(subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE).stdout)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = run(folder, "Jobs", "Walks", "--save", "batches")
        there = 'folder="batches"'
        again = run(folder, "Files", "SavedBatches", "--set", f"commander.{there}", "--set", f"producer.{there}")
    print(f"{again['batches']} batches given back, the same as before: {again['content_digest'] == first['content_digest']}")


if __name__ == "__main__":
    main()
