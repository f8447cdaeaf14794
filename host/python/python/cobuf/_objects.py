"""Objects on their way to other processes: by cloudpickle, so that classes and functions of the main
script, of a notebook, or inside of functions travel by value."""

from __future__ import annotations

import io
import sys
import types
from collections import ChainMap
from collections.abc import Callable
from typing import Any

import cloudpickle


def _named(make: Callable[..., types.CodeType], arguments: tuple[Any, ...], name: str) -> types.CodeType:
    return make(*arguments).replace(co_filename=name)


def _code(code: types.CodeType) -> tuple[Any, ...]:
    """As cloudpickle, but with the file's name, which tracebacks need."""
    make, arguments = cloudpickle.Pickler.dispatch_table[types.CodeType](code)
    return _named, (make, arguments, code.co_filename)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    dispatch_table = ChainMap({types.CodeType: _code}, cloudpickle.Pickler.dispatch_table)


def dumps(it: Any) -> bytes:
    """The object as bytes, which `pickle.loads` reads."""
    # The main script in a process that multiprocessing has spawned; no other process has it.
    if main := sys.modules.get("__mp_main__"):
        cloudpickle.register_pickle_by_value(main)
    file = io.BytesIO()
    _Pickler(file).dump(it)
    return file.getvalue()
