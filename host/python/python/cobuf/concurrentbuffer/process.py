"""The common part of commanders and producers."""

from __future__ import annotations

from abc import ABC


class SubProcessObject(ABC):
    """An object that works in a process of its own."""

    def build(self) -> None:
        """Called once in each process, before any work: for what cannot be handed over."""
