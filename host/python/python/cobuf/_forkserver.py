"""The fork server of a run with Python plugins: it loads libraries once, then forks."""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys


def main() -> None:
    """Serves the host whose process number is the last argument; the first one has the options."""
    options = json.loads(sys.argv[1])
    sys.path[:] = options["path"]
    for name in options["preload"]:
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"cobuf: cannot preload {name}: {error}", file=sys.stderr)
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        print(
            f"cobuf: the fork server has {threads} threads after it has loaded {', '.join(options['preload'])}; "
            "its workers may wait for a lock that one of them held. Pass preload=[] to load nothing early.",
            file=sys.stderr,
        )
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
