"""The states of the buffers."""

from __future__ import annotations

from enum import Enum

from cobuf.concurrentbuffer.manager import Held


class BufferState(Enum):
    """The states of a buffer."""

    FREE = 1
    AVAILABLE = 2
    RESERVED = 3
    PROCESSING = 4


class BufferStateMemory:
    """The states of the buffers, as far as they are the application's: which ones it holds."""

    def __init__(self, buffer: Held) -> None:
        self._buffer = buffer

    def get_available_buffer_id(self) -> int:
        """Waits for the next buffer, which is then held. The stream's end is `StopIteration`; errors
        are `cobuf.BatchError` and `cobuf.StreamError`."""
        return self._buffer.take()

    def update_buffer_id_to_free(self, buffer_id: int) -> None:
        """Gives a buffer back."""
        self._buffer.release(buffer_id)
