"""Tells the host about a plugin that is a Python object: the host asks this interpreter once.

    request   {"object": "slides.py:Slides", "folder": …, "kind": "producer" or null, "preload": […]}
    answer    {"file": …, "code": {…}, "name": …, "sources": […], "server": […], "version": …, "python": …}
              and "config_schema", if the kind was to be found out; or "error"

`code` carries the sources of the object's own modules, those beside it, so that every process of a run
has the same ones: `cobuf._carried` serves them there.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import os
import re
import sys
import sysconfig
import tokenize
import typing
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from cobuf import _loader, _native


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
    """What is wrong with the object."""


def _described(request: dict[str, Any]) -> dict[str, Any]:
    server = _loader._python_fork_server(request["preload"])
    code, sources = _code(request["object"], Path(request["folder"]))
    described = {} if request["kind"] else _loaded(code)
    # The first of the plugin and its code.
    file = _loader._plugin(request["kind"] or described["kind"], request["object"])[0]
    name = request["object"].rpartition("/")[2]
    return described | {"file": file, "code": code, "name": name, "sources": sources, "server": server}


def _code(object: str, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The object with the sources of its modules, and their files."""
    place, _, name = object.rpartition(":")
    if place.endswith(".py"):
        file = folder / place
        root, module = file.parent, re.sub(r"\W", "_", file.stem)
    else:
        found = _own_file(place, folder)
        if found is None:
            return {"object": object, "path": str(folder)}, []
        file, root = found
        module = place
    modules = _carried(module, file, root)
    code = {"object": f"{module}:{name}", "path": str(root), "modules": modules}
    return code, [carried["file"] for carried in modules.values()]


def _own_file(module: str, folder: Path) -> tuple[Path, Path] | None:
    """The file of a module, and the folder in which its name begins; none if it is installed."""
    sys.path.insert(0, str(folder))
    first, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(first)
        name = first
        for part in rest:
            name = f"{name}.{part}"
            # Not by the function above, which would run the package.
            spec = spec and PathFinder.find_spec(name, spec.submodule_search_locations)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise _Wrong(f"there is no module {module}; looked in {folder}, and where {sys.executable} looks")
    if spec.origin is None or not spec.origin.endswith(".py"):
        return None
    file = Path(spec.origin)
    installed = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    if any(file.is_relative_to(place) for place in installed):
        return None
    depth = len(rest) + (file.name == "__init__.py")
    return file, file.parents[depth]


def _carried(module: str, file: Path, root: Path) -> dict[str, dict[str, Any]]:
    """A module and all modules below the same folder that it imports, read without running them."""
    modules: dict[str, dict[str, Any]] = {}
    left = [(module, file)]
    while left:
        name, file = left.pop()
        if name not in modules:
            package = file.name == "__init__.py"
            modules[name] = {"file": str(file), "text": (text := _text(file)), "package": package}
            for imported in _imported(text, name if package else name.rpartition(".")[0]):
                if found := _file_of(imported, root):
                    left.append((imported, found))
    return modules


def _imported(text: str, package: str) -> set[str]:
    """The modules that a source may import, and those that these are in."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        # The processes that run it say what is wrong.
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names.update([base, *(f"{base}.{alias.name}" for alias in node.names)])
    parts = (name.split(".") for name in names if all(name.split(".")))
    return {".".join(part[: depth + 1]) for part in parts for depth in range(len(part))}


def _file_of(module: str, root: Path) -> Path | None:
    place = root.joinpath(*module.split("."))
    files = (place / "__init__.py", place.with_name(f"{place.name}.py"))
    return next((file for file in files if file.is_file()), None)


def _text(file: Path) -> str:
    try:
        with tokenize.open(file) as source:
            return source.read()
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise _Wrong(f"cannot read {file}: {error}") from None


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
