"""A command of which nothing can be left: see `keeper`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType

from engines import keeper

LIMIT = 240.0
"""Seconds after which a job that has not ended is killed, and its test fails."""


class Kept:
    """A command under a keeper. Its output goes to files."""

    def __init__(self, command: list[str], out: Path, err: Path, cwd: Path, env: dict[str, str]) -> None:
        self.out, self.err, self.folder = out, err, cwd
        with out.open("wb") as stdout, err.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, keeper.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                cwd=cwd,
                env=env,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def running(self) -> bool:
        return self._process.poll() is None

    def processes(self) -> set[int]:
        """All processes of the command now: itself, and those that it started."""
        return keeper.below(self._process.pid)

    def wait(self) -> int:
        """The command's exit code, once none of its processes is left."""
        try:
            return self._process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end: {self.err.read_text()}") from None
        finally:
            self.kill()

    def kill(self) -> None:
        """Kills all that is left."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()
