"""The errors of this package."""

from __future__ import annotations

from typing import Any


class CobufError(Exception):
    """The base of the errors of this package."""


class BatchError(CobufError):
    """One batch could not be made. The stream goes on: ask the loader for the next one.

    sequence: the batch's number in the stream.
    worker: the number of the worker that failed last.
    kind: ``"error"``, ``"panic"``, ``"crash"`` or ``"timeout"``.
    chain: the error and its causes. Of a Python producer, the exception with its place, then the
        traceback as it was in the worker.
    attempts: those that ended with a worker's death: what ended it, its last log lines, and the stacks
        of its threads, Python's first, innermost function first.
    message: what the batch was to be made from.
    """

    def __init__(self, text: str, told: dict[str, Any], message: Any) -> None:
        super().__init__(text)
        self.sequence: int = told["sequence"]
        self.worker: int = told["worker"]
        self.kind: str = told["kind"]
        self.chain: list[str] = told["chain"]
        self.attempts: list[str] = told["attempts"]
        self.message: Any = message

    def __reduce__(self) -> tuple[Any, ...]:
        told = {name: getattr(self, name) for name in ("sequence", "worker", "kind", "chain", "attempts")}
        return type(self), (str(self), told, self.message)


class StreamError(CobufError):
    """The stream ended with an error: the commander failed, or no worker can be kept alive."""
