"""Producers: they make the data of a message."""

from __future__ import annotations

from abc import abstractmethod
from multiprocessing.context import BaseContext
from typing import Any

from cobuf.concurrentbuffer._handover import ByFork, BySpawn, of_context
from cobuf.concurrentbuffer.process import SubProcessObject


class Producer(SubProcessObject):
    """Makes data, in processes of its own."""

    @abstractmethod
    def create_data(self, message: dict[str, Any]) -> Any:
        """The data of a message: for each buffer one thing that can be stored in it. With a single
        buffer, an array of its shape may stand alone."""


class ProducerProcess:
    """A process that a producer comes into."""


class ProducerForkProcess(ByFork, ProducerProcess):
    """A fork of the application."""


class ProducerSpawnProcess(BySpawn, ProducerProcess):
    """A new process."""


def get_producer_process_class_object(
    context: BaseContext,
) -> type[ProducerForkProcess] | type[ProducerSpawnProcess]:
    """The class for a context of `multiprocessing`; `ValueError` if that is neither fork nor spawn."""
    return of_context("producer", context, ProducerForkProcess, ProducerSpawnProcess)
