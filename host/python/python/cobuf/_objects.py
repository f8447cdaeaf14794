"""Objects on their way to other processes.

An object's code is a dictionary, from which `cobuf._worker.object_of` makes the object in each process:

    object    text, "module:name"                     or    pickle    bytes
    modules   the sources of the user's own modules that it uses, see `cobuf._own`
    sources   of code that is in no module, for tracebacks: the main script's, a notebook's cells
    path      a folder to import from, for a file given as text

So a process that starts later runs the same code, whatever has become of the files. Pickles are
cloudpickle's: classes and functions of the main script, of a notebook, or inside of functions travel by
value; those of modules by name.
"""

from __future__ import annotations

import dis
import io
import linecache
import os
import re
import sys
import types
from collections import ChainMap
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import cloudpickle

from cobuf import _own

_PACKAGE = Path(__file__).parent


def plugin(kind: str, it: Any) -> str | tuple[str, dict[str, Any]]:
    """A compiled plugin's path or name; or the plugin for Python code, and the code."""
    if isinstance(it, os.PathLike) or isinstance(it, str) and ":" not in it:
        return os.fspath(it)
    return plugin_file(kind), code_of(kind, it)


def plugin_file(kind: str) -> str:
    """The compiled plugin that runs Python code of this kind."""
    return str(_PACKAGE / "plugins" / f"libpython_{kind}.so")


def code_of(kind: str, it: Any) -> dict[str, Any]:
    """The code of a producer or commander: an object, or text that names one."""
    code = _named_by_text(kind, it) if isinstance(it, str) else _pickled(kind, it)
    return {**code, "folders": _own.folders()}


def _pickled(kind: str, it: Any) -> dict[str, Any]:
    pickler = _Pickler(file := io.BytesIO())
    try:
        pickler.dump(it)
    except Exception as error:
        hint = ""
        if isinstance(it, types.GeneratorType):
            name = it.__name__ if it.__name__.isidentifier() else "lambda: (…)"
            hint = f"; give the function that makes it: {kind}={name}, with {kind}_config for its arguments"
        raise TypeError(f"the {kind} {it!r} cannot be sent to other processes: {error}{hint}") from error
    modules = _own.carried(pickler.modules)
    files = pickler.files - {module["file"] for module in modules.values()}
    sources = {name: text for name in sorted(files) if (text := _source(name))}
    return {"pickle": file.getvalue(), "modules": modules, "sources": sources}


def dumps(it: Any) -> bytes:
    """The object as bytes, which `pickle.loads` reads."""
    file = io.BytesIO()
    _Pickler(file).dump(it)
    return file.getvalue()


def _named_by_text(kind: str, text: str) -> dict[str, Any]:
    place, _, name = text.rpartition(":")
    if not place.endswith(".py"):
        return {"object": text, "modules": _own.carried([place])}
    file = Path(os.path.abspath(place))
    try:
        source = _own.read(file)
    except ValueError as error:
        raise ValueError(f"the {kind} is {text!r}: {error}") from error
    module, folder = re.sub(r"\W", "_", file.stem), str(file.parent)
    modules = _own.carried(_own.imported(source, ""), [folder, *sys.path])
    modules[module] = {"file": str(file), "text": source, "package": False}
    return {"object": f"{module}:{name}", "path": folder, "modules": modules}


def _source(file: str) -> str:
    """The source of code that is in no module; empty if it is not known."""
    if file == "<string>" and sys.argv[:1] == ["-c"] and "-c" in sys.orig_argv:
        return sys.orig_argv[sys.orig_argv.index("-c") + 1]
    linecache.checkcache(file)
    return "".join(linecache.getlines(file))


def _named(make: Callable[..., types.CodeType], arguments: tuple[Any, ...], name: str) -> types.CodeType:
    return make(*arguments).replace(co_filename=name)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle's, which also notes the modules that the object needs, and where its code is."""

    def __init__(self, file: IO[bytes]) -> None:
        self.modules: set[str] = set()
        self.files: set[str] = set()
        # The main script in a process that multiprocessing has spawned; no other process has it.
        if main := sys.modules.get("__mp_main__"):
            cloudpickle.register_pickle_by_value(main)
        # It is looked up in here.
        self.dispatch_table = ChainMap({types.CodeType: self._code}, cloudpickle.Pickler.dispatch_table)
        super().__init__(file)

    def reducer_override(self, it: Any) -> Any:
        if isinstance(it, types.ModuleType):
            self.modules.add(it.__name__)
        elif isinstance(it, (type, types.FunctionType)) and isinstance(it.__module__, str):
            self.modules.add(it.__module__)
        return super().reducer_override(it)

    def _code(self, code: types.CodeType) -> tuple[Any, ...]:
        """As cloudpickle, but with the file's name, which tracebacks need."""
        self.files.add(code.co_filename)
        self.modules.update(step.argval for step in dis.get_instructions(code) if step.opname == "IMPORT_NAME")
        make, arguments = cloudpickle.Pickler.dispatch_table[types.CodeType](code)
        return _named, (make, arguments, code.co_filename)
