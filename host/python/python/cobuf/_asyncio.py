"""Waiting in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cobuf import _native


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


async def ready(host: _native.Host) -> int:
    """Waits until `try_next` is worth a call: gives 0; or the number of slots, if this program holds
    them all for a tenth of a second. Nothing is taken, so a wait that is cancelled loses nothing."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()

    def done(held: int) -> None:
        if not future.done():
            future.set_result(held)

    def wake(held: int) -> None:
        try:
            loop.call_soon_threadsafe(done, held)
        except RuntimeError:
            pass  # The loop is closed: the task is no more.

    host.when_ready(wake)
    return await future
