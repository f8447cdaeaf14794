"""How objects come into the processes of a run.

    ByFork    left in this module, which a fork of the application has as well
    BySpawn   pickled: classes and functions of the main script by value; of `multiprocessing`'s
              objects, queues and pipes, the descriptors are handed over too

Either is of use until the loader has started.
"""

from __future__ import annotations

import io
import itertools
import os
import pickle
from multiprocessing import context, process, resource_tracker, util
from multiprocessing.popen_spawn_posix import _DupFd
from multiprocessing.reduction import ForkingPickler
from typing import Any

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
    def reference(self) -> int:
        """What the process finds it by."""
        return self._key

    def close(self) -> None:
        """Once the loader has started."""
        del _LEFT[self._key]


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
    """An object that goes into a new process."""

    start_method = "fork_server"

    def __init__(self, it: Any) -> None:
        spawning = _Spawning()
        self._descriptors = spawning.descriptors
        before = context.get_spawning_popen()
        context.set_spawning_popen(spawning)  # type: ignore[arg-type]
        try:
            _Pickler(file := io.BytesIO()).dump(it)
        except BaseException:
            self.close()
            raise
        finally:
            context.set_spawning_popen(before)
        tracker = getattr(resource_tracker, "_resource_tracker")._fd
        given = {
            "alias": _install.installed(),
            "authkey": bytes(process.current_process().authkey),
            # With one of its own, a process would take the application's shared memory for leaked.
            "tracker": None if tracker is None else spawning.duplicate_for_child(tracker),
            "object": file.getvalue(),
        }
        self._reference = pickle.dumps(given)

    @property
    def reference(self) -> bytes:
        """What the process makes it of."""
        return self._reference

    def close(self) -> None:
        """Once the loader has started."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def taken(reference: int | bytes) -> Any:
    """The object, in a process of the run. Called once there."""
    return _inherited(reference) if isinstance(reference, int) else _unpickled(reference)


def _inherited(key: int) -> Any:
    # What `multiprocessing` does in a fork of its own. The application's children are none of this
    # process's, and its ends of queues have locks and threads that the fork does not have.
    getattr(process, "_children").clear()
    getattr(util, "_finalizer_registry").clear()
    getattr(util, "_run_after_forkers")()
    return _LEFT[key]


def _unpickled(pickled: bytes) -> Any:
    import numpy

    given = pickle.loads(pickled)
    if given["alias"]:
        _install.install()
    process.current_process().authkey = given["authkey"]
    if given["tracker"] is not None:
        getattr(resource_tracker, "_resource_tracker")._fd = given["tracker"]
    # A fork of the fork server has its generator, as all others have.
    numpy.random.seed()
    return pickle.loads(given["object"])


def left() -> None:
    """At the end of a process: what was put into queues is written, as `multiprocessing` does."""
    getattr(util, "_exit_function")()
