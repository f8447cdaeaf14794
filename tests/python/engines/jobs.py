"""A job for ranks: a small pipeline whose ranks stop and wait where a test wants to kill one.

A rank's worker makes the batches that `HOLD_AFTER` allows, and then waits until the file that `GATE`
names exists. So a test kills a rank at a batch that it knows, however fast the machine is. Both are
variables of the environment, since a configuration would be a part of the run's identity.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import wait_until
from engines.kept import Kept

import cobuf

COMMAND = Path(cobuf.__file__).parent / "bin" / "cobuf"
# The command, and programs of packages that are installed for the tests, such as torchrun.
PATH = os.pathsep.join([str(COMMAND.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
BATCHES = 60
CHECKPOINT = "runs/rows"

ROWS = """\
import os
import time
import cobuf


class Jobs:
    def __len__(self):
        return LENGTH

    def __getitem__(self, index):
        return {"row": index}


class Rows:
    arrays = {"x": cobuf.Array("float64", (4,)), "row": cobuf.Array("int64", (1,))}

    def __init__(self):
        self.left = int(os.environ.get("HOLD_AFTER", LENGTH))

    def produce(self, message, out, context):
        while self.left == 0 and not os.path.exists(os.environ["GATE"]):
            time.sleep(0.01)
        self.left = max(self.left - 1, 0)
        out["x"][:] = context.rng.random(4)
        out["row"][:] = message["row"]
""".replace("LENGTH", str(BATCHES))

PIPELINE = """\
[commander]
plugin = "rows.py:Jobs"
[producer]
plugin = "rows.py:Rows"
[run]
workers = 1
slots = 2
seed = 7
"""


class Job:
    """The pipeline in a folder of its own, and the command on the `PATH`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "rows.py").write_text(ROWS)
        (folder / "rows.toml").write_text(PIPELINE)
        (folder / "runs").mkdir()

    def variables(self, **changes: str) -> dict[str, str]:
        """What a rank needs in its environment."""
        return {"PATH": PATH, "VIRTUAL_ENV": sys.prefix, **changes}

    def held(self, gate: str, after: int) -> dict[str, str]:
        """The variables of ranks that wait for a gate after this many batches."""
        return self.variables(GATE=str(self.folder / gate), HOLD_AFTER=str(after))

    def open(self, gate: str) -> None:
        """Lets the ranks that wait for a gate go on."""
        (self.folder / gate).touch()

    def cobuf(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the command outside of any engine, to its end."""
        variables = {**os.environ, **self.variables()}
        return subprocess.run(
            [COMMAND, *arguments], cwd=self.folder, env=variables, capture_output=True, text=True, timeout=240
        )

    def start(self, *command: str, name: str = "job", **variables: str) -> Kept:
        """Starts a command in the folder, with its output in files of this name."""
        out, err = (self.folder / f"{name}.{kind}" for kind in ("out", "err"))
        return Kept(list(command), out, err, self.folder, {**os.environ, **self.variables(**variables)})

    def report(self, *arguments: str) -> dict[str, Any]:
        """The report of a verb that ends well."""
        ended = self.cobuf(*arguments, "--json")
        assert ended.returncode == 0, ended.stderr
        found: dict[str, Any] = json.loads(ended.stdout)
        return found

    def digest(self) -> str:
        """The content digest of the whole job in a single undisturbed run."""
        return str(self.report("run", "rows.toml")["content_digest"])


def rank_process(processes: set[int], variable: str, rank: int) -> int | None:
    """The application of a rank among these processes: not its shell, fork server, commander or workers."""
    for pid in processes:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue  # It has ended.
        program = command[0].decode().rpartition("/")[2]
        if (program, command[1:2]) == (COMMAND.name, [b"run"]) and f"{variable}={rank}".encode() in variables:
            return pid
    return None


def kill_rank(processes: Callable[[], set[int]], variable: str, rank: int) -> None:
    """Kills a rank's application by SIGKILL, and waits for its end."""
    pid = rank_process(processes(), variable, rank)
    assert pid is not None, f"there is no rank {rank}"
    os.kill(pid, signal.SIGKILL)
    wait_until(f"rank {rank} ends", lambda: rank_process(processes(), variable, rank) is None)
