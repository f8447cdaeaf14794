"""Tells the host about a plugin that is a Python object: the host asks this interpreter once.

    request   {"object": "slides.py:Slides", "folder": …, "kind": "producer" or null, "preload": […],
               "env": {…}}
    answer    {"file": …, "code": {…}, "name": …, "sources": […], "server": […], "version": …, "python": …}
              and "config_schema", if the kind was to be found out; or "error"

`code` is that of `cobuf._objects`; `sources` are the files that were read for it.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import sys
import typing
from pathlib import Path
from typing import Any

from cobuf import _forkserver, _native, _objects


def main() -> None:
    """Answers on standard output; what the object's own code prints goes to standard error."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = json.loads(sys.argv[-1])
    described: dict[str, Any] = {"version": _native.__version__, "python": sys.version.split()[0]}
    try:
        described |= _described(request)
    except _Wrong as wrong:
        described["error"] = str(wrong)
    json.dump(described, answer)
    answer.flush()
    # Not at the mercy of what the object's code has started.
    sys.stderr.flush()
    os._exit(0)


class _Wrong(Exception):
    """The reason why the object cannot be a plugin."""


def _described(request: dict[str, Any]) -> dict[str, Any]:
    server = _forkserver.command(_forkserver.preloadable(request["preload"]), request["env"])
    code = _code(request["object"], Path(request["folder"]))
    sources = [module["file"] for module in code["modules"].values()]
    described = {} if request["kind"] else _loaded(code)
    file = _objects.plugin_file(request["kind"] or described["kind"])
    name = request["object"].rpartition("/")[2]
    return described | {"file": file, "code": code, "name": name, "sources": sources, "server": server}


def _code(object: str, folder: Path) -> dict[str, Any]:
    """The object with the sources of its modules. None is run."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    module = object.rpartition(":")[0]
    first = module.partition(".")[0]
    if not module.endswith(".py") and importlib.util.find_spec(first) is None:
        raise _Wrong(f"there is no module {module}; looked in {folder}, and where {sys.executable} looks")
    try:
        return {"path": str(folder), **_objects.code_of("plugin", object)}
    except ValueError as error:
        raise _Wrong(str(error)) from None


def _loaded(code: dict[str, Any]) -> dict[str, Any]:
    """Whether the object is a producer or a commander, and its arguments: only its own code can tell."""
    from cobuf import _worker

    try:
        it, _ = _worker.object_of({"code": code})
        is_producer = hasattr(it, "produce") or hasattr(it, "arrays")
        # The arguments of a function that produces are its message and its arrays.
        takes_arguments = isinstance(it, type) or callable(it) and not is_producer
        schema = _schema(it) if takes_arguments else {"type": "object", "properties": {}}
    except BaseException as error:
        raise _Wrong("\n".join(_worker.explain(error))) from None
    return {"kind": "producer" if is_producer else "commander", "config_schema": schema}


_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", tuple: "array", dict: "object"}


def _schema(it: Any) -> dict[str, Any]:
    """The JSON Schema of the arguments of a class or function."""
    try:
        parameters = inspect.signature(it, eval_str=True).parameters.values()
    except (TypeError, ValueError, NameError):
        return {"type": "object"}
    schema: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            continue
        has_default = parameter.default is not parameter.empty
        kind = typing.get_origin(parameter.annotation) or parameter.annotation
        if has_default and kind not in _TYPES:
            kind = type(parameter.default)
        field: dict[str, Any] = {"type": _TYPES[kind]} if kind in _TYPES else {}
        if not has_default:
            schema["required"].append(parameter.name)
        elif isinstance(parameter.default, (bool, int, float, str, list, dict, type(None))):
            field["default"] = parameter.default
        schema["properties"][parameter.name] = field
    return schema
