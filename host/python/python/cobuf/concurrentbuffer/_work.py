"""Commander and producer, as cobuf calls them in their processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy

from cobuf import Array
from cobuf.concurrentbuffer import _handover
from cobuf.concurrentbuffer.commander import BUFFER_ID_KEY


class Commands:
    """The messages of a commander.

    commander: what hands it over. buffers: their number.
    """

    def __init__(self, commander: dict[str, int], buffers: int) -> None:
        self._commander = _handover.taken(commander)
        self._buffers = buffers
        self._commander.build()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number in count():
            try:
                message = self._commander.create_message()
            except StopIteration:
                return
            if message is None:
                return
            if not isinstance(message, dict):
                kind = type(message).__name__
                raise TypeError(f"create_message returned {kind}: {message!r}, expected a dict or None")
            message[BUFFER_ID_KEY] = number % self._buffers
            yield message

    def close(self) -> None:
        """Once the stream has ended. What is in queues may wait for the application to read it."""
        _handover.left()


class Work:
    """The work of a producer on messages.

    The arrays are bytes, so that every element type of NumPy can be had.

    producer: what hands over the producer, the buffers' shapes and their element type.
    sizes: those of the buffers, in bytes.
    """

    # NumPy's and Python's generators are the producer's own business.
    seeded = False

    @staticmethod
    def arrays(producer: dict[str, int], sizes: Sequence[int]) -> dict[str, Array]:
        """One for each buffer."""
        return {str(index): Array("uint8", (size,)) for index, size in enumerate(sizes)}

    def __init__(self, producer: dict[str, int], sizes: Sequence[int]) -> None:
        self._producer, self._shapes, self._dtype = _handover.taken(producer)
        self._producer.build()

    def produce(self, message: dict[str, Any], out: Mapping[str, Any]) -> None:
        """Fills the buffers."""
        data = self._producer.create_data(message=message)
        if len(self._shapes) == 1 and isinstance(data, numpy.ndarray) and data.shape == self._shapes[0]:
            data = (data,)
        for index, shape in enumerate(self._shapes):
            # With whatever cast and broadcast it takes.
            out[str(index)].view(self._dtype).reshape(shape)[...] = data[index]

    def close(self) -> None:
        """At the end of the process."""
        _handover.left()
