"""A cluster of SLURM in a folder: `slurmctld` and two nodes on this machine, without munge or systemd.

It has ports and state of its own, and listens on 127.0.0.1 only. A rank takes one CPU, and each node says
that it has two, whatever the machine has: four ranks start at once, two on each node.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from engines.kept import Kept

PACKAGE = "slurm-wlm"
PROGRAMS = ["slurmctld", "slurmd", "srun", "sbatch", "scontrol", "squeue", "scancel"]
NODES = ["n0", "n1"]
CPUS = 2
"""CPUs that each node pretends to have, so four ranks take both nodes."""

CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}({address})
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
# No munge: whoever reaches the ports is trusted, and they are on this machine's own address only.
AuthType=auth/none
CredType=cred/none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
# No cgroups, which containers often lack.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
# Nodes count as what the next lines say, and come back by themselves.
SlurmdParameters=config_overrides
ReturnToService=2
# Each rank takes one CPU.
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0
KillWait=5
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """The programs that are not installed."""
    return [program for program in PROGRAMS if not shutil.which(program, path=search_path())]


def search_path() -> str:
    """Daemons lie in folders for administrators."""
    return os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])


def free_ports(address: str, number: int) -> list[int]:
    """Ports that no process listens on."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server((address, 0))) for _ in range(number)]
        return [socket.getsockname()[1] for socket in sockets]


class Cluster:
    """A running cluster. Its jobs run in a folder, with `variables` beside the tests' own."""

    def __init__(self, folder: Path, daemons: list[Kept]) -> None:
        self.folder = folder
        self._daemons = daemons
        self._own: set[int] = set()
        self._commands = 0

    def environment(self, **variables: str) -> dict[str, str]:
        """In which SLURM's commands find this cluster."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        return {**clean, "PATH": search_path(), "SLURM_CONF": str(self.folder / "slurm.conf"), **variables}

    def command(self, *command: str, cwd: Path, **variables: str) -> Kept:
        """Starts `srun`, `sbatch --wait` or another of SLURM's commands."""
        self._commands += 1
        out, err = (self.folder / f"command-{self._commands}.{name}" for name in ("out", "err"))
        return Kept(list(command), out, err, cwd, self.environment(**variables))

    def ask(self, *command: str) -> str:
        """What one of SLURM's commands prints."""
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment(), timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def processes(self) -> set[int]:
        """All processes of jobs now: the ranks, what they started, and SLURM's own beside them."""
        found: set[int] = set()
        for daemon in self._daemons:
            found |= daemon.processes()
        return found - self._own

    def settle(self) -> None:
        """Remembers the daemons' own processes, from now on the others are those of jobs."""
        self._own = set().union(*(daemon.processes() for daemon in self._daemons))

    def end_jobs(self) -> None:
        """Cancels the jobs that are left, and waits until no process of any job is left."""
        self.ask("scancel", "--user", str(os.getuid()))
        wait(self, "its jobs to end", lambda: not self.processes())

    def logs(self) -> str:
        """The daemons' logs."""
        return "\n".join(f"{log.name}:\n{log.read_text(errors='replace')}" for log in sorted(self.folder.glob("*.log")))


def wait(cluster: Cluster, what: str, condition: object, limit: float = 120.0) -> None:
    """Waits for something that a daemon does."""
    deadline = time.monotonic() + limit
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"waited in vain for {what}\n{cluster.logs()}"
        time.sleep(0.02)


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster whose nodes take jobs, until the block ends."""
    host = socket.gethostname().split(".")[0]
    address = "127.0.0.1"
    user = pwd.getpwuid(os.getuid()).pw_name
    controller, *ports = free_ports(address, 1 + len(NODES))
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr={address} Port={port} CPUs={CPUS} State=UNKNOWN"
        for node, port in zip(NODES, ports, strict=True)
    )
    folder.mkdir()
    (folder / "state").mkdir()
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            host=host, address=address, controller=controller, user=user, folder=folder, nodes=nodes
        )
    )
    with ExitStack() as running:
        daemons: list[Kept] = []
        started = Cluster(folder, daemons)

        def start(name: str, *command: str) -> None:
            out = folder / f"{name}.out"
            daemons.append(running.enter_context(Kept(list(command), out, out, folder, started.environment())))

        start("slurmctld", "slurmctld", "-D", "-i")
        for node in NODES:
            start(node, "slurmd", "-D", "-N", node)

        def ready() -> bool:
            assert all(daemon.running() for daemon in daemons), started.logs()
            asked = subprocess.run(
                ["sinfo", "-h", "-N", "-o", "%T"], capture_output=True, text=True, env=started.environment(), timeout=60
            )
            return asked.stdout.split() == ["idle"] * len(NODES)

        wait(started, "its nodes to be idle", ready)
        started.settle()
        yield started
        started.end_jobs()
