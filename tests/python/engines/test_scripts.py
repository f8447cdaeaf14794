"""The job scripts of the guide's page on ranks: each that can be run here is run as it stands there, dies and
is given again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent

import pytest
from conftest import REPOSITORY, needs, wait_until
from engines.jobs import Job, kill_rank
from engines.kept import Kept
from engines.slurm import Cluster
from engines.test_ranks import delivered, delivered_once, ended_well

PAGE = (REPOSITORY / "host" / "guide" / "09-ranks.md").read_text()
RANKS = 4
# Each rank makes 12 batches, and its checkpoints are 10 apart.
HOLD_AFTER, KEPT = 12, 10 * RANKS


def script(engine: str, language: str) -> str:
    """The block below an engine's heading, with the pipeline and the folder of these tests."""
    _, below = PAGE.split(f"### {engine}\n")
    _, block = below.split(f"```{language}\n", 1)
    code, _ = block.split("```", 1)
    assert "slides.toml" in code and "runs/slides" in code
    return code.replace("slides.toml", "rows.toml").replace("runs/slides", "runs/rows")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path / "job")


def shell(job: Job, code: str) -> str:
    """A script as a file of the job's folder that can be run."""
    file = job.folder / "job.sh"
    file.write_text(code)
    file.chmod(0o755)
    return "./job.sh"


def test_script_of_slurm_goes_on_after_a_lost_node(own_cluster: Cluster, job: Job) -> None:
    file = shell(job, script("SLURM", "sh"))
    with own_cluster.command("sbatch", "--wait", file, cwd=job.folder, **job.held("gate", HOLD_AFTER)) as run:
        wait_until("the first checkpoints", lambda: delivered(job) == KEPT)
        own_cluster.lose_node("n1")
        job.open("gate")
        own_cluster.start_again()
        ended_well(run)
    assert delivered_once(job)


def test_script_of_open_mpi_goes_on_after_a_killed_rank(with_mpi: Callable[..., Kept], job: Job) -> None:
    file = shell(job, script("Open MPI", "sh"))
    with with_mpi(file, cwd=job.folder, **job.held("gate", HOLD_AFTER)) as run:
        wait_until("the first checkpoints", lambda: delivered(job) == KEPT)
        kill_rank(run.processes, "OMPI_COMM_WORLD_RANK", 1)
        assert run.wait() == 137
    with with_mpi(file, cwd=job.folder, **job.variables()) as run:
        ended_well(run)
    assert delivered_once(job)


def test_script_of_torchrun_goes_on_after_a_killed_rank(torchrun: None, job: Job) -> None:
    file = shell(job, script("torchrun", "sh"))
    with job.start(file, **job.held("gate", HOLD_AFTER)) as run:
        wait_until("the first checkpoints", lambda: delivered(job) == KEPT)
        kill_rank(run.processes, "RANK", 1)
        job.open("gate")
        ended_well(run)
    assert delivered_once(job)


def test_container_of_kubernetes_goes_on_after_its_pod_is_replaced(job: Job) -> None:
    _, block = script("Kubernetes", "yaml").split("            - |\n")
    code, _ = block.split("          env:\n")
    command = ["sh", "-c", dedent(code)]

    def pod(index: int, **variables: str) -> Kept:
        """What the Job's controller sets, and the container's own variable."""
        return job.start(
            *command, name=f"pod-{index}", JOB_COMPLETION_INDEX=str(index), COBUF_WORLD_SIZE=str(RANKS), **variables
        )

    held = job.held("gate", HOLD_AFTER)
    with ExitStack() as pods:
        running = [pods.enter_context(pod(index, **held)) for index in range(RANKS)]
        wait_until("the first checkpoints", lambda: delivered(job) == KEPT)
        kill_rank(running[1].processes, "JOB_COMPLETION_INDEX", 1)
        assert running[1].wait() == 137
        running[1] = pods.enter_context(pod(1, **held))
        job.open("gate")
        for run in running:
            ended_well(run)
    assert delivered_once(job)


@needs("ray")
def test_script_of_ray_delivers_each_batch_once(job: Job) -> None:
    (job.folder / "job.py").write_text(script("Ray", "python"))
    with job.start(sys.executable, "job.py") as run:
        ended_well(run)
    assert delivered_once(job)


def test_each_script_of_the_page_is_run_here() -> None:
    _, below = PAGE.split("## Job scripts\n")
    scripts, _ = below.split("\n## ", 1)
    tested = {"SLURM", "Open MPI", "torchrun", "Kubernetes", "Ray"}
    assert {line.removeprefix("### ") for line in scripts.splitlines() if line.startswith("### ")} == tested
