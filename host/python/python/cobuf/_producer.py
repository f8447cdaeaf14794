"""Producers in Python, as their authors write them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def producer(*, arrays: Mapping[str, Any]) -> Callable[[F], F]:
    """Makes a function a producer of these arrays.

    The function takes ``message``, ``(message, out)`` or ``(message, out, context)``. It writes into
    ``out["name"]``, or returns a dictionary of arrays, a tuple of them in their order, or the only
    array.

    A producer may also be a class. It has ``arrays``, a dictionary or a function of the
    configuration that gives one, and ``produce``, a method like the function. It is made once in
    each worker, with the entries of ``producer_config`` as arguments, and its ``close`` is called at
    the end if it has one.
    """

    def mark(function: F) -> F:
        function.arrays = arrays  # type: ignore[attr-defined]
        return function

    return mark


class Out(Mapping[str, Any]):
    """The arrays of a batch, to write into: NumPy views of the slot, which is shared memory.

    They hold values of an earlier batch: write every element. Do not keep them beyond the call. An
    array with an axis that is `AtMost` n is as long as it may be, unless its shape is set first.
    """

    __slots__ = ("_arrays", "_at_most", "_context", "_shapes", "_taken")

    def __init__(self, arrays: dict[str, Any], at_most: Mapping[str, list[int]], context: Context) -> None:
        self._arrays = arrays
        # The axes of which each batch has lengths of its own, by the arrays' names.
        self._at_most = at_most
        self._context = context
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._taken: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        array = self._find(name)
        self._taken.add(name)
        return array

    def __setitem__(self, name: str, values: Any) -> None:
        if self._is_open(name):
            import numpy

            shape = numpy.shape(values)
            # Any other number of axes is broadcast, as NumPy does it.
            if len(shape) == self._find(name).ndim:
                self.set_shape(name, shape)
        self[name][...] = values

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __contains__(self, name: object) -> bool:
        # Not by `Mapping`, which would take the array.
        return name in self._arrays

    def set_shape(self, name: str, shape: int | Sequence[int]) -> None:
        """Sets the shape that an array has in this batch, before it is taken: along the axes that are
        `AtMost` n from 0 to n, along all others the declared length, or `context.rows`.

        Values that are assigned, ``out["boxes"] = found``, or returned set it, too."""
        array = self._find(name)
        lengths = _lengths(name, shape)
        told = f"array {name!r} was given shape {lengths}"
        if name in self._shapes:
            raise ValueError(f"{told} after shape {self._shapes[name]}, expected one shape in a batch; set it once")
        if name in self._taken:
            raise ValueError(f"{told} after it was taken, expected before; set the shape first")
        if len(lengths) != array.ndim:
            raise ValueError(f"{told}, expected {array.ndim} axes")
        at_most, rows = self._at_most.get(name, []), self._context.rows
        for axis, (length, most) in enumerate(zip(lengths, array.shape, strict=True)):
            expected = rows if axis == 0 and rows is not None and axis not in at_most else most
            what = f"array {name!r} was given length {length} along axis {axis}, expected"
            if axis in at_most and not 0 <= length <= most:
                raise ValueError(f"{what} at most {most}; give 0 to {most}, or declare more")
            if axis not in at_most and length != expected:
                raise ValueError(f"{what} {expected}; give that, set context.rows before, or declare AtMost({most})")
        self._shapes[name] = lengths
        self._arrays[name] = array.reshape(-1)[: math.prod(lengths)].reshape(lengths)

    def _said(self) -> list[tuple[str, tuple[int, ...]]]:
        """The shapes that were set, with the batch's rows."""
        rows, told = self._context.rows, []
        for name, lengths in self._shapes.items():
            if rows is not None and lengths and 0 not in self._at_most.get(name, []):
                lengths = (rows, *lengths[1:])
            told.append((name, lengths))
        return told

    def _store(self, name: str, values: Any) -> None:
        """Stores an array that was returned. It says the shape, and the rows if it has fewer."""
        into = self._find(name)
        if values.dtype != into.dtype:
            raise TypeError(f"array {name!r} has elements of type {values.dtype}, expected {into.dtype}")
        at_most = self._at_most.get(name, [])
        first = values.ndim == into.ndim > 0 and 0 not in at_most and len(values) < len(into)
        if first and self._context.rows in (None, len(values)) and self._fits(values, into, at_most):
            self._context.rows = len(values)
        if self._is_open(name) and values.shape != into.shape:
            self.set_shape(name, values.shape)
            into = self._arrays[name]
        elif first and values.shape[1:] == into.shape[1:] and self._context.rows == len(values):
            into = into[: len(values)]
        if values.shape != into.shape:
            raise ValueError(f"array {name!r} has shape {values.shape}, expected {into.shape}")
        into[...] = values

    @staticmethod
    def _fits(values: Any, into: Any, at_most: list[int]) -> bool:
        """Whether only the rows, and axes that are at most n, are other ones."""
        axes = zip(values.shape[1:], into.shape[1:], strict=True)
        return all(found == most or axis in at_most for axis, (found, most) in enumerate(axes, 1))

    def _is_open(self, name: str) -> bool:
        """Whether an array's shape can still be set."""
        return name in self._at_most and name not in self._shapes and name not in self._taken

    def _find(self, name: str) -> Any:
        try:
            return self._arrays[name]
        except KeyError:
            raise KeyError(f"there is no array {name!r}; there are: {', '.join(self._arrays)}") from None


def _lengths(name: str, shape: int | Sequence[int]) -> tuple[int, ...]:
    try:
        axes = shape if isinstance(shape, Iterable) else (shape,)
        return tuple(operator.index(length) for length in axes)
    except TypeError:
        raise TypeError(f"array {name!r} was given shape {shape!r}, expected whole numbers") from None


class Context:
    """The message that is made.

    sequence: its number in the stream, from 0.
    seed: depends on the run's seed and the sequence only. Python's, NumPy's and torch's global
        generators are seeded with it.
    attempt: earlier attempts, each of which ended with the death of a worker.
    worker: the number of this worker; content should not depend on it.
    rows: to set, if the batch has fewer rows than declared.
    metadata: to set: a dictionary that comes with the batch.
    """

    __slots__ = ("_rng", "attempt", "metadata", "rows", "seed", "sequence", "worker")

    def __init__(self, sequence: int, seed: int, attempt: int, worker: int) -> None:
        self.sequence = sequence
        self.seed = seed
        self.attempt = attempt
        self.worker = worker
        self.rows: int | None = None
        self.metadata: dict[str, Any] | None = None
        self._rng: Any = None

    @property
    def rng(self) -> Any:
        """NumPy's generator for this message."""
        if self._rng is None:
            import numpy

            self._rng = numpy.random.default_rng(self.seed)
        return self._rng
