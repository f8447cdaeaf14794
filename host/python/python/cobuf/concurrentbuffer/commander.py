"""Commanders: they say what is to be made."""

from __future__ import annotations

from abc import abstractmethod
from multiprocessing.context import BaseContext
from typing import Any

from cobuf.concurrentbuffer._handover import ByFork, BySpawn, of_context
from cobuf.concurrentbuffer.process import SubProcessObject

STOP_MESSAGE = "/stop"
BUFFER_ID_KEY = "/buffer_id"


class Commander(SubProcessObject):
    """Makes messages, in a process of its own."""

    @abstractmethod
    def create_message(self) -> dict[str, Any] | None:
        """The next message, a dictionary of anything that can be pickled. ``None`` ends the stream."""


class CommanderProcess:
    """The process that a commander comes into."""


class CommanderForkProcess(ByFork, CommanderProcess):
    """A fork of the application."""


class CommanderSpawnProcess(BySpawn, CommanderProcess):
    """A new process."""


def get_commander_process_class_object(
    context: BaseContext,
) -> type[CommanderForkProcess] | type[CommanderSpawnProcess]:
    """The class for a context of `multiprocessing`; `ValueError` if that is neither fork nor spawn."""
    return of_context("commander", context, CommanderForkProcess, CommanderSpawnProcess)
