"""The code that runs in the processes of a run: the plugins `python-producer` and `python-commander` call it."""

from __future__ import annotations

import importlib
import inspect
import linecache
import logging
import operator
import os
import pickle
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cobuf import _carried, _messages
from cobuf._arrays import as_numpy, declared
from cobuf._explain import explain
from cobuf._producer import Context, Out

__all__ = ["Commander", "Producer", "arrays", "explain", "log_to", "object_of", "take_environment"]


def take_environment(variables: list[tuple[str, str]]) -> None:
    """Makes the process's variables those of `os.environ`."""
    for name, value in variables:
        if os.environ.get(name) != value:
            os.environ[name] = value


# An object that was made for its arrays, until the producer takes it.
_made: list[tuple[dict[str, Any], Any]] = []


def object_of(config: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The object of a configuration's code, see `cobuf._objects`, and the arguments in the rest of it."""
    arguments = dict(config)
    code = arguments.pop("code", {})
    for made_of, it in _made:
        if made_of == code:
            _made.clear()
            return it, arguments
    if "path" in code and code["path"] not in sys.path:
        sys.path.insert(0, code["path"])
    _carried.serve(code.get("modules") or {})
    for name, text in (code.get("sources") or {}).items():
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    if "pickle" in code:
        return pickle.loads(code["pickle"]), arguments
    module, _, name = str(code.get("object", "")).rpartition(":")
    if not module or not name:
        raise ValueError(f"the object is {code.get('object')!r}, expected module:name or file.py:name")
    loaded: Any = importlib.import_module(module)
    for part in name.split("."):
        loaded = getattr(loaded, part)
    return loaded, arguments


def _arrays_of(it: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    arrays = getattr(it, "arrays", None)
    if callable(arrays):
        arrays = arrays(**arguments)
    if not isinstance(arrays, dict) or not arrays:
        raise TypeError(
            f"the producer {it!r} declares no arrays: give it an attribute `arrays`, a dictionary of "
            "cobuf.Array, or decorate it with cobuf.producer(arrays=…)"
        )
    return arrays


def arrays(config: dict[str, Any]) -> list[tuple[str, str, list[int], list[int]]]:
    """The arrays that the producer declares."""
    it, arguments = object_of(config)
    _made[:] = [(config.get("code", {}), it)]
    return declared(_arrays_of(it, arguments))


# The host's levels, from 0, none at all.
_LEVELS = (logging.CRITICAL + 1, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG, 1)


class _ToHost(logging.Handler):
    """Gives records to the host, which gives them to the application's `logging`."""

    def __init__(self, emit: Callable[[int, str, str], None]) -> None:
        super().__init__()
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        level = next((n for n, least in enumerate(_LEVELS) if n and record.levelno >= least), 5)
        try:
            self._emit(level, record.name, self.format(record))
        except Exception:
            self.handleError(record)


def log_to(emit: Callable[[int, str, str], None], level: int) -> None:
    """Sends the records of this process's loggers, up to a level of the host."""
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler, _ToHost)]
    root.addHandler(_ToHost(emit))
    root.setLevel(_LEVELS[level])


class Producer:
    """The producer of one worker."""

    def __init__(self, config: dict[str, Any], worker: tuple[int, int, int]) -> None:
        it, arguments = object_of(config)
        told = declared(_arrays_of(it, arguments))
        self._arrays = [(name, dtype) for name, dtype, _, _ in told]
        self._at_most = {name: axes for name, _, _, axes in told if axes}
        self._worker = worker[0]
        self._process = os.getpid()
        if isinstance(it, type):
            it = it(**arguments)
        self._it = it
        # Those of `cobuf.concurrentbuffer` have generators of their own.
        self._seeded = getattr(it, "seeded", True)
        self._function = it.produce if hasattr(it, "produce") else it
        self._place = _place(self._function)
        self._arguments = _positional(self._function)
        self._mine = [name for name, _ in self._arrays]

    def produce(
        self, message: dict[str, Any], views: list[Any], job: tuple[int, int, int]
    ) -> tuple[int | None, dict[str, Any] | None, list[tuple[str, tuple[int, ...]]]]:
        """Fills the arrays; gives the number of rows, the metadata, and the shapes that were set."""
        sequence, seed, attempt = job
        context = Context(sequence, seed, attempt, self._worker)
        if self._seeded:
            _seed(seed)
        # Not by frombuffer, which forgets that the memory is in use.
        pairs = zip(self._arrays, views, strict=True)
        out = Out({name: as_numpy(view, dtype) for (name, dtype), view in pairs}, self._at_most, context)
        arguments = (_messages.unpacked(message), out, context)
        said = self._function(*arguments[: self._arguments])
        if os.getpid() != self._process:
            # A fork of the worker has come back; the slot is not its own.
            os._exit(1)
        try:
            self._take(said, out, context)
        except Exception as error:
            # It was raised here, and is about the function.
            error.cobuf_place = self._place  # type: ignore[attr-defined]
            raise
        return context.rows, context.metadata, out._said()

    def _take(self, said: Any, out: Out, context: Context) -> None:
        if said is not None:
            self._store(said, out)
        elif self._arguments < 2:
            raise TypeError(
                "produce returned None and takes no parameter to write into; return the arrays, or "
                "take `out` as second parameter"
            )
        if context.rows is not None:
            try:
                context.rows = operator.index(context.rows)
            except TypeError:
                raise TypeError(f"context.rows is {context.rows!r}, expected a number of rows") from None
        if not isinstance(context.metadata, (dict, type(None))):
            kind = type(context.metadata).__name__
            raise TypeError(f"context.metadata is of type {kind}, expected a dictionary with text keys")

    def _store(self, said: Any, out: Out) -> None:
        if isinstance(said, dict):
            values = said
        elif isinstance(said, (tuple, list)):
            if len(said) != len(self._mine):
                raise ValueError(f"produce returned {len(said)} arrays, expected {len(self._mine)}: {self._mine}")
            values = dict(zip(self._mine, said, strict=True))
        elif len(self._mine) == 1:
            values = {self._mine[0]: said}
        else:
            raise TypeError(f"produce returned {type(said).__name__}, expected a dict or tuple of {self._mine}")
        if unknown := [name for name in values if name not in out]:
            raise ValueError(f"produce returned arrays that are not declared: {unknown}; declared are {self._mine}")
        if missing := [name for name in self._mine if name not in values]:
            raise ValueError(f"produce returned no array {missing}; declared are {self._mine}")
        for name, value in values.items():
            out._store(name, _as_array(name, value))

    def close(self) -> None:
        """At the end."""
        close = getattr(self._it, "close", None)
        if close is not None:
            close()


