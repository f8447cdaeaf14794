"""Batches that `cobuf run --save` has written, read by NumPy and by safetensors: those of the loader."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy
import pytest
import safetensors.numpy
from conftest import REPOSITORY
from test_command import cobuf_, report

import cobuf

KINDS = list(cobuf._arrays._HOST)

SOURCE = """\
import cobuf

KINDS = {kinds}


class Jobs:
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return {{"item": index, "path": 'ä "b"', "weights": [0.5, None, True]}}


class Batches:
    arrays = {{
        "image/left": cobuf.Array("float32", (3, 2, 2)),
        "boxes": cobuf.Array("float64", (cobuf.AtMost(5), 4)),
        "number": cobuf.Array("int16", ()),
        **{{kind: cobuf.Array(kind, (3, 2)) for kind in KINDS}},
    }}

    def produce(self, message, out, context):
        if message["item"] == 4:
            raise ValueError("no pixels")
        out["image/left"][:] = context.rng.random((3, 2, 2))
        out.set_shape("boxes", (message["item"], 4))
        out["boxes"][:] = context.rng.random((message["item"], 4))
        out["number"][...] = -message["item"]
        for kind in KINDS:
            out[kind][:] = context.rng.integers(0, 2, (3, 2))
        context.metadata = {{"seen": message["item"]}}
"""


def folder_with(tmp_path: Path, kinds: list[str]) -> Path:
    (tmp_path / "saved.py").write_text(SOURCE.format(kinds=kinds))
    (tmp_path / "saved.toml").write_text(
        '[commander]\nplugin = "saved.py:Jobs"\n[producer]\nplugin = "saved.py:Batches"\n[run]\nseed = 7\nworkers = 2\n'
    )
    return tmp_path


def loaded(folder: Path) -> dict[int, tuple[dict[str, object], object, object]]:
    """The loader's batches: arrays, message, metadata."""
    found = {}
    plugins = {"commander": f"{folder}/saved.py:Jobs", "producer": f"{folder}/saved.py:Batches"}
    with cobuf.Loader(**plugins, seed=7, workers=2) as loader:
        for item in loader.results():
            if isinstance(item, cobuf.Batch):
                arrays = {name: numpy.array(item[name]) for name in item}
                found[item.sequence] = (arrays, item.message, item.metadata)
    return found


def save(folder: Path, format: str) -> list[Path]:
    ended = cobuf_(folder, "run", "saved.toml", "--save", format, "--format", format)
    assert ended.returncode == 1 and "5 batches in" in ended.stderr and "1 errors" in ended.stderr, ended.stderr
    return sorted((folder / format).iterdir())


def test_numpy_reads_what_the_loader_gives(tmp_path):
    folder = folder_with(tmp_path, [kind for kind in KINDS if kind != "bfloat16"])
    expected = loaded(folder)
    files = save(folder, "npz")
    assert [path.name for path in files] == [f"{number:09}.npz" for number in expected]
    for path, (sequence, (arrays, message, metadata)) in zip(files, expected.items(), strict=True):
        with numpy.load(path, allow_pickle=False) as saved:
            assert set(saved) == {*arrays, "__metadata__"}
            about = json.loads(saved["__metadata__"].item())
            for name, array in arrays.items():
                assert saved[name].dtype == array.dtype and saved[name].shape == array.shape
                assert saved[name].tobytes() == array.tobytes()
        assert (about["sequence"], about["message"], about["metadata"]) == (sequence, message, metadata)
        assert about["arrays"][1] == {"name": "boxes", "dtype": "f64", "shape": [5, 4], "at_most": [0]}


def test_safetensors_reads_what_the_loader_gives(tmp_path):
    folder = folder_with(tmp_path, KINDS)
    expected = loaded(folder)
    files = save(folder, "safetensors")
    for path, (sequence, (arrays, message, metadata)) in zip(files, expected.items(), strict=True):
        with safetensors.safe_open(path, framework="numpy") as saved:
            about = saved.metadata()
            assert set(saved.keys()) == set(arrays)
        assert about["sequence"] == str(sequence)
        assert (json.loads(about["message"]), json.loads(about["metadata"])) == (message, metadata)
        tensors = safetensors.numpy.load_file(path)
        for name, array in arrays.items():
            assert tensors[name].dtype == array.dtype and tensors[name].shape == array.shape
            assert tensors[name].tobytes() == array.tobytes()
        # Each array is aligned in the file, which may be mapped.
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        offsets = {name: info["data_offsets"][0] for name, info in json.loads(content[8 : 8 + length]).items() if name in arrays}
        assert all((8 + length + offset) % arrays[name].dtype.itemsize == 0 for name, offset in offsets.items())


def test_bf16_needs_safetensors(tmp_path):
    ended = cobuf_(folder_with(tmp_path, KINDS), "run", "saved.toml", "--save", "npz")
    assert ended.returncode == 2
    assert '"bfloat16" has elements of type bf16, which NumPy does not have; give --format safetensors' in ended.stderr
