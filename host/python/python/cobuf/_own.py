"""The user's own modules: those that are neither installed nor part of Python. They change during a
run, so their sources travel with the object that uses them, and workers never read the files."""

from __future__ import annotations

import ast
import importlib.util
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent


def is_own(module: str) -> bool:
    """Whether a module is the user's own. It is not imported."""
    return _file_of(module, sys.path) is not None


def carried(names: Iterable[str], path: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """Those of these modules that are the user's own, with those that they import: for
    `cobuf._carried.serve`. None is run."""
    path = sys.path if path is None else path
    modules: dict[str, dict[str, Any]] = {}
    seen = set()
    left = {above for name in names for above in _with_parents(name)}
    while left:
        name = left.pop()
        seen.add(name)
        file = _file_of(name, path)
        text = None if file is None else _read_if_there(file)
        if file is None or text is None:
            continue
        package = file.name == "__init__.py"
        modules[name] = {"file": str(file), "text": text, "package": package}
        left |= imported(text, name if package else name.rpartition(".")[0]) - seen
    return modules


def read(file: Path) -> str:
    """The source in a file.

    Raises ValueError if there is none that can be read.
    """
    try:
        return importlib.util.decode_source(file.read_bytes())
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {file}: {error}") from error


def _read_if_there(file: Path) -> str | None:
    try:
        return read(file)
    except ValueError:
        # The process that imports it says what is wrong.
        return None


def _with_parents(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[: depth + 1]) for depth in range(len(parts))} if all(parts) else set()


def _file_of(name: str, path: Sequence[str]) -> Path | None:
    """The source file of an own module."""
    if name == "__main__":
        return None
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if isinstance(loaded, str):
        origin: str | None = loaded
    else:
        parent, _, last = name.rpartition(".")
        if parent:
            # Those of an installed package are installed.
            file = _file_of(parent, path)
            if file is None or file.name != "__init__.py":
                return None
            path = [str(file.parent)]
        elif name in sys.builtin_module_names or name in sys.stdlib_module_names:
            return None
        try:
            spec = PathFinder.find_spec(name, path)
        except (ImportError, ValueError):
            return None
        origin = spec.origin if spec else None
    if origin is None or not origin.endswith(".py"):
        return None
    file = Path(os.path.abspath(origin))
    return None if is_installed(file) or not file.is_file() else file


def is_installed(file: Path) -> bool:
    """Whether a file is part of Python, or of an installed package."""
    if not {"site-packages", "dist-packages"}.isdisjoint(file.parts):
        return True
    return any(place.is_relative_to(folder) for place in (file, file.resolve()) for folder in _installed())


@cache
def _installed() -> list[Path]:
    """Where Python and its packages are."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = [*map(sysconfig.get_path, names), *site.getsitepackages(), site.getusersitepackages()]
    return [_PACKAGE, *(Path(folder) for folder in folders), *(Path(folder).resolve() for folder in folders)]


def folders() -> list[str]:
    """The folders that hold Python, its packages, and their libraries: what a jailed worker may read."""
    libraries = [Path(prefix, "lib") for prefix in (sys.prefix, sys.base_prefix)]
    return sorted({str(folder) for folder in [*_installed(), *libraries] if folder.is_dir()})


def imported(text: str, package: str) -> set[str]:
    """The modules that a source may import, and those that these are in."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        # The process that runs it says what is wrong.
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            around = package.split(".")
            above = around[: len(around) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            # A name that is imported from a package may be a module in it.
            names.update([base, *(f"{base}.{alias.name}" for alias in node.names)])
    return {above for name in names for above in _with_parents(name)}
