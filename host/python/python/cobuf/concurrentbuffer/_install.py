"""The name `concurrentbuffer` for this package."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_ALIAS = "concurrentbuffer"


class _Finder(MetaPathFinder, Loader):
    """Finds the modules of this package under their other names."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _ALIAS and not name.startswith(_ALIAS + "."):
            return None
        return ModuleSpec(name, self, is_package=name == _ALIAS)

    def exec_module(self, module: ModuleType) -> None:
        # The import system then takes the module that stands there.
        sys.modules[module.__name__] = importlib.import_module(f"cobuf.{module.__name__}")


_FINDER = _Finder()


def installed() -> bool:
    """Whether the name is this package's."""
    return _FINDER in sys.meta_path


def install() -> None:
    """Has ``import concurrentbuffer`` give this package, in this process and in those of its runs.

    The modules are the same objects under both names. Call it before the first such import;
    otherwise it is a `RuntimeError`. A second call does nothing.
    """
    if installed():
        return
    if found := sys.modules.get(_ALIAS):
        raise RuntimeError(
            f"{_ALIAS} is imported already, from {found.__file__}; call cobuf.concurrentbuffer.install() "
            "before the first import of it"
        )
    sys.meta_path.insert(0, _FINDER)
