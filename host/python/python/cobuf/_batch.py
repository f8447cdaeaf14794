"""A batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cobuf import _messages

if TYPE_CHECKING:
    from cobuf import _native


class Batch(Mapping[str, Any]):
    """The arrays of one batch, by name: read-only NumPy arrays that share the slot's memory.

    The slot is free once the batch and all arrays that were taken from it are gone. Arrays stay valid
    after the batch, and after the loader is closed. While all slots are held, nothing new is made.
    """

    __slots__ = ("_batch",)

    def __init__(self, batch: _native.Batch) -> None:
        self._batch = batch

    def __getitem__(self, name: str) -> Any:
        return self._batch.array(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._batch.names)

    def __len__(self) -> int:
        return len(self._batch.names)

    def __repr__(self) -> str:
        return f"<cobuf.Batch {self.sequence}: {', '.join(self)}>"

    @property
    def sequence(self) -> int:
        """The number in the stream, from 0."""
        return self._batch.sequence

    @property
    def rows(self) -> int | None:
        """The number of rows; ``None`` if the arrays have no common first axis."""
        return self._batch.rows

    @property
    def message(self) -> Any:
        """The message that the batch was made from."""
        return _messages.unpacked(self._batch.message())

    @property
    def metadata(self) -> dict[str, Any]:
        """The dictionary that the producer attached."""
        return self._batch.metadata()

    @property
    def worker(self) -> int:
        """The number of the worker that made it."""
        return self._batch.worker

    @property
    def edition(self) -> int:
        """The edition of the producer's code: 0, and one more with each swap."""
        return self._batch.edition

    @property
    def retries(self) -> int:
        """Earlier attempts at it, each of which ended with its worker's death."""
        return self._batch.retries

    @property
    def produce_seconds(self) -> float:
        """The time that the producer took."""
        return self._batch.produce_seconds

    def copy(self) -> dict[str, Any]:
        """Writable copies of the arrays, by name; they hold no slot."""
        return {name: array.copy() for name, array in self.items()}

    def torch(self) -> dict[str, Any]:
        """The arrays as torch tensors that share their memory. Do not write to them: torch has no
        read-only tensors, and a write would change the slot. `tensor.clone()` is yours."""
        from torch.utils.dlpack import from_dlpack

        return {name: from_dlpack(self._lease(name)) for name in self}

    def jax(self) -> dict[str, Any]:
        """The arrays as arrays of JAX on the CPU that share their memory. `jax.device_put` moves them
        to another device."""
        from jax.dlpack import from_dlpack

        return {name: from_dlpack(self._lease(name)) for name in self}

    def _lease(self, name: str) -> _native.Lease:
        """For consumers without read-only arrays, which may not know today's DLPack either: they never
        write to what they are given here."""
        return self._batch.lease(name, trusting=True)
