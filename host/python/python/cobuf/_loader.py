"""The loader."""

from __future__ import annotations

import json
import os
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from cobuf import _forkserver, _messages, _native, _objects
from cobuf._batch import Batch
from cobuf._errors import BatchError, StreamError

_PACKAGE = Path(__file__).parent
# One thread for each worker, unless the user says otherwise: workers are the parallelism.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Loader:
    """Starts a commander and workers, and gives their batches.

    commander: what to make: an iterable of messages, a function or class that gives one, or the path
        or name of a compiled plugin. A sequence (``range``, a list, a dataset with lengths and
        indices) resumes at any place at no cost.
    producer: what makes the batches: see `cobuf.producer`; or a compiled plugin.
    commander_config, producer_config: dictionaries: the arguments of a class or function, or the
        configuration of a compiled plugin.
    workers: processes, 1 to 1024; one for each CPU by default.
    slots: batches that can be under way or held at a time, 1 to 16384; 4 for each worker by default.
    ordered: whether batches come in order (the default) or as they are ready. Content is the same.
    seed: of the run, from which all random numbers come; 0 by default.
    limit: the most messages.
    message_timeout, commander_timeout: seconds after which a worker or commander counts as hung.
    start_timeout, stop_grace: seconds; 120 and 2 by default.
    max_attempts: how often a message is tried whose worker dies; 3 by default.
    on_failure: what happens to a batch, by kind of failure (``"error"``, ``"panic"``, ``"crash"``,
        ``"timeout"``): ``"raise"`` (the default), ``"skip"`` or ``"stop"``.
    on_commander_failure: by kind as well: ``"restart"`` or ``"end"``.
    dead_letters: a file for messages that were given up; replay: such a file to make again.
    message_capacity, metadata_capacity: bytes; 64 KiB by default.
    memory_limit, cpu_limit, open_files_limit: of a worker: bytes, seconds a message, files.
    env, working_directory, nice, pin_workers: how the processes are set up.
    preload: libraries that the fork server loads once for all workers; ``["numpy"]`` by default.
        Used with Python plugins only. Your own modules are never loaded early.

    Start errors are `RuntimeError`, wrong settings `TypeError` or `ValueError`. A batch's error is
    raised in its place as `BatchError`, and the loader goes on with the next one.
    """

    def __init__(
        self,
        *,
        commander: Any,
        producer: Any,
        commander_config: Mapping[str, Any] | None = None,
        producer_config: Mapping[str, Any] | None = None,
        workers: int | None = None,
        slots: int | None = None,
        ordered: bool | None = None,
        seed: int | None = None,
        limit: int | None = None,
        message_timeout: float | None = None,
        commander_timeout: float | None = None,
        start_timeout: float | None = None,
        stop_grace: float | None = None,
        max_attempts: int | None = None,
        on_failure: Mapping[str, str] | None = None,
        on_commander_failure: Mapping[str, str] | None = None,
        dead_letters: str | os.PathLike[str] | None = None,
        replay: str | os.PathLike[str] | None = None,
        message_capacity: int | None = None,
        metadata_capacity: int | None = None,
        memory_limit: int | None = None,
        cpu_limit: int | None = None,
        open_files_limit: int | None = None,
        env: Mapping[str, str] | None = None,
        working_directory: str | os.PathLike[str] | None = None,
        nice: int | None = None,
        pin_workers: bool | None = None,
        preload: Sequence[str] = ("numpy",),
    ) -> None:
        commander, producer = _plugin("commander", commander), _plugin("producer", producer)
        preload = _forkserver.preloadable(preload)
        is_python = isinstance(commander, tuple) or isinstance(producer, tuple)
        self._settings: dict[str, Any] = {
            "commander": commander,
            "producer": producer,
            "commander_config": dict(commander_config or {}),
            "producer_config": dict(producer_config or {}),
            "workers": workers,
            "slots": slots,
            "ordered": ordered,
            "seed": seed,
            "limit": limit,
            "message_timeout": message_timeout,
            "commander_timeout": commander_timeout,
            "start_timeout": start_timeout,
            "stop_grace": stop_grace,
            "max_attempts": max_attempts,
            "on_failure": None if on_failure is None else dict(on_failure),
            "on_commander_failure": None if on_commander_failure is None else dict(on_commander_failure),
            "dead_letters": None if dead_letters is None else os.fspath(dead_letters),
            "replay": None if replay is None else os.fspath(replay),
            "message_capacity": message_capacity,
            "metadata_capacity": metadata_capacity,
            "memory_limit": memory_limit,
            "cpu_limit": cpu_limit,
            "open_files_limit": open_files_limit,
            "env": dict(env or {}),
            "working_directory": None if working_directory is None else os.fspath(working_directory),
            "nice": nice,
            "pin_workers": pin_workers,
            "fork_server": _python_fork_server(preload, env or {}) if is_python else [str(_PACKAGE / "bin" / "cobuf")],
        }
        self._is_python = is_python
        self._preload = preload
        self._host: _native.Host | None = None
        self._closed = False
        self._finalizer: weakref.finalize[[_native.Host], Loader] | None = None

    def start(self) -> Loader:
        """Starts the processes, and waits until all plugins are made. A loop does it by itself."""
        if self._closed:
            raise RuntimeError("the loader is closed")
        if self._host is None:
            self._host = _native.Host.start(self._settings)
            if self._is_python:
                _forkserver.warn_of_threads(self._host.statistics()["fork_server"], self._preload)
            # Also at the exit of the interpreter.
            self._finalizer = weakref.finalize(self, _native.Host.stop, self._host)
        return self

    def _running(self) -> _native.Host:
        self.start()
        assert self._host is not None
        return self._host

    def close(self) -> None:
        """Ends all processes. Arrays that are held stay valid. A second call does nothing."""
        self._closed = True
        if self._finalizer is not None:
            self._finalizer()

    def __enter__(self) -> Loader:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        item = self._next()
        if item is None:
            raise StopIteration
        if isinstance(item, Exception):
            raise item
        return item

    def results(self) -> Iterator[Batch | BatchError]:
        """The batches, with the errors in the place of batches as values."""
        while (item := self._next()) is not None:
            if isinstance(item, StreamError):
                raise item
            yield item

    def _next(self) -> Batch | BatchError | StreamError | None:
        said = self._running().next()
        if said is None:
            return None
        if not isinstance(said, dict):
            return Batch(said)
        if "sequence" not in said:
            return StreamError(said["text"])
        return BatchError(said["text"], said, _messages.unpacked(said["message"]))

    def __len__(self) -> int:
        total = self._running().total()
        if total is None:
            raise TypeError("the commander does not know how many messages it gives")
        return total

    @property
    def workers(self) -> int:
        """The number of workers that the loader keeps alive."""
        return self._running().workers()

    def set_workers(self, workers: int) -> None:
        """Changes the number of workers, 1 to 1024, during the run."""
        self._running().set_workers(workers)

    def swap_producer(self, producer: Any) -> int:
        """Replaces the producer during the run, with the same configuration and arrays, and gives the
        number of the first batch that the new one makes. If it cannot be taken, the old one goes on,
        and `RuntimeError` says why."""
        return self._swap("producer", producer)

    def swap_commander(self, commander: Any) -> int:
        """Replaces the commander during the run; gives the number of its first message."""
        return self._swap("commander", commander)

    def roll_back(self, kind: str = "producer") -> int:
        """Brings the producer or commander before the last swap back."""
        return self._running().roll_back(kind)

    def _swap(self, kind: str, it: Any) -> int:
        plugin = _plugin(kind, it)
        if isinstance(plugin, tuple) and not self._is_python:
            raise RuntimeError(
                f"the {kind} is Python code, and the loader was started with compiled plugins only: its "
                "processes are no Python interpreters"
            )
        return self._running().swap(kind, plugin)

    def statistics(self) -> dict[str, Any]:
        """Numbers of the run: batches, errors, restarts, times, processes, and what limits it."""
        return self._running().statistics()

    def stall_report(self) -> str:
        """Which process holds each slot, and since when."""
        return self._running().stall_report()

    def state_dict(self) -> dict[str, Any]:
        """The messages delivered so far: a small dictionary that can be written as JSON. A batch that is
        still held counts as not delivered."""
        state: dict[str, Any] = json.loads(self._running().checkpoint())
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from the state of another loader with the same plugins, configurations and seed,
        with any number of workers: exactly the rest is delivered. Call it before the first batch."""
        if self._host is not None:
            raise RuntimeError("the loader has started; load a state before the first batch")
        self._settings["checkpoint"] = json.dumps(state)

    def __reduce__(self) -> Any:
        raise TypeError(
            "a loader has processes of its own and cannot be pickled; make it in the process that reads it"
        )


def _plugin(kind: str, it: Any) -> str | tuple[str, dict[str, Any]]:
    """A compiled plugin's path or name; or the plugin for Python code, and the code."""
    if isinstance(it, os.PathLike) or isinstance(it, str) and ":" not in it:
        return os.fspath(it)
    return str(_PACKAGE / "plugins" / f"libpython_{kind}.so"), _objects.code_of(kind, it)


def _python_fork_server(preload: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """The command of a fork server that is this interpreter."""
    # The main script's folder is the first entry, and empty in an interactive session.
    path = [os.getcwd() if entry == "" else entry for entry in sys.path]
    options = json.dumps({"path": path, "preload": list(preload)})
    # Libraries that are preloaded read them there.
    threads = "".join(
        f"os.environ[{name!r}] = {env[name]!r}; " if name in env else f"os.environ.setdefault({name!r}, '1'); "
        for name in _THREADS
    )
    # This package's folder first, for the import of the fork server itself.
    code = f"import os, sys; {threads}sys.path.insert(0, {str(_PACKAGE.parent)!r}); from cobuf._forkserver import main; main()"
    return [sys.executable, "-c", code, options]
