"""What happens while this program holds all slots, so that nothing can be made."""

from __future__ import annotations

import gc
import warnings

# How many tenths of a second all slots are held before that is a warning, once a loader.
_WARN_AT = 10


class Held:
    """The times of one loader in which that is so."""

    def __init__(self) -> None:
        self._tenths = 0
        self._has_warned = False

    def ended(self) -> None:
        self._tenths = 0

    def free_or_warn(self, held: int, stacklevel: int) -> None:
        """Called each tenth of a second in which this program holds all slots."""
        # Arrays in cycles hold slots until then, and arrays of JAX that nothing else looks at.
        gc.collect()
        self._tenths += 1
        if self._tenths < _WARN_AT or self._has_warned:
            return
        self._has_warned = True
        warnings.warn(
            f"the loop waits, but this program holds the batches or arrays of all {held} slots, so nothing "
            "can be made: drop some (del), keep copies instead (batch.copy()), or use more slots",
            RuntimeWarning,
            stacklevel + 1,
        )
