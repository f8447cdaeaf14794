"""Whole runs, for the tests."""

from __future__ import annotations

import cobuf

ONE = {"x": cobuf.Array("int64", (3,))}


def batches(producer, commander=range(4), **settings):
    """All batches and errors of a run, by their numbers. It has two workers, and a slot for each batch."""
    with cobuf.Loader(commander=commander, producer=producer, **{"workers": 2, "slots": 64, **settings}) as loader:
        return {item.sequence: item for item in loader.results()}
