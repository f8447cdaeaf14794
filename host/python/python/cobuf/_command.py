"""The command `cobuf`, which comes with the package."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Becomes the command, which runs Python plugins with this interpreter."""
    if sys.executable:
        os.environ["COBUF_PYTHON"] = sys.executable
    command = Path(__file__).parent / "bin" / "cobuf"
    os.execv(command, [str(command), *sys.argv[1:]])
