"""Commanders and producers for the tests of `cobuf.concurrentbuffer`, in a module that is quick to import:
each process of a run does."""

from __future__ import annotations

from typing import Any

import numpy as np
from cobuf.concurrentbuffer.commander import Commander
from cobuf.concurrentbuffer.producer import Producer

# Two arrays, 3.9 MB together as bytes.
SHAPES = ((12, 284, 284, 3), (12, 284, 284))


class Numbers(Commander):
    """Numbers, and a text for each that a plain dictionary cannot hold."""

    def __init__(self, first: int = 0, last: int | None = None) -> None:
        self._next, self._last = first, last
        self.built = 0

    def build(self) -> None:
        self.built += 1

    def create_message(self) -> dict[str, Any] | None:
        assert self.built == 1
        if self._next == self._last:
            return None
        self._next += 1
        return {"number": self._next - 1, "pair": (self._next, {self._next})}


class Painter(Producer):
    """Paints each array with a number of its own."""

    def __init__(self, shapes: Any = SHAPES) -> None:
        self._shapes = shapes
        self.built = 0

    def build(self) -> None:
        self.built += 1

    def create_data(self, message: dict[str, Any]) -> Any:
        assert self.built == 1
        number = message["number"]
        assert message["pair"] == (number + 1, {number + 1})
        return [np.full(shape, number % 100 + index, np.uint8) for index, shape in enumerate(self._shapes)]


class Scripted(Producer):
    """Gives what a function makes of the message."""

    def __init__(self, make: Any) -> None:
        self._make = make

    def create_data(self, message: dict[str, Any]) -> Any:
        return self._make(message)


class Ends(Commander):
    def __init__(self, how: str) -> None:
        self._how, self._left = how, 3

    def create_message(self) -> dict[str, Any] | None:
        self._left -= 1
        if self._left >= 0:
            return {"number": 2 - self._left}
        if self._how == "stop":
            raise StopIteration
        if self._how == "raise":
            raise ZeroDivisionError("no more")
        return None if self._how == "none" else [self._how]  # type: ignore[return-value]


class Broken(Numbers):
    def build(self) -> None:
        raise OSError("no such folder")


class Telling(Numbers):
    """Puts each message into a queue, and waits for a word in another one first."""

    def __init__(self, told: Any, asked: Any, last: int) -> None:
        super().__init__(last=last)
        self._told, self._asked = told, asked

    def create_message(self) -> dict[str, Any] | None:
        message = super().create_message()
        if message is not None:
            message["word"] = self._asked.get()
            self._told.put(dict(message))
        return message
