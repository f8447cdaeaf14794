"""The shared memory of a run."""

from __future__ import annotations

from multiprocessing import ProcessError
from typing import Any

from cobuf import Batch, Loader
from cobuf.concurrentbuffer.info import BufferInfo


class SharedBufferManagerNotStarted(ProcessError):
    """The buffers are asked for before `SharedBufferManager.start`, or after ``shutdown``."""


class Held:
    """The batches that the application holds, by the numbers of their buffers."""

    def __init__(self, loader: Loader, count: int) -> None:
        self._loader = loader
        self._count = count
        self._batches: dict[int, Batch] = {}

    def take(self) -> int:
        """Waits for the next batch; the number of its buffer."""
        batch = next(self._loader)
        buffer_id = batch.sequence % self._count
        self._batches[buffer_id] = batch
        return buffer_id

    def release(self, buffer_id: int) -> None:
        """Gives a buffer back."""
        self._batches.pop(buffer_id, None)

    def release_all(self) -> None:
        """Gives all buffers back."""
        self._batches.clear()

    def bytes_of(self, buffer_id: int, array: int) -> Any:
        """The bytes of an array of a buffer that is held."""
        if buffer_id not in self._batches:
            raise KeyError(f"buffer {buffer_id} is not held; held are: {sorted(self._batches)}")
        return self._batches[buffer_id][str(array)]


class SharedBufferManager:
    """Starts and ends the processes with their buffers: the slots of a loader."""

    def __init__(self, buffer_info: BufferInfo) -> None:
        self._buffer_info = buffer_info
        self._loader: Loader | None = None
        self._held: Held | None = None

    def start(self, loader: Loader) -> None:
        """Starts the loader."""
        self._loader = loader.start()
        self._held = Held(loader, self._buffer_info.count)

    def shutdown(self) -> None:
        """Ends all processes at once. A second call does nothing."""
        if self._held is not None:
            self._held.release_all()
        if self._loader is not None:
            self._loader.close()
        self._held = None

    def _started(self) -> Held:
        if self._held is None:
            raise SharedBufferManagerNotStarted("the buffers are there between start and shutdown only")
        return self._held

    @property
    def state_buffer(self) -> Held:
        """The buffers' states, as far as they are the application's."""
        return self._started()

    @property
    def buffers(self) -> list[tuple[Held, int]]:
        """For each array of a batch, where its memory is found."""
        return [(self._started(), index) for index in range(len(self._buffer_info))]
