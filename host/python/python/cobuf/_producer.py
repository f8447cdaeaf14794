"""Producers in Python, as their authors write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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

    They hold values of an earlier batch: write every element. Do not keep them beyond the call.
    """

    __slots__ = ("_arrays",)

    def __init__(self, arrays: dict[str, Any]) -> None:
        self._arrays = arrays

    def __getitem__(self, name: str) -> Any:
        try:
            return self._arrays[name]
        except KeyError:
            raise KeyError(f"there is no array {name!r}; there are: {', '.join(self._arrays)}") from None

    def __setitem__(self, name: str, values: Any) -> None:
        self[name][...] = values

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


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
