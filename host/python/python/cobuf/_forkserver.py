"""The fork server of a run with Python plugins: it loads libraries once, then forks."""

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import os
import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

_PACKAGE = Path(__file__).parent
# One thread for each worker, unless the user says otherwise: workers are the parallelism.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

# The name of the thread that captures stacks.
_CAPTURES = "cobuf-stack"

_ = faulthandler  # Its processes use it, and may not find it any more.


def main() -> None:
    """Serves the host whose process number is the last argument; the first one has the options."""
    options = json.loads(sys.argv[1])
    sys.path[:] = options["path"]
    # Threads of libraries are not to take the news of a child's death.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    for name in options["preload"]:
        try:
            importlib.import_module(name)
        except Exception as error:
            print(f"cobuf: cannot preload {name}: {type(error).__name__}: {error}", file=sys.stderr)
    from cobuf import _native, _worker

    _ = _worker
    gc.collect()
    gc.freeze()
    code = 0
    try:
        _native.serve_fork_server(int(sys.argv[-1]))
    except OSError as error:
        print(f"cobuf: {error}", file=sys.stderr)
        code = 1
    sys.stderr.flush()
    os._exit(code)


def command(preload: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """The command of a fork server that is this interpreter."""
    # The main script's folder is the first entry, and empty in an interactive session.
    path = [os.getcwd() if entry == "" else entry for entry in sys.path]
    options = json.dumps({"path": path, "preload": list(preload)})
    # Libraries that are preloaded read them there.
    threads = "".join(
        f"os.environ[{name!r}] = {env[name]!r}; " if name in env else f"os.environ.setdefault({name!r}, '1'); "
        for name in _THREADS
    )
    # This package's folder first, for the import of the fork server itself.
    code = f"import os, sys; {threads}sys.path.insert(0, {str(_PACKAGE.parent)!r}); from cobuf._forkserver import main; main()"
    return [sys.executable, "-c", code, options]


def preloadable(names: Sequence[str]) -> list[str]:
    """The libraries among these modules. A user's own module is read in each worker, so that a swap
    can replace it."""
    from cobuf import _own

    own = [name for name in names if _own.is_own(name)]
    if own:
        warnings.warn(
            f"preload names {', '.join(own)}, which is no installed library: it is loaded in each worker "
            "instead, so that a swap takes edited code in",
            UserWarning,
            stacklevel=3,
        )
    return [name for name in names if name not in own]


def warn_of_threads(fork_server: int, preloaded: Sequence[str]) -> None:
    """Warns if the fork server, which has just begun, has threads: forks do not have them. Its own one,
    which captures the stack of a process that crashes, holds no lock."""
    try:
        names = [name.read_text().strip() for name in Path(f"/proc/{fork_server}/task").glob("*/comm")]
    except OSError:
        return
    threads = len([name for name in names if name != _CAPTURES])
    if threads > 1:
        warnings.warn(
            f"the process that forks the workers has {threads} threads after it has loaded {', '.join(preloaded)}: "
            "workers do not have them, and may wait for ever for a lock that one of them held; load less early "
            "(preload=[] loads nothing)",
            RuntimeWarning,
            stacklevel=3,
        )
