"""Waiting in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cobuf import _native

# Seconds between two looks at what a wait is for: the program may hold all slots.
_LOOK_IF_HELD = 0.1
_LOOK = 1.0


async def start(start: Callable[[_native.Cancel], _native.Host]) -> _native.Host:
    """Starts a host in a thread of the event loop. If the task is cancelled, the start is given up."""
    cancel = _native.Cancel()
    starting = asyncio.get_running_loop().run_in_executor(None, start, cancel)
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        cancel.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        raise


async def yield_to_others() -> None:
    """Lets other tasks run, also if batches are ready all the time."""
    await asyncio.sleep(0)


class Waiting:
    """The tasks of one event loop that wait for a loader. The loop watches the loader's descriptor as
    long as there are any, so no thread waits for a task."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: _native.Host) -> None:
        self._loop, self._readiness = loop, host.readiness()
        self._futures: set[asyncio.Future[bool]] = set()
        loop.add_reader(self._readiness.fileno(), self._wake)

    def _wake(self) -> None:
        # All of them: one alone may be cancelled before it takes what there is.
        for future in self._futures:
            _answer(future, True)

    async def ready(self, seconds: float) -> bool:
        future: asyncio.Future[bool] = self._loop.create_future()
        timer = self._loop.call_later(seconds, _answer, future, False)
        self._futures.add(future)
        try:
            return await future
        finally:
            timer.cancel()
            self._futures.remove(future)

    def end(self) -> bool:
        """Ends the watch if no task waits any more; whether it did."""
        if self._futures:
            return False
        if not self._loop.is_closed():
            self._loop.remove_reader(self._readiness.fileno())
        return True


def _answer(future: asyncio.Future[bool], answer: bool) -> None:
    if not future.done():
        future.set_result(answer)


async def ready(host: _native.Host, waits: dict[asyncio.AbstractEventLoop, Waiting], all_held: bool) -> bool:
    """Waits until `try_next` is worth a call; gives false if that was not so for a tenth of a second while
    the program held all slots, or for a second. Nothing is taken, so a wait that is cancelled loses
    nothing. `waits` are those of all tasks of the loader."""
    loop = asyncio.get_running_loop()
    waiting = waits.get(loop)
    if waiting is None:
        try:
            waiting = waits[loop] = Waiting(loop, host)
        except NotImplementedError:
            # This loop watches no descriptors. One of its threads waits, for a tenth of a second.
            return await loop.run_in_executor(None, host.wait)
    try:
        return await waiting.ready(_LOOK_IF_HELD if all_held else _LOOK)
    finally:
        if waiting.end():
            waits.pop(loop, None)
