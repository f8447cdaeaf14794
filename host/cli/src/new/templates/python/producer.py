"""The producer: makes the arrays of a batch from each message, in worker processes."""

from typing import Any

import cobuf
import numpy


class Samples:
    """A row of numbers for each item of a message, with noise.

    batch_size: the most rows in a batch.
    width: the numbers in a row.
    noise: the standard deviation of the noise.
    """

    def __init__(self, batch_size: int, width: int = 16, noise: float = 0.0) -> None:
        # Once in each worker: open files and load models here.
        if noise < 0:
            raise ValueError(f"noise is {noise}, expected a number that is not negative")
        self.width = width
        self.noise = noise

    @staticmethod
    def arrays(batch_size: int, width: int = 16, **_: Any) -> dict[str, cobuf.Array]:
        """The arrays of a batch. They follow from the configuration alone."""
        return {"x": cobuf.Array("float32", (batch_size, width)), "item": cobuf.Array("int64", (batch_size,))}

    def produce(self, message: dict[str, Any], out: cobuf.Out, context: cobuf.Context) -> None:
        """Makes one batch. An exception is the error of this batch, and the run goes on."""
        items = message["items"]
        rows = context.rows = len(items)
        # Shared memory: written in place, read without a copy.
        out["item"][:rows] = items
        for row, item in enumerate(items):
            out["x"][row] = self.load(item)
        # The same numbers for the same message, in any worker and at any attempt.
        out["x"][:rows] += context.rng.normal(0, self.noise, (rows, self.width))

    def load(self, item: int) -> Any:
        """Makes an item: put what is slow here, such as reading a file."""
        if item >= 1_000_000:
            raise ValueError(f"cannot load item {item}, there are 1000000")
        return item + numpy.arange(self.width)
