"""Modules whose sources a plugin carries: each process of a run has them as they were when the plugin
was read, whatever has become of their files."""

from __future__ import annotations

import importlib.abc
import importlib.util
import linecache
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any


class _Module(importlib.abc.ExecutionLoader):
    """One module."""

    def __init__(self, carried: dict[str, Any]) -> None:
        self._carried = carried

    def get_filename(self, fullname: str) -> str:
        return str(self._carried["file"])

    def get_source(self, fullname: str) -> str:
        return str(self._carried["text"])

    def is_package(self, fullname: str) -> bool:
        return bool(self._carried["package"])


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of one plugin."""

    def __init__(self, modules: dict[str, dict[str, Any]]) -> None:
        self.modules = modules

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        carried = self.modules.get(fullname)
        if carried is None:
            return None
        folder = [str(Path(carried["file"]).parent)] if carried["package"] else None
        return importlib.util.spec_from_file_location(
            fullname, carried["file"], loader=_Module(carried), submodule_search_locations=folder
        )


def serve(modules: dict[str, dict[str, Any]]) -> None:
    """Has imports in this process find these modules. Their lines are known to tracebacks."""
    if not modules or any(isinstance(finder, _Finder) and finder.modules == modules for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder(modules))
    for name, carried in modules.items():
        # Python's module of the same name gives way; in a fork of the program its own is loaded already.
        if name in sys.modules and getattr(sys.modules[name], "__file__", None) != carried["file"]:
            del sys.modules[name]
        text = carried["text"]
        linecache.cache[carried["file"]] = (len(text), None, text.splitlines(keepends=True), carried["file"])
