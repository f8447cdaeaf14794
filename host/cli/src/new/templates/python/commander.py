"""The commander: says what to make, with one message for each batch."""

from typing import Any


class Batches:
    """A number of batches of items, in order, from the first again after the last.

    It has a length and can be asked for any message, so that a run resumes anywhere at no cost. Any
    iterable is a commander as well, such as a generator function.

    batches: the number of messages.
    batch_size: the items in each.
    length: the number of all items.
    """

    def __init__(self, batches: int, batch_size: int, length: int) -> None:
        if length < 1:
            raise ValueError(f"length is {length}, expected at least 1")
        self.batches = batches
        self.batch_size = batch_size
        self.length = length

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> dict[str, Any]:
        first = index * self.batch_size
        return {"items": [item % self.length for item in range(first, first + self.batch_size)]}
