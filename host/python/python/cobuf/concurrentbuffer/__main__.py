"""Runs a script that imports `concurrentbuffer`, on this package: ``python -m cobuf.concurrentbuffer
script.py [ARGUMENT...]``."""

from __future__ import annotations

import os
import runpy
import sys

from cobuf.concurrentbuffer import install


def main() -> None:
    """Becomes the script."""
    if len(sys.argv) < 2:
        sys.exit("usage: python -m cobuf.concurrentbuffer SCRIPT [ARGUMENT...]")
    del sys.argv[0]
    script = sys.argv[0]
    if not os.path.isfile(script):
        sys.exit(f"there is no script {script}")
    # As the interpreter does for a script.
    sys.path[0] = os.path.dirname(os.path.realpath(script))
    install()
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
