"""The loader."""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from cobuf import _forkserver, _messages, _native, _objects, _ranks
from cobuf._errors import BatchError, StreamError
from cobuf._held import Held
from cobuf._native import Batch
from cobuf._requests import Desk, Request

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from cobuf._asyncio import Waiting

_PACKAGE = Path(__file__).parent
# Seconds for the processes to end by themselves after Ctrl-C.
_INTERRUPTED_GRACE = 0.05


class Loader:
    """Starts a commander and workers, and gives their batches.

    ::

        with cobuf.Loader(commander=range(1000), producer=squares, workers=4) as loader:
            for batch in loader:
                batch["square"]

    It is an iterator: ``for`` and ``next`` go on where the last one stopped, in any thread. The first
    of them starts the processes, as do ``with``, `start` and ``len``; the end of the ``with`` block or
    `close` ends them, and so does the end of the program.

    **What to make**

    commander: what to make: an iterable of messages, a function or class that gives one, or the path
        or name of a compiled plugin. A sequence (``range``, a list, a dataset with lengths and
        indices) resumes at any place at no cost. None: this program says it, by `submit` or `request`.
    producer: what makes the batches: see `cobuf.producer`; or a compiled plugin.
    commander_config, producer_config: dictionaries: the arguments of a class or function, or the
        configuration of a compiled plugin.
    seed: of the run, from which all random numbers come; 0 by default.
    limit: the most messages.

    **Size and order**

    workers: processes, 1 to 1024; one for each CPU by default, of those that are this rank's.
    slots: batches that can be under way or held at a time, 1 to 16384; 4 for each worker by default.
        If the program holds them all and waits, a `RuntimeWarning` says so.
    ordered: whether batches come in order (the default) or as they are ready. Content is the same.
    message_capacity, metadata_capacity: bytes; 64 KiB by default.
    replay_ready: gives the first so many batches again and again, without producing more, until the loader
        is closed or has given ``limit`` batches. ``statistics()["verdict"]`` then says how many batches a
        second this program takes at most. Less than ``slots``; such a loader has no state.

    **Ranks**

    rank: which of a job's processes this one is, each with a loader of the same plugins, configurations
        and seed; it gives the batches of its rank only. ``(2, 8)`` or ``"2/8"``: rank 2 of 8, counted from
        0. ``"auto"``: as the launcher says, such as torchrun, Open MPI or SLURM. ``"none"``: all batches,
        as by default; but a process that a launcher started as one of several has to choose.
    remainder: what the ranks do with the last messages if there are not as many for each: ``"short"`` (the
        default): some ranks get one less; ``"drop"``: none gets them; ``"repeat"``: each rank without one gets
        rank 0's once more, and ``batch.is_repeated`` says so.

    **Failures**

    message_timeout, commander_timeout: seconds after which a worker or commander counts as hung.
    max_attempts: how often a message is tried whose worker dies; 3 by default.
    on_failure: what happens to a batch, by kind of failure (``"error"``, ``"panic"``, ``"crash"``,
        ``"timeout"``): ``"raise"`` (the default), ``"skip"`` or ``"stop"``.
    on_commander_failure: by kind as well: ``"restart"`` or ``"end"``.
    dead_letters: a file for messages that were given up; replay: such a file to make again.
    trace: a file to which the run's trace is written when the loader is closed: what each part did when, for
        ui.perfetto.dev and other viewers; trace_batches: how many batches it shows at most, the last ones.

    A batch's error is raised in its place as `BatchError`. It ends a ``for`` loop, but not the
    stream: a new loop or ``next(loader)`` goes on with the next batch, and `results` gives errors as
    values. `StreamError` is the end of the stream. Start errors are `RuntimeError`, wrong settings
    `TypeError` or `ValueError`.

    **Processes**

    start_timeout, stop_grace: seconds; 120 and 2 by default. Ctrl-C ends the processes at once.
    memory_limit, cpu_limit, open_files_limit: of a worker: bytes, seconds a message, files.
    env, working_directory, nice, pin_workers: how the processes are set up.
    sandbox: a jail for the workers, ``True`` for the tightest one, or a dictionary: ``read`` and ``write`` (lists
        of files and folders), ``network``, ``exec`` and ``threads`` (whether they are allowed), ``env`` (names of
        environment variables that processes keep beside the usual ones), ``extra_syscalls``, and ``mode``, ``"strict"`` or ``"best-effort"``. Workers can read Python and its packages, and nothing of
        yours that is not in ``read``; this module's sources were sent to them. `sandbox_report` says what is
        enforced.
    preload: libraries that the fork server loads once for all workers; ``["numpy"]`` by default.
        Used with Python plugins only. Your own modules are never loaded early.

    **Metrics**

    metrics: where the run's counters are for Prometheus: an address (``":9400"`` for this machine only,
        ``"0.0.0.0:9400"`` for all; the page is ``/metrics``, and `metrics_address` says where), or a file for
        node_exporter, such as ``"runs/digits.prom"``, replaced every 5 seconds and at the end. ``{rank}`` in it
        stands for the rank's number: each rank needs a file of its own.

    **asyncio**

    ::

        async with cobuf.Loader(commander=..., producer=...) as loader:
            async for batch in loader:
                ...

    Other tasks run while a task waits, and once before each batch. A task that is cancelled or timed
    out takes no batch with it: the next one gets it. The event loop watches a descriptor, so that no
    thread waits for a task; in a loop that has no ``add_reader``, a thread of its executor does.
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
        replay_ready: int | None = None,
        rank: str | tuple[int, int] | None = None,
        remainder: str | None = None,
        message_timeout: float | None = None,
        commander_timeout: float | None = None,
        start_timeout: float | None = None,
        stop_grace: float | None = None,
        max_attempts: int | None = None,
        on_failure: Mapping[str, str] | None = None,
        on_commander_failure: Mapping[str, str] | None = None,
        dead_letters: str | os.PathLike[str] | None = None,
        replay: str | os.PathLike[str] | None = None,
        trace: str | os.PathLike[str] | None = None,
        trace_batches: int | None = None,
        message_capacity: int | None = None,
        metadata_capacity: int | None = None,
        memory_limit: int | None = None,
        cpu_limit: int | None = None,
        open_files_limit: int | None = None,
        env: Mapping[str, str] | None = None,
        working_directory: str | os.PathLike[str] | None = None,
        nice: int | None = None,
        pin_workers: bool | None = None,
        sandbox: Mapping[str, Any] | bool | None = None,
        preload: Sequence[str] = ("numpy",),
        metrics: str | os.PathLike[str] | None = None,
    ) -> None:
        if commander is None and commander_config:
            raise TypeError("commander_config was given, but commander is None: this program submits the messages")
        is_application = commander is None
        commander = None if is_application else _objects.plugin("commander", commander)
        producer = _objects.plugin("producer", producer)
        preload = _forkserver.preloadable(preload)
        is_python = isinstance(commander, tuple) or isinstance(producer, tuple)
        self._settings: dict[str, Any] = {
            "commander": commander,
            "application": is_application,
            "producer": producer,
            "commander_config": dict(commander_config or {}),
            "producer_config": dict(producer_config or {}),
            "workers": workers,
            "slots": slots,
            "ordered": ordered,
            "seed": seed,
            "limit": limit,
            "replay_ready": replay_ready,
            "rank": _ranks.text(rank),
            "remainder": remainder,
            "message_timeout": message_timeout,
            "commander_timeout": commander_timeout,
            "start_timeout": start_timeout,
            "stop_grace": stop_grace,
            "max_attempts": max_attempts,
            "on_failure": None if on_failure is None else dict(on_failure),
            "on_commander_failure": None if on_commander_failure is None else dict(on_commander_failure),
            "dead_letters": None if dead_letters is None else os.fspath(dead_letters),
            "replay": None if replay is None else os.fspath(replay),
            "trace": None if trace is None else os.fspath(trace),
            "trace_batches": trace_batches,
            "message_capacity": message_capacity,
            "metadata_capacity": metadata_capacity,
            "memory_limit": memory_limit,
            "cpu_limit": cpu_limit,
            "open_files_limit": open_files_limit,
            "env": dict(env or {}),
            "working_directory": None if working_directory is None else os.fspath(working_directory),
            "nice": nice,
            "pin_workers": pin_workers,
            "sandbox": _sandbox(sandbox),
            # A path is a file, whatever it looks like.
            "metrics": metrics if metrics is None or isinstance(metrics, str) else os.path.abspath(metrics),
            "fork_server": _forkserver.command(preload, env or {}) if is_python else [str(_PACKAGE / "bin" / "cobuf")],
        }
        self._is_python = is_python
        self._preload = preload
        self._host: _native.Host | None = None
        self._starting = threading.Lock()
        self._closed = False
        self._waits: dict[AbstractEventLoop, Waiting] = {}
        self._held = Held()
        # Whether its batches go to a loop or to requests: what was first.
        self._desk: Desk | None = None
        self._is_read = False
        self._finalizer: weakref.finalize[[float | None], Loader] | None = None

    def start(self) -> Loader:
        """Starts the processes, and waits until all plugins are made. A loop does it by itself."""
        self._started(_native.Cancel())
        return self

    def _started(self, cancel: _native.Cancel) -> _native.Host:
        with self._starting:
            if self._host is None and not self._closed:
                host = _native.Host.start(self._settings, cancel)
                if self._is_python:
                    _forkserver.warn_of_threads(host.statistics()["fork_server"], self._preload)
                # Also at the exit of the interpreter.
                self._finalizer = weakref.finalize(self, host.stop, None)
                self._host = host
        if self._closed:
            self.close()  # Again, for a start that it has overtaken.
            raise RuntimeError("the loader is closed")
        assert self._host is not None
        return self._host

    def _running(self) -> _native.Host:
        if self._host is None or self._closed:
            return self._started(_native.Cancel())
        return self._host

    def close(self) -> None:
        """Ends all processes. Arrays that are held stay valid. A second call does nothing."""
        self._close(None)

    def _close(self, kind: type[BaseException] | None) -> None:
        self._closed = True
        finalizer = self._finalizer
        if finalizer is None or not finalizer.alive:
            return
        assert self._host is not None
        grace = self._settings["stop_grace"]
        if kind is KeyboardInterrupt:
            grace = _INTERRUPTED_GRACE if grace is None else min(grace, _INTERRUPTED_GRACE)
        self._host.stop(grace)
        finalizer.detach()
        if self._desk is not None:
            self._desk.join()

    def __enter__(self) -> Loader:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self._close(kind)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        host = self._host
        # Few steps in the usual case: they are much of what a tiny batch costs.
        if host is None or self._closed or not self._is_read:
            host = self._read()
        found = host.next()
        if type(found) is Batch:
            return found
        item = self._item(host, found)
        if item is None:
            raise StopIteration
        if isinstance(item, Exception):
            raise item
        return item

    def results(self) -> Iterator[Batch | BatchError]:
        """The batches, with the errors in the place of batches as values."""
        while True:
            host = self._read()
            item = self._item(host, host.next())
            if item is None:
                return
            if isinstance(item, StreamError):
                raise item
            yield item

    def _item(
        self, host: _native.Host, found: Batch | dict[str, Any] | int | None
    ) -> Batch | BatchError | StreamError | None:
        """The found item; or, if this program holds all slots, the one that comes once it holds fewer."""
        while isinstance(found, int):
            self._held.free_or_warn(found, 3)
            found = host.next()
        self._held.ended()
        return _item(found)

    def _read(self) -> _native.Host:
        """The host, whose batches a loop takes."""
        if self._desk is not None:
            raise RuntimeError(
                "the batches of this loader go to its requests; take them from there, or use submit instead of request"
            )
        self._is_read = True
        return self._running()

    def submit(self, message: Any, timeout: float | None = None) -> int:
        """Submits a message, any object, if ``commander`` is None; gives its number, which is that of its
        batch. From any thread, also while another one takes batches.

        There may be as many messages under way as there are slots. After that it waits until batches are
        dropped; after ``timeout`` seconds it raises `TimeoutError` (0: at once), and the message has no
        number. `RuntimeError` says why no message is taken any more.
        """
        self._check_application()
        if self._desk is not None:
            raise RuntimeError("this loader has requests; use request for all of its messages")
        self._is_read = True
        return self._submit(message, timeout)

    def request(self, message: Any, timeout: float | None = None) -> Request:
        """Submits a message, and gives a future of its batch: `concurrent.futures.Future`, which can also
        be awaited. It gets the batch, or its error, so ``on_failure`` may not skip any.

        As `submit`, it waits while all slots are in use, at most ``timeout`` seconds; a coroutine that
        may have to wait calls it by `asyncio.to_thread`. A loader with requests is not iterated: one
        thread takes its batches and answers. A batch holds its slot until the future and it are gone.
        """
        self._check_application()
        if self._is_read and self._desk is None:
            raise RuntimeError(
                "this loader was iterated, or messages were submitted to it; make another one for requests"
            )
        skips = [kind for kind, policy in (self._settings["on_failure"] or {}).items() if policy == "skip"]
        if skips:
            raise RuntimeError(
                f"on_failure skips {', '.join(skips)}, and a request whose batch is skipped would wait for ever: "
                'use "raise" or "stop"'
            )
        host = self._running()
        with self._starting:
            if self._desk is None:
                self._desk = Desk(partial(_next_or_held, host), self._held)
            desk = self._desk
        request = Request()
        desk.expect(self._submit(message, timeout), request)
        return request

    def end(self) -> None:
        """No more messages are submitted: the stream ends after those that were. A second call does
        nothing."""
        self._check_application()
        self._running().end()

    def _submit(self, message: Any, timeout: float | None) -> int:
        packed = _messages.packed(message, "the message")
        return self._running().submit(packed, timeout, lambda held: self._held.free_or_warn(held, 3))

    def _check_application(self) -> None:
        if not self._settings["application"]:
            raise RuntimeError(
                "the messages of this loader come from its commander; give it commander=None to submit them"
            )

    # asyncio is loaded by programs that use it.

    async def __aenter__(self) -> Loader:
        from cobuf import _asyncio

        try:
            await _asyncio.start(self._started)
        except BaseException:
            self.close()  # It may have started all the same.
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        from asyncio import to_thread

        await to_thread(self._close, kind)

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self

    async def __anext__(self) -> Batch:
        from cobuf import _asyncio

        if self._host is None or self._closed:
            await _asyncio.start(self._started)
        host = self._read()
        await _asyncio.yield_to_others()
        while isinstance(found := host.try_next(), int):
            if not await _asyncio.ready(host, self._waits, bool(found)) and found:
                self._held.free_or_warn(found, 2)
        self._held.ended()
        item = _item(found)
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, Exception):
            raise item
        return item

    def __len__(self) -> int:
        """The number of batches in the whole stream; with a rank, of those that are its own since the job
        began. `TypeError` if the commander does not know how many there are."""
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
        plugin = _objects.plugin(kind, it)
        if isinstance(plugin, tuple) and not self._is_python:
            raise RuntimeError(
                f"the {kind} is Python code, and the loader was started with compiled plugins only: its "
                "processes are no Python interpreters"
            )
        return self._running().swap(kind, plugin)

    @property
    def sandbox_report(self) -> dict[str, str] | None:
        """What enforces each part of the sandbox: ``landlock``, ``seccomp``, ``both``, ``allowed`` or ``nothing``."""
        return self._running().sandbox_report()

    @property
    def metrics_address(self) -> str | None:
        """The address at which the metrics are, such as ``127.0.0.1:9400``; None if they are not at one."""
        return self._running().metrics_address()

    def statistics(self) -> dict[str, Any]:
        """Numbers of the run so far, by name.

        ``delivered``, ``errors``, ``skipped``, ``retries``, ``timeouts`` and ``swaps`` are counts of
        batches and swaps; ``worker_restarts``, ``commander_restarts`` and ``fork_server_restarts`` of
        processes that died; ``workers`` is their number now. ``elapsed_seconds`` is the run's time,
        ``consumer_wait_seconds`` what this program waited, in the sum of its threads;
        ``exposed_wait_seconds`` the time in which at least one of them waited; ``commander_wait_seconds``
        what the commander waited for a free slot. ``worker_wait_seconds``, ``worker_busy_seconds`` and
        ``worker_lost_seconds``, which is the time that deaths took, are the workers' times in sum.
        ``limited_by`` is the part that limits the run: ``consumer``, ``commander``, ``submissions``,
        ``producers``, ``slots``, ``straggler``, ``memory`` or ``deaths``. ``verdict`` says it in a sentence,
        with the figures and the change that helps.
        ``processes`` and ``fork_server`` are process numbers.
        """
        return self._running().statistics()

    def stall_report(self) -> str:
        """Which process holds each slot, and since when, as a text: for a run that stands still."""
        return self._running().stall_report()

    def state_dict(self, *, step: int | None = None) -> dict[str, Any]:
        """The messages delivered so far: a small dictionary that can be written as JSON. A batch that is
        still held counts as not delivered.

        With a rank it is the rank's part, and `cobuf.merge_state_dicts` makes the parts of all ranks into
        one. ``step`` is then a number of the program's, from 0, such as the step of the training: parts
        of different steps are not merged.
        """
        if self._settings["replay_ready"] is not None:
            raise RuntimeError(
                "the loader gives its first batches again and again (replay_ready), so it has no state to go on from"
            )
        state: dict[str, Any] = json.loads(self._running().checkpoint(step))
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from the state of another loader with the same plugins, configurations and seed,
        with any number of workers: exactly the rest is delivered. Call it before the first batch.

        With a rank the state is the merged one, the same in each rank, with any number of ranks; or, in
        all ranks of as many as before, each one's own part. `ValueError` if it is no state, or the part
        of another rank.
        """
        if self._host is not None:
            raise RuntimeError("the loader has started; load a state before the first batch")
        checkpoint = json.dumps(state)
        chosen = {name: self._settings[name] for name in ("rank", "application", "replay_ready")}
        _native.Host.check({**chosen, "checkpoint": checkpoint})
        self._settings["checkpoint"] = checkpoint

    def __reduce__(self) -> Any:
        raise TypeError(
            "a loader has processes of its own and cannot be pickled; make it in the process that reads it"
        )


def _next_or_held(host: _native.Host) -> Batch | BatchError | StreamError | int | None:
    """The next item; or the number of slots, if this program holds them all for a tenth of a second."""
    found = host.next()
    return found if isinstance(found, int) else _item(found)


def _item(found: Batch | dict[str, Any] | None) -> Batch | BatchError | StreamError | None:
    if not isinstance(found, dict):
        return found
    if "sequence" not in found:
        return StreamError(found["text"])
    return BatchError(found["text"], found, _messages.unpacked(found["message"]))


def _sandbox(given: Mapping[str, Any] | bool | None) -> dict[str, Any] | None:
    if given is None or isinstance(given, bool):
        return {} if given else None
    settings = dict(given)
    for name in ("read", "write"):
        if isinstance(paths := settings.get(name), (str, os.PathLike)):
            raise TypeError(f"the sandbox's {name} is {paths!r}, expected a list of files and folders")
        if name in settings:
            settings[name] = [os.fspath(path) for path in settings[name]]
    return settings
