"""What a batch, of the extension module, does by means of other packages."""

from __future__ import annotations

from typing import Any

from cobuf._native import Batch


def copy(batch: Batch) -> dict[str, Any]:
    return {name: array.copy() for name, array in batch.items()}


def torch(batch: Batch) -> dict[str, Any]:
    from torch.utils.dlpack import from_dlpack

    return {name: from_dlpack(_lease(batch, name)) for name in batch}


def jax(batch: Batch) -> dict[str, Any]:
    from jax.dlpack import from_dlpack

    return {name: from_dlpack(_lease(batch, name)) for name in batch}


def _lease(batch: Batch, name: str) -> Any:
    """For consumers without read-only arrays, which may not know today's DLPack either: they never
    write to what they are given here."""
    return batch._lease(name, trusting=True)
