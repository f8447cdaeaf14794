"""Requests: messages of this program, each with a future of its batch.

    request ── submit ──► … workers … ──► one thread takes each batch ──► the request of its number
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from cobuf._errors import StreamError
from cobuf._held import Held

if TYPE_CHECKING:
    from cobuf._native import Batch


class Request(Future["Batch"]):
    """The batch of a request: `result` waits for it, and ``await`` does in an event loop.

    A request holds its batch's slot for as long as it is kept. One that was cancelled takes none.
    """

    def __await__(self) -> Generator[Any, None, Batch]:
        from asyncio import wrap_future

        return wrap_future(self).__await__()


class Desk:
    """Takes all items of a stream, in a thread of its own, and answers the requests with them."""

    def __init__(self, take: Callable[[], Any], held: Held) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, Request] = {}
        # A batch may come before its request has said its number.
        self._early: dict[int, Any] = {}
        self._end: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(take, held), name="cobuf-requests", daemon=True)
        self._thread.start()

    def expect(self, number: int, request: Request) -> None:
        """The request gets the item of this number."""
        with self._lock:
            item = self._early.pop(number, self._end)
            if item is None:
                self._waiting[number] = request
        if item is not None:
            _answer(request, item)

    def join(self) -> None:
        """Waits for the end of the thread, after that of the stream."""
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self, take: Callable[[], Any], held: Held) -> None:
        try:
            while (item := take()) is not None:
                if isinstance(item, int):
                    held.free_or_warn(item, 1)
                    continue
                held.ended()
                if isinstance(item, StreamError):
                    return self._ended(item)
                with self._lock:
                    request = self._waiting.pop(item.sequence, None)
                    if request is None:
                        self._early[item.sequence] = item
                if request is not None:
                    _answer(request, item)
                # Neither the last batch nor its request is kept while the next one is waited for.
                del item, request
        except BaseException as error:
            end = StreamError(f"the thread that answers requests failed: {error!r}")
            end.__cause__ = error
            return self._ended(end)
        self._ended(StreamError("the stream ended before the request's batch was made: the loader was closed"))

    def _ended(self, end: Exception) -> None:
        with self._lock:
            self._end = end
            waiting = list(self._waiting.values())
            self._waiting.clear()
            self._early.clear()
        for request in waiting:
            _answer(request, end)


def _answer(request: Request, item: Any) -> None:
    # Otherwise it was cancelled.
    if request.set_running_or_notify_cancel():
        if isinstance(item, Exception):
            request.set_exception(item)
        else:
            request.set_result(item)
