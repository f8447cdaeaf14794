"""Element types and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# The host's names, by NumPy's.
_HOST = {
    "bool": "bool",
    "uint8": "u8",
    "uint16": "u16",
    "uint32": "u32",
    "uint64": "u64",
    "int8": "i8",
    "int16": "i16",
    "int32": "i32",
    "int64": "i64",
    "float16": "f16",
    "bfloat16": "bf16",
    "float32": "f32",
    "float64": "f64",
}
_NUMPY = {host: name for name, host in _HOST.items()}


@dataclass(frozen=True)
class AtMost:
    """An axis along which each batch has a length of its own, from 0 to `most`.

    `cobuf.Array("float32", (cobuf.AtMost(200), 4))` has room for 200 boxes; `Out.set_shape` says how
    many a batch has.
    """

    most: int


@dataclass(frozen=True)
class Array:
    """One array of a batch.

    dtype: the element type: a name such as ``"uint8"`` or ``"bfloat16"``, a NumPy or torch dtype, or
        a type such as ``float``. In NumPy, ``"bfloat16"`` needs ``pip install 'cobuf[bf16]'``.
    shape: the lengths of the axes, outermost first; `AtMost` for one that each batch has of its own.
    """

    dtype: Any
    shape: Sequence[int | AtMost]

    @property
    def host_dtype(self) -> str:
        """The host's name of the element type, such as ``"u8"``."""
        name = str(self.dtype).removeprefix("torch.")
        if name not in _HOST:
            import numpy

            try:
                name = numpy.dtype(self.dtype).name
            except TypeError:
                pass
        if name not in _HOST:
            raise TypeError(f"the element type is {self.dtype!r}, expected one of {', '.join(_HOST)}")
        return _HOST[name]


def declared(arrays: Mapping[str, Any]) -> list[tuple[str, str, list[int], list[int]]]:
    """The arrays as the host takes them: name, element type, shape, and the axes that are at most as
    long as the shape says."""
    told = []
    for name, array in arrays.items():
        if not isinstance(array, Array):
            try:
                array = Array(*array)
            except TypeError:
                raise TypeError(
                    f"array {name!r} is declared as {array!r}, expected cobuf.Array(dtype, shape)"
                ) from None
        if array.host_dtype == "bf16":
            _bfloat16()  # Before the first batch.
        shape = (array.shape,) if isinstance(array.shape, (int, AtMost)) else array.shape
        most = [int(axis.most if isinstance(axis, AtMost) else axis) for axis in shape]
        at_most = [number for number, axis in enumerate(shape) if isinstance(axis, AtMost)]
        told.append((name, array.host_dtype, most, at_most))
    return told


def numpy_name(host_dtype: str) -> str:
    """NumPy's name of an element type."""
    return _NUMPY[host_dtype]


def as_numpy(buffer: Any, host_dtype: str) -> Any:
    """A buffer as an array that shares its memory."""
    import numpy

    array = numpy.asarray(buffer)
    return array.view(_bfloat16()) if host_dtype == "bf16" else array


def _bfloat16() -> Any:
    """NumPy's type for bf16, whose bits are of no use to anyone: an array of other numbers would be
    wrong without an error."""
    try:
        import ml_dtypes
    except ImportError:
        raise ImportError(
            "NumPy has the element type bfloat16 with the package ml_dtypes only: pip install 'cobuf[bf16]'"
        ) from None
    return ml_dtypes.bfloat16