def _seed(seed: int) -> None:
    """Seeds the global generators of Python, NumPy and torch, as far as they are loaded."""
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed & 0xFFFFFFFF)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


def _place(function: Any) -> str:
    """Where a function is defined, if it is known."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno} in {code.co_qualname}" if code else ""


def _as_array(name: str, value: Any) -> Any:
    import numpy

    device = getattr(value, "device", None)
    if "torch" in sys.modules and isinstance(value, sys.modules["torch"].Tensor):
        if device is not None and device.type != "cpu":
            raise TypeError(f"array {name!r} is a tensor on {device}, expected the CPU; call .cpu()")
        value = value.detach().numpy()
    array = numpy.asarray(value)
    if array.dtype.hasobject:
        raise TypeError(f"array {name!r} holds Python objects, expected numbers")
    return array


def _positional(function: Any) -> int:
    """How many of (message, out, context) a function takes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return 3
    count = sum(parameter.kind in kinds for parameter in parameters)
    if not 1 <= count <= 3:
        raise TypeError(f"produce takes {count} parameters, expected (message), (message, out) or (message, out, context)")
    return count


class Commander:
    """The commander: any iterable, or anything with lengths and indices."""

    def __init__(self, config: dict[str, Any], seed: int, sequence: int) -> None:
        it, arguments = object_of(config)
        if getattr(it, "seeded", True):
            _seed(seed)
        if callable(it) and (isinstance(it, type) or not _gives(it)):
            it = it(**arguments)
        if not _gives(it):
            raise TypeError(f"the commander {it!r} is no iterable and no sequence, expected one of messages")
        self._it = it
        # A sequence can be read at any place.
        self._indexed = hasattr(it, "__getitem__") and hasattr(it, "__len__") and not isinstance(it, Mapping)
        self._iterator: Iterator[Any] | None = None if self._indexed else iter(it)

    def total(self) -> int | None:
        """The number of messages, if it is known."""
        try:
            return len(self._it)
        except TypeError:
            return None

    def next(self, sequence: int) -> dict[str, Any] | None:
        """The message with this number, which is the next one."""
        if self._iterator is None:
            if sequence >= len(self._it):
                return None
            return _messages.packed(self._it[sequence], f"message {sequence}")
        for message in self._iterator:
            return _messages.packed(message, f"message {sequence}")
        return None

    def skip(self, sequence: int, to: int) -> None:
        """Passes over messages."""
        if self._iterator is not None:
            for _ in zip(range(sequence, to), self._iterator):
                pass

    def save(self) -> bytes | None:
        """The state, if the object has one (`state_dict`, as torchdata calls it)."""
        state = getattr(self._it, "state_dict", None)
        return None if state is None else pickle.dumps(state())

    def restore(self, saved: dict[str, Any]) -> None:
        """Takes over a state that was saved."""
        self._it.load_state_dict(pickle.loads(saved["pickle"]))
        if self._iterator is not None:
            self._iterator = iter(self._it)

    def close(self) -> None:
        """At the end, which the host knows of already."""
        close = getattr(self._it, "close", None)
        if close is not None:
            close()


def _gives(it: Any) -> bool:
    """Whether it gives messages."""
    return hasattr(it, "__iter__") or hasattr(it, "__getitem__")
