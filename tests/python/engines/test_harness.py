"""The engines themselves: they start the ranks that the tests ask for, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import wait_for_end, wait_until
from engines import keeper
from engines.conftest import require
from engines.kept import Kept
from engines.slurm import Cluster

# Starts a process that leaves session, group and parent, as a daemon does. It ends at the end of the pipe.
DAEMON = "exec 3<gate; setsid sh -c 'echo $$ >daemon.new; mv daemon.new daemon; read line <&3' & exit 5"

PAUSE = "sleep 0.02"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "gate")
    return tmp_path


def kept(folder: Path, script: str) -> Kept:
    return Kept(["bash", "-c", script], folder / "out", folder / "err", folder, dict(os.environ))


def test_keeper_waits_for_daemons_and_has_the_commands_code(folder: Path) -> None:
    with kept(folder, DAEMON) as run, (folder / "gate").open("w"):
        wait_until("the daemon runs", (folder / "daemon").exists)
        daemon = int((folder / "daemon").read_text())
        wait_until("the command has ended", lambda: run.processes() == {daemon})
        assert run.running()
    assert not Path(f"/proc/{daemon}").exists()
    with kept(folder, DAEMON) as run:
        (folder / "gate").write_text("go\n")
        assert run.wait() == 5


def test_keeper_tells_by_which_signal_the_command_died(folder: Path) -> None:
    with kept(folder, "kill -KILL $$") as run:
        assert run.wait() == 128 + signal.SIGKILL


def test_nothing_outlives_tests_that_are_killed(folder: Path) -> None:
    # Its pipe to the keeper ends with it.
    script = (
        "import subprocess, sys\n"
        "kept = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)\n"
        "print(kept.pid, flush=True)\n"
        "kept.wait()\n"
    )
    command = [sys.executable, "-c", script, sys.executable, keeper.__file__, "bash", "-c", DAEMON]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as tests, (folder / "gate").open("w"):
        assert tests.stdout is not None
        pid = int(tests.stdout.readline())
        wait_until("the daemon runs", (folder / "daemon").exists)
        left = {pid} | keeper.below(pid)
        tests.kill()
        wait_for_end(left)


def test_slurm_starts_ranks_on_two_nodes(cluster: Cluster, tmp_path: Path) -> None:
    script = "echo $SLURM_PROCID/$SLURM_STEP_NUM_TASKS, $SLURM_LOCALID on $SLURM_NODEID"
    with cluster.command("srun", "--ntasks=4", "sh", "-c", script, cwd=tmp_path) as run:
        assert run.wait() == 0, run.err.read_text()
    assert sorted(run.out.read_text().splitlines()) == ["0/4, 0 on 0", "1/4, 1 on 0", "2/4, 0 on 1", "3/4, 1 on 1"]


def test_job_of_a_lost_node_starts_again_on_others(own_cluster: Cluster, tmp_path: Path) -> None:
    script = f"#!/bin/sh\nsrun sh -c 'echo $SLURM_PROCID >>start-$SLURM_RESTART_COUNT; until [ -e open ]; do {PAUSE}; done'\n"
    (tmp_path / "job.sh").write_text(script)
    first, second = tmp_path / "start-", tmp_path / "start-1"
    with own_cluster.command("sbatch", "--wait", "--requeue", "--ntasks=4", "job.sh", cwd=tmp_path) as run:
        wait_until("all ranks run", lambda: first.exists() and len(first.read_text().split()) == 4)
        own_cluster.lose_node("n1")
        own_cluster.start_again()
        own_cluster.wait("all ranks to run again", lambda: second.exists() and len(second.read_text().split()) == 4)
        (tmp_path / "open").touch()
        assert run.wait() == 0, run.err.read_text()


def test_open_mpi_starts_ranks(with_mpi: Callable[..., Kept], tmp_path: Path) -> None:
    script = "echo $OMPI_COMM_WORLD_RANK/$OMPI_COMM_WORLD_SIZE, $OMPI_COMM_WORLD_LOCAL_RANK"
    with with_mpi("mpirun", "-n", "3", "sh", "-c", script, cwd=tmp_path) as run:
        assert run.wait() == 0, run.err.read_text()
    assert sorted(run.out.read_text().splitlines()) == ["0/3, 0", "1/3, 1", "2/3, 2"]


def test_engine_that_is_not_installed_is_skipped_with_its_package() -> None:
    with pytest.raises(pytest.skip.Exception, match="^srun not found: install the Debian package slurm-wlm$"):
        require(["srun"], "slurm-wlm")
