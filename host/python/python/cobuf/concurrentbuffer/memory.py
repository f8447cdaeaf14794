"""The memory of the buffers."""

from __future__ import annotations

from typing import Any

from cobuf.concurrentbuffer.manager import Held


class BufferMemory:
    """One array of each buffer.

    buffers: the held buffers, and the number of the array.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, buffers: tuple[Held, int]) -> None:
        self._shape = shape
        self._dtype = dtype
        self._held, self._index = buffers

    def get_buffer(self, buffer_id: int) -> Any:
        """A fresh, writable copy of the array in a buffer that is held."""
        return self._held.bytes_of(buffer_id, self._index).view(self._dtype).reshape(self._shape).copy()
