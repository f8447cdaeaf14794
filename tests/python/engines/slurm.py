"""A cluster of SLURM in a folder: `slurmctld` and three nodes on this machine, without munge or systemd.

It has ports and state of its own, and listens on 127.0.0.1 only. A rank takes one CPU, and each node says
that it has two, whatever the machine has: four ranks start at once, two on each node.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from engines.kept import Kept

PACKAGE = "slurm-wlm"
PROGRAMS = ["slurmctld", "slurmd", "srun", "sbatch", "scontrol", "squeue", "scancel"]
ADDRESS = "127.0.0.1"
CONTROLLER = "slurmctld"
NODES = ["n0", "n1", "n2"]
CPUS = 2
"""CPUs that each node pretends to have, so four ranks take two nodes, and can do without one."""

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


class Cluster:
    """A cluster in a folder, which has its settings, logs and state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._daemons: dict[str, Kept] = {}
        self._commands = 0

    def environment(self, **variables: str) -> dict[str, str]:
        """The tests' own variables with changes, in which SLURM's commands find this cluster."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        return {**clean, "PATH": search_path(), "SLURM_CONF": str(self.folder / "slurm.conf"), **variables}

    def command(self, *command: str, cwd: Path, **variables: str) -> Kept:
        """Starts `srun`, `sbatch --wait` or another of SLURM's commands in a folder."""
        self._commands += 1
        out, err = (self.folder / f"command-{self._commands}.{name}" for name in ("out", "err"))
        return Kept(list(command), out, err, cwd, self.environment(**variables))

    def ask(self, *command: str) -> str:
        """What one of SLURM's commands prints."""
        done = self._ask(*command)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def _ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, env=self.environment(), timeout=60)

    def start(self) -> None:
        """Starts the daemons, and waits until all nodes take jobs."""
        self._start(CONTROLLER, "slurmctld", "-D", "-i")
        for node in NODES:
            self._start(f"slurmd {node}", "slurmd", "-D", "-N", node)
        self.wait("all nodes to be idle", lambda: self._states() == ["idle"] * len(NODES))

    def stop(self) -> None:
        """Kills all daemons, and all processes of jobs."""
        for daemon in self._daemons.values():
            daemon.kill()

    def processes(self) -> set[int]:
        """All processes of jobs now: the ranks, what they started, and SLURM's own beside them."""
        nodes = [daemon for name, daemon in self._daemons.items() if name != CONTROLLER]
        return {pid for node in nodes for pid in node.processes() if name_of(pid) != "slurmd"}

    def end_jobs(self) -> None:
        """Cancels the jobs that are left, and waits until no process of a job is left."""
        self.ask("scancel", "--user", str(os.getuid()))
        self.wait("the jobs' processes to end", lambda: not self.processes())

    def lose_node(self, node: str) -> None:
        """Kills everything on a node at once, and reports it, as the controller does after `SlurmdTimeout`."""
        self._daemons.pop(f"slurmd {node}").kill()
        self.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    def start_again(self) -> None:
        """Starts the jobs of a lost node on the other nodes, without SLURM's delay of two minutes."""
        # Not before: SLURM may take what starts for a remainder of what it still ends.
        self.wait("its jobs to end on the other nodes", lambda: set(self._states()) == {"idle", "down"})
        self.wait("its jobs to be requeued", lambda: set(self._jobs("%T %r")) == {"PENDING BeginTime"})
        # A node refuses a job that starts in the same second in which it has killed it ("credential revoked").
        ended = int(time.time())
        self.wait("the next second", lambda: int(time.time()) > ended)
        for job in self._jobs("%i"):
            self.ask("scontrol", "update", f"jobid={job}", "starttime=now")

    def wait(self, what: str, condition: Callable[[], bool], limit: float = 120.0) -> None:
        """Waits for something that a daemon does."""
        deadline = time.monotonic() + limit
        while not condition():
            assert all(daemon.running() for daemon in self._daemons.values()), f"a daemon has ended\n{self._logs()}"
            assert time.monotonic() < deadline, f"waited in vain for {what}\n{self._logs()}"
            time.sleep(0.02)

    def _start(self, name: str, *command: str) -> None:
        out = self.folder / f"{name}.out"
        self._daemons[name] = Kept(list(command), out, out, self.folder, self.environment())

    def _jobs(self, form: str) -> list[str]:
        """A line for each job that has not ended."""
        return self.ask("squeue", "--noheader", f"--format={form}").splitlines()

    def _states(self) -> list[str]:
        """The nodes' states, none as long as the controller does not answer."""
        return self._ask("sinfo", "--noheader", "--Node", "--format=%T").stdout.split()

    def _logs(self) -> str:
        return "\n".join(f"{log.name}:\n{log.read_text(errors='replace')}" for log in sorted(self.folder.glob("*.log")))


def name_of(pid: int) -> str:
    """A process's name, none if it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster whose nodes take jobs, until the block ends."""
    # Not in a test's own folder: SLURM has sockets there, whose paths have at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as name:
        folder = Path(name)
        (folder / "state").mkdir()
        (folder / "slurm.conf").write_text(configuration(folder))
        running = Cluster(folder)
        try:
            running.start()
            yield running
        finally:
            running.stop()


def configuration(folder: Path) -> str:
    """The cluster's `slurm.conf`."""
    host, user = socket.gethostname().split(".")[0], pwd.getpwuid(os.getuid()).pw_name
    controller, *ports = free_ports(1 + len(NODES))
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr={ADDRESS} Port={port} CPUs={CPUS} State=UNKNOWN"
        for node, port in zip(NODES, ports, strict=True)
    )
    return CONFIGURATION.format(
        host=host, address=ADDRESS, controller=controller, user=user, folder=folder, nodes=nodes
    )


def free_ports(number: int) -> list[int]:
    """Ports that no process listens on."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server((ADDRESS, 0))) for _ in range(number)]
        return [socket.getsockname()[1] for socket in sockets]
