"""Ranks under the engines that people run: `cobuf run --rank auto` finds its rank, and all ranks together
deliver each batch once, whoever dies and with however many ranks the job goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until
from engines.jobs import BATCHES, CHECKPOINT, Job, kill_rank
from engines.kept import Kept
from engines.slurm import Cluster

RUN = ["cobuf", "run", "rows.toml", "--rank", "auto", "--json", "--checkpoint-every", "1"]
FIRST = [*RUN, "--checkpoint", CHECKPOINT]
AGAIN = [*RUN, "--resume", CHECKPOINT]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path / "job")


def reports(run: Kept) -> list[dict[str, Any]]:
    """The ranks' reports, which are the lines of JSON in the output of a job."""
    return [json.loads(line) for line in run.out.read_text().splitlines() if line.startswith("{")]


def delivered(job: Job) -> int:
    """The batches that all parts together say were delivered; 0 as long as no rank has begun."""
    shown = job.cobuf("checkpoint", "show", CHECKPOINT, "--json")
    return int(json.loads(shown.stdout)["delivered"]) if shown.returncode == 0 else 0


def delivered_once(job: Job) -> bool:
    """Whether the parts add up to what a single run delivers."""
    shown = job.report("checkpoint", "show", CHECKPOINT)
    return (shown["delivered"], shown["content_digest"]) == (BATCHES, job.digest())


def ended_well(run: Kept) -> None:
    code = run.wait()
    # SLURM writes the output of a script to a file of its own.
    said = [file.read_text() for file in (run.out, run.err, *run.folder.glob("slurm-*.out"))]
    assert code == 0, (code, *said)


def test_ranks_of_slurm_deliver_each_batch_once(cluster: Cluster, job: Job) -> None:
    with cluster.command("srun", "--ntasks=4", *FIRST, cwd=job.folder, **job.variables()) as run:
        ended_well(run)
    assert [report["batches"] for report in reports(run)] == [BATCHES // 4] * 4
    assert delivered_once(job)


def test_ranks_of_open_mpi_deliver_each_batch_once(with_mpi: Callable[..., Kept], job: Job) -> None:
    with with_mpi("mpirun", "-n", "3", *FIRST, cwd=job.folder, **job.variables()) as run:
        ended_well(run)
    assert [report["batches"] for report in reports(run)] == [BATCHES // 3] * 3
    assert delivered_once(job)


def test_ranks_of_torchrun_deliver_each_batch_once(torchrun: None, job: Job) -> None:
    with job.start("torchrun", "--standalone", "--nproc_per_node=3", "--no_python", *FIRST) as run:
        ended_well(run)
    assert [report["batches"] for report in reports(run)] == [BATCHES // 3] * 3
    assert delivered_once(job)


def test_job_goes_on_with_other_engines_and_numbers_of_ranks(
    cluster: Cluster, with_mpi: Callable[..., Kept], job: Job
) -> None:
    # Four ranks, each of which waits after 6 batches. Two are killed, the others end well.
    with cluster.command("srun", "--ntasks=4", *FIRST, cwd=job.folder, **job.held("first", 6)) as run:
        wait_until("24 batches", lambda: delivered(job) == 24)
        for rank in (1, 3):
            kill_rank(cluster.processes, "SLURM_PROCID", rank)
        job.open("first")
        assert run.wait() == 137
    assert delivered(job) == 2 * 6 + 2 * BATCHES // 4

    # Of the 18 that are missing, each of three ranks delivers 2. One is killed, and Open MPI ends the others.
    with with_mpi("mpirun", "-n", "3", *AGAIN, cwd=job.folder, **job.held("second", 2)) as run:
        wait_until("6 batches more", lambda: delivered(job) == 48)
        kill_rank(run.processes, "OMPI_COMM_WORLD_RANK", 2)
        assert run.wait() == 137
    # Open MPI may end a rank's worker before the rank, which then replaces it, and delivers some more.
    before = delivered(job)
    assert 48 <= before <= BATCHES

    ended = job.report("run", "rows.toml", "--resume", CHECKPOINT)
    assert (ended["batches"], ended["resumed_batches"], ended["content_digest"]) == (BATCHES, before, job.digest())


def test_rank_that_starts_late_delivers_its_own_share(cluster: Cluster, job: Job) -> None:
    # Before the last rank starts, the others have delivered batches, of which it must take none.
    late = 'if [ "$SLURM_PROCID" = 2 ]; then until [ -e late ]; do sleep 0.02; done; fi; exec "$@"'
    for ranks, arguments, each in ((4, FIRST, 6), (3, AGAIN, 4)):
        # A rank whose workers are told to end before it is replaces them, and so delivers some more.
        begun = delivered(job)
        before, after = begun + (ranks - 1) * each, begun + ranks * each
        held = job.held("gate", each)
        command = ["srun", f"--ntasks={ranks}", "sh", "-c", late, "sh", *arguments]
        with cluster.command(*command, cwd=job.folder, **held) as run:
            wait_until(f"{before} batches", lambda before=before: delivered(job) == before)
            (job.folder / "late").touch()
            wait_until(f"{after} batches", lambda after=after: delivered(job) == after)
            cluster.end_jobs()
            assert run.wait() != 0
        (job.folder / "late").unlink()
    ended = job.report("run", "rows.toml", "--resume", CHECKPOINT)
    assert (ended["batches"], ended["content_digest"]) == (BATCHES, job.digest())


def test_script_of_sbatch_is_no_rank(cluster: Cluster, job: Job) -> None:
    wrap = f"--wrap={' '.join(FIRST)}"
    options = ["--wait", "--ntasks=4", f"--output={job.folder}/output"]
    with cluster.command("sbatch", *options, wrap, cwd=job.folder, **job.variables()) as run:
        assert run.wait() == 2
    assert "start it by srun" in (job.folder / "output").read_text()
    assert not (job.folder / CHECKPOINT).exists()


def test_rank_is_asked_for_in_an_engine_with_several(with_mpi: Callable[..., Kept], job: Job) -> None:
    with with_mpi("mpirun", "-n", "2", "cobuf", "run", "rows.toml", cwd=job.folder, **job.variables()) as run:
        assert run.wait() == 2
    said = run.err.read_text()
    assert "as rank 0 of 2" in said or "as rank 1 of 2" in said, said
    assert "auto" in said and "none" in said, said
