"""How objects come into the processes of a run.

    ByFork    left in this module, which a fork of the application has as well
    BySpawn   pickled: classes and functions of the main script by value; of `multiprocessing`'s
              objects, queues and pipes, the descriptors are handed over too

Either is of use until the loader has started.
"""

from __future__ import annotations

import itertools
import os
import pickle
from multiprocessing import context, process, resource_tracker, util
from multiprocessing.context import BaseContext, ForkContext, SpawnContext
from multiprocessing.popen_spawn_posix import _DupFd
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeVar

from cobuf import _objects
from cobuf.concurrentbuffer import _install

_KEYS = itertools.count()
#: The objects of runs that are being started.
_LEFT: dict[int, Any] = {}


class ByFork:
    """An object that a fork of the application inherits."""

    start_method = "fork"

    def __init__(self, it: Any) -> None:
        self._key = next(_KEYS)
        _LEFT[self._key] = it

    @property
    def reference(self) -> dict[str, int]:
        """Where the process finds it."""
        return {"left": self._key}

    def close(self) -> None:
        """Once the loader has started."""
        del _LEFT[self._key]


T = TypeVar("T")
U = TypeVar("U")


def of_context(what: str, context: BaseContext, fork: type[T], spawn: type[U]) -> type[T] | type[U]:
    """The class for a context of `multiprocessing`; `ValueError` if that is neither fork nor spawn."""
    if isinstance(context, ForkContext):
        return fork
    if isinstance(context, SpawnContext):
        return spawn
    raise ValueError(f"there is no {what} process for the context {context!r}, expected fork or spawn")


class _Spawning:
    """`multiprocessing` takes it for the process that is being spawned, and gives its descriptors to
    it."""

    DupFd = _DupFd

    def __init__(self) -> None:
        self.descriptors: list[int] = []

    def duplicate_for_child(self, fd: int) -> int:
        own = os.dup(fd)
        self.descriptors.append(own)
        # The fork server is executed with it, and its processes have it under the same number.
        os.set_inheritable(own, True)
        return own


class _Pickler(_objects._Pickler):
    """Also with what `multiprocessing` knows of connections, sockets and shared arrays."""

    def reducer_override(self, it: Any) -> Any:
        reduce = getattr(ForkingPickler, "_extra_reducers").get(type(it))
        return super().reducer_override(it) if reduce is None else reduce(it)


class BySpawn:
    """An object that goes into a new process: in memory of its own, which each process inherits."""

    start_method = "fork_server"

    def __init__(self, it: Any) -> None:
        spawning = _Spawning()
        # It is inherited.
        self._memory = os.memfd_create("cobuf-object", 0)
        self._descriptors = spawning.descriptors
        self._descriptors.append(self._memory)
        before = context.get_spawning_popen()
        context.set_spawning_popen(spawning)  # type: ignore[arg-type]
        try:
            with open(self._memory, "wb", closefd=False) as file:
                pickle.dump(_of_this_process(spawning), file)
                _Pickler(file).dump(it)
        except BaseException:
            self.close()
            raise
        finally:
            context.set_spawning_popen(before)

    @property
    def reference(self) -> dict[str, int]:
        """Where the process finds it."""
        return {"memory": self._memory}

    def close(self) -> None:
        """Once the loader has started."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def _of_this_process(spawning: _Spawning) -> dict[str, Any]:
    """The facts about this process that a new one needs."""
    tracker = getattr(resource_tracker, "_resource_tracker")._fd
    return {
        "alias": _install.installed(),
        "authkey": bytes(process.current_process().authkey),
        # With one of its own, a process would take the application's shared memory for leaked.
        "tracker": None if tracker is None else spawning.duplicate_for_child(tracker),
    }


def taken(reference: dict[str, int]) -> Any:
    """The object, in a process of the run. Called once there."""
    return _inherited(reference["left"]) if "left" in reference else _unpickled(reference["memory"])


def _inherited(key: int) -> Any:
    # What `multiprocessing` does in a fork of its own. The application's children are none of this
    # process's, and its ends of queues have locks and threads that the fork does not have.
    getattr(process, "_children").clear()
    getattr(util, "_finalizer_registry").clear()
    getattr(util, "_run_after_forkers")()
    return _LEFT[key]


def _unpickled(memory: int) -> Any:
    import numpy

    # Opened anew, because all processes share the place in the file that is inherited.
    with open(f"/proc/self/fd/{memory}", "rb") as file:
        of_application = pickle.load(file)
        if of_application["alias"]:
            _install.install()
        process.current_process().authkey = of_application["authkey"]
        if of_application["tracker"] is not None:
            getattr(resource_tracker, "_resource_tracker")._fd = of_application["tracker"]
        # A fork of the fork server has its generator, as all others have.
        numpy.random.seed()
        return pickle.load(file)


def left() -> None:
    """At the end of a process: what was put into queues is written, as `multiprocessing` does."""
    getattr(util, "_exit_function")()
