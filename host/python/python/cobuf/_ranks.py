"""Ranks: several loaders, each in a process of its own, that share one stream.

    Loader.state_dict of each rank       rank 0 of 3   rank 1 of 3   rank 2 of 3     parts
                                              └─────────────┼─────────────┘
    merge_state_dicts                                   one state
                                                     ┌──────┴──────┐
    Loader.load_state_dict of each rank         rank 0 of 2   rank 1 of 2
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Mapping
from typing import Any

from cobuf import _native


def text(rank: Any) -> str | None:
    """The setting ``rank`` as a text, which the host reads."""
    if rank is None or isinstance(rank, str):
        return rank
    try:
        number, of = (operator.index(part) for part in rank)
    except (TypeError, ValueError):
        kind = type(rank).__name__
        raise TypeError(f'rank is {rank!r} of type {kind}, expected "auto", "none", "I/W" or a pair (I, W)') from None
    return f"{number}/{of}"


def merge_state_dicts(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Makes the states of all ranks of a job into one, from which any number of ranks goes on, or a
    loader without a rank: each calls `Loader.load_state_dict` with it.

    parts: what `Loader.state_dict` gave in each rank, in any order. A state that is no rank's part stays
        as it is, if it is the only one.

    `ValueError` names the reason if a rank's part is missing or there twice, or if parts are of different
    runs, of different beginnings, or of different steps.
    """
    merged: dict[str, Any] = json.loads(_native.merge_states([json.dumps(part) for part in parts]))
    return merged
