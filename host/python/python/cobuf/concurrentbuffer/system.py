"""How a buffer's processes run."""

from __future__ import annotations

from multiprocessing.context import BaseContext, SpawnContext


class BufferSystem:
    """How a buffer's processes run.

    cpus: the number of producers.
    context: a fork or spawn context of `multiprocessing`.
    deterministic: whether batches come in the order of their messages, or as they are ready.
    """

    def __init__(self, cpus: int, context: BaseContext = SpawnContext(), deterministic: bool = True) -> None:
        self._cpus = cpus
        self._context = context
        self._deterministic = deterministic

    @property
    def cpus(self) -> int:
        """The number of producers."""
        return self._cpus

    @property
    def context(self) -> BaseContext:
        """The context of `multiprocessing`."""
        return self._context

    @property
    def deterministic(self) -> bool:
        """Whether batches come in the order of their messages."""
        return self._deterministic
