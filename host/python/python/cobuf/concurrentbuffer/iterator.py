"""Iterates over the batches of a buffer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from cobuf.concurrentbuffer.commander import Commander
from cobuf.concurrentbuffer.factory import BufferFactory, create_buffer_factory
from cobuf.concurrentbuffer.producer import Producer

I = TypeVar("I", bound="BufferIterator")


class BufferIterator(Iterator[Any]):
    """Gives the arrays of each batch, as a list of fresh arrays.

    auto_free_buffer: whether the buffer of a batch is free at the next call. Otherwise it is held
        until ``buffer_state_memory.update_buffer_id_to_free``.
    """

    def __init__(self, buffer_factory: BufferFactory, auto_free_buffer: bool = True) -> None:
        self._buffer_factory = buffer_factory
        self._auto_free_buffer = auto_free_buffer
        self._last_buffer_id: int | None = None

    def __enter__(self: I) -> I:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.stop()

    def __next__(self) -> Any:
        if self._auto_free_buffer and self._last_buffer_id is not None:
            self._buffer_factory.buffer_state_memory.update_buffer_id_to_free(self._last_buffer_id)
        self._last_buffer_id = self._next()
        return [memory.get_buffer(self._last_buffer_id) for memory in self._buffer_factory.buffer_memories]

    def _next(self) -> int:
        return self._buffer_factory.buffer_state_memory.get_available_buffer_id()

    def stop(self) -> None:
        """Ends all processes at once. A second call does nothing."""
        self._buffer_factory.shutdown()


def buffer_iterator_factory(
    cpus: int,
    buffer_shapes: Sequence[Any],
    commander: Commander,
    producer: Producer,
    context: BaseContext | str | None,
    deterministic: bool,
    buffer_dtype: Any = np.uint16,
    buffer_iterator_class: type[Any] = BufferIterator,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """An iterator over a factory with 4 buffers for each CPU; further arguments are the iterator's."""
    buffer_factory = create_buffer_factory(
        cpus=cpus,
        batch_commander=commander,
        batch_producer=producer,
        context=context,
        deterministic=deterministic,
        buffer_shapes=buffer_shapes,
        buffer_dtype=buffer_dtype,
    )
    return buffer_iterator_class(*args, buffer_factory=buffer_factory, **kwargs)
