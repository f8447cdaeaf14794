"""Number, shapes and element type of the buffers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class BufferInfo:
    """Number, shapes and element type of the buffers.

    shapes: one for each array of a batch.
    count: how many batches can be under way or held at a time.
    dtype: the element type of all arrays: any of NumPy's but Python objects.
    """

    def __init__(self, shapes: Sequence[Any], count: int, dtype: Any = np.dtype("uint8")) -> None:
        self._shapes = shapes
        self._count = count
        self._dtype = dtype

    def __len__(self) -> int:
        return len(self._shapes)

    @property
    def count(self) -> int:
        """The number of buffers."""
        return self._count

    @property
    def shapes(self) -> Sequence[Any]:
        """The shapes of a buffer's arrays."""
        return self._shapes

    @property
    def dtype(self) -> Any:
        """The element type."""
        return self._dtype
