"""Runs one command, and ends only after every process that it started, whatever became of their parents.

    keeper.py COMMAND…    exits with the command's code, or 128 and its signal's number

A launcher's daemons leave their parent's group and session: `slurmd` starts a `slurmstepd` that
belongs to process 1 at once. This process takes such orphans instead of process 1, so each process
that the command started, directly or not, descends from it. As long as one of them lives, it waits.

Its standard input is a pipe that it never reads. The end of that pipe, also because the tests were
killed, ends everything below by SIGKILL.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def below(pid: int) -> set[int]:
    """The processes that descend from this one."""
    found: set[int] = set()
    left = [pid]
    while left:
        for task in Path(f"/proc/{left.pop()}/task").glob("*/children"):
            try:
                pids = [int(child) for child in task.read_text().split()]
            except OSError:
                continue  # It has ended.
            found.update(pids)
            left.extend(pids)
    return found


def kill_all() -> None:
    """Kills every process below, and those that they start meanwhile, until none is left."""
    while True:
        for pid in below(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def keep(command: list[str]) -> int:
    """The command's code, once nothing that it started is left."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot take orphans")
    # A descriptor that is readable whenever a child has ended.
    ended, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    main = os.posix_spawnp(
        command[0],
        command,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)],
        setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE],
    )
    code = 0
    while True:
        ready, _, _ = select.select([0, ended], [], [])
        if 0 in ready:
            kill_all()
            return 128 + signal.SIGKILL
        os.read(ended, 4096)
        try:
            while (reaped := os.waitpid(-1, os.WNOHANG))[0] != 0:
                if reaped[0] == main:
                    code = os.waitstatus_to_exitcode(reaped[1])
        except ChildProcessError:
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    # Ctrl-C reaches the tests too, which then close the pipe.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(keep(sys.argv[1:]))
