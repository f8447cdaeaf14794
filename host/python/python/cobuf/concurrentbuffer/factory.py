"""Puts the parts of a buffer together."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from contextlib import closing
from multiprocessing import util
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np

from cobuf import Loader
from cobuf.concurrentbuffer.commander import Commander, get_commander_process_class_object
from cobuf.concurrentbuffer.info import BufferInfo
from cobuf.concurrentbuffer.manager import SharedBufferManager
from cobuf.concurrentbuffer.memory import BufferMemory
from cobuf.concurrentbuffer.producer import Producer, get_producer_process_class_object
from cobuf.concurrentbuffer.state import BufferState, BufferStateMemory
from cobuf.concurrentbuffer.system import BufferSystem

_WORK = "cobuf.concurrentbuffer._work"
_MESSAGE_CAPACITY = 256 * 1024
# There was no limit.
_START_TIMEOUT = 24 * 60 * 60.0


class BufferFactory:
    """Starts all processes, and waits until each has built its commander or producer."""

    def __init__(
        self, buffer_system: BufferSystem, buffer_info: BufferInfo, commander: Commander, producer: Producer
    ) -> None:
        self._buffer_system = buffer_system
        self._buffer_info = buffer_info
        self._commander = commander
        self._producer = producer
        self._commander_process_class = get_commander_process_class_object(buffer_system.context)
        self._producer_process_class = get_producer_process_class_object(buffer_system.context)
        self._shapes = [_shape(shape) for shape in buffer_info.shapes]
        self._dtype = np.dtype(buffer_info.dtype)
        if self._dtype.hasobject:
            raise TypeError(f"the buffers are of type {self._dtype}, expected one without Python objects")
        self._shared_buffer_manager = SharedBufferManager(buffer_info)
        self._start()
        self._buffer_state_memory = BufferStateMemory(self._shared_buffer_manager.state_buffer)
        self._buffer_memories = [
            BufferMemory(shape, self._dtype, buffers)
            for shape, buffers in zip(self._shapes, self._shared_buffer_manager.buffers, strict=True)
        ]

    def _start(self) -> None:
        work = (self._producer, self._shapes, self._dtype)
        with (
            closing(self._commander_process_class(self._commander)) as commander,
            closing(self._producer_process_class(work)) as producer,
        ):
            sizes = [int(np.prod(shape, dtype=np.int64)) * self._dtype.itemsize for shape in self._shapes]
            loader = Loader(
                commander=f"{_WORK}:Commands",
                commander_config={"commander": commander.reference, "buffers": self._buffer_info.count},
                producer=f"{_WORK}:Work",
                producer_config={"producer": producer.reference, "sizes": sizes},
                workers=self._buffer_system.cpus,
                slots=self._buffer_info.count,
                ordered=self._buffer_system.deterministic,
                message_capacity=getattr(self._commander, "message_capacity", _MESSAGE_CAPACITY),
                start_timeout=_START_TIMEOUT,
                stop_grace=0,
                # Another commander would begin anew.
                on_commander_failure={"error": "end", "panic": "end", "crash": "end", "timeout": "end"},
                preload=["numpy", _WORK],
            )
            # No parameters, because a fork has the locks of the application's threads.
            loader._settings.update(start_method=commander.start_method, keep_descriptors=True)
            # A fork would have what is not written yet, too.
            getattr(util, "_flush_std_streams")()
            self._shared_buffer_manager.start(loader)

    @property
    def buffer_system(self) -> BufferSystem:
        """How the processes run."""
        return self._buffer_system

    @property
    def buffer_state_memory(self) -> BufferStateMemory:
        """The states of the buffers."""
        return self._buffer_state_memory

    @property
    def buffer_memories(self) -> list[BufferMemory]:
        """The memory of the buffers, for each array of a batch."""
        return self._buffer_memories

    def shutdown(self) -> None:
        """Ends all processes at once. A second call does nothing."""
        self._shared_buffer_manager.shutdown()


def _shape(shape: Any) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(int(length) for length in shape)


def context_of(context: BaseContext | str | None) -> BaseContext:
    """A context of `multiprocessing`, which may be given by its name."""
    return context if isinstance(context, BaseContext) else multiprocessing.get_context(context)


def create_buffer_factory(
    cpus: int,
    batch_commander: Commander,
    batch_producer: Producer,
    context: BaseContext | str | None,
    deterministic: bool,
    buffer_shapes: Sequence[Any],
    buffer_dtype: Any,
) -> BufferFactory:
    """A factory with 4 buffers for each CPU."""
    return BufferFactory(
        buffer_system=BufferSystem(cpus=cpus, context=context_of(context), deterministic=deterministic),
        buffer_info=BufferInfo(shapes=buffer_shapes, count=cpus * len(BufferState), dtype=buffer_dtype),
        commander=batch_commander,
        producer=batch_producer,
    )
