"""Ranks under the engines that people run: `cobuf run --rank auto` finds its rank, and all ranks together
deliver each batch once, whoever dies and with however many ranks the job goes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import needs, wait_until
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


def shown(job: Job) -> dict[str, Any]:
    """The whole job, as its parts say."""
    return job.report("checkpoint", "show", CHECKPOINT)


def ended_well(run: Kept) -> None:
    assert run.wait() == 0, run.out.read_text() + run.err.read_text()


def test_ranks_of_slurm_deliver_each_batch_once(cluster: Cluster, job: Job) -> None:
    with cluster.command("srun", "--ntasks=4", *FIRST, cwd=job.folder, **job.variables()) as run:
        ended_well(run)
    assert [report["batches"] for report in reports(run)] == [BATCHES // 4] * 4
    assert (shown(job)["batches"], shown(job)["content_digest"]) == (BATCHES, job.digest())


def test_ranks_of_open_mpi_deliver_each_batch_once(mpirun: Callable[..., Kept], job: Job) -> None:
    with mpirun("-n", "3", *FIRST, cwd=job.folder, **job.variables()) as run:
        ended_well(run)
    assert [report["batches"] for report in reports(run)] == [BATCHES // 3] * 3
    assert (shown(job)["batches"], shown(job)["content_digest"]) == (BATCHES, job.digest())


@needs("torch")
def test_ranks_of_torchrun_deliver_each_batch_once(job: Job) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3", "--no-python"]
    with job.start(*torchrun, *FIRST) as run:
        ended_well(run)
    assert [report["batches"] for report in reports(run)] == [BATCHES // 3] * 3
    assert (shown(job)["batches"], shown(job)["content_digest"]) == (BATCHES, job.digest())


def test_job_goes_on_with_other_engines_and_numbers_of_ranks(
    cluster: Cluster, mpirun: Callable[..., Kept], job: Job
) -> None:
    # Four ranks, each of which waits after 6 batches. Two are killed, the others end well.
    with cluster.command("srun", "--ntasks=4", *FIRST, cwd=job.folder, **job.held("first", 6)) as run:
        wait_until("24 batches", lambda: shown(job)["batches"] == 24)
        for rank in (1, 3):
            kill_rank(cluster.processes, "SLURM_PROCID", rank)
        job.open("first")
        assert run.wait() == 137
    assert shown(job)["batches"] == 2 * 6 + 2 * BATCHES // 4

    # Of the 18 that are missing, each of three ranks delivers 2. One is killed, and Open MPI ends the others.
    with mpirun("-n", "3", *AGAIN, cwd=job.folder, **job.held("second", 2)) as run:
        wait_until("6 batches more", lambda: shown(job)["batches"] == 48)
        kill_rank(run.processes, "OMPI_COMM_WORLD_RANK", 2)
        assert run.wait() == 137
    assert shown(job)["batches"] == 48

    ended = job.report("run", "rows.toml", "--resume", CHECKPOINT)
    assert (ended["batches"], ended["resumed_batches"], ended["content_digest"]) == (BATCHES, 48, job.digest())


def test_rank_that_starts_late_delivers_its_own_share(cluster: Cluster, job: Job) -> None:
    # Before the last rank starts, the others have delivered batches of which it must not take any.
    late = 'if [ "$SLURM_PROCID" = 3 ]; then until [ -e late ]; do sleep 0.02; done; fi; exec "$@"'
    srun = ["srun", "--ntasks=4", "sh", "-c", late, "sh"]
    for arguments, gate, after, before, total in ((FIRST, "first", 6, 18, 24), (AGAIN, "second", 3, 33, 36)):
        with cluster.command(*srun, *arguments, cwd=job.folder, **job.held(gate, after)) as run:
            wait_until(f"{before} batches", lambda n=before: (job.folder / CHECKPOINT).exists() and shown(job)["batches"] == n)
            (job.folder / "late").touch()
            wait_until(f"{total} batches", lambda n=total: shown(job)["batches"] == n)
            cluster.end_jobs()
            run.wait()
        (job.folder / "late").unlink()
    ended = job.report("run", "rows.toml", "--resume", CHECKPOINT)
    assert (ended["batches"], ended["content_digest"]) == (BATCHES, job.digest())


def test_job_of_a_lost_node_goes_on_once_the_node_is_back(own_cluster: Cluster, job: Job) -> None:
    script = "#!/bin/sh\nif [ -e runs/rows ]; then set -- --resume; else set -- --checkpoint; fi\n"
    (job.folder / "job.sh").write_text(f"{script}srun {' '.join(RUN)} $1 {CHECKPOINT}\n")
    held = job.held("gate", 5)
    with own_cluster.command("sbatch", "--wait", "--requeue", "--ntasks=4", "job.sh", cwd=job.folder, **held) as run:
        wait_until("20 batches", lambda: (job.folder / CHECKPOINT).exists() and shown(job)["batches"] == 20)
        own_cluster.lose_node("n1")
        job.open("gate")
        own_cluster.repair_node("n1")
        ended_well(run)
    assert (shown(job)["batches"], shown(job)["content_digest"]) == (BATCHES, job.digest())


def test_script_of_sbatch_is_no_rank(cluster: Cluster, job: Job) -> None:
    wrap = f"--wrap={' '.join(FIRST)}"
    options = ["--wait", "--ntasks=4", f"--output={job.folder}/output"]
    with cluster.command("sbatch", *options, wrap, cwd=job.folder, **job.variables()) as run:
        assert run.wait() == 2
    assert "start it by srun" in (job.folder / "output").read_text()
    assert not (job.folder / CHECKPOINT).exists()


def test_rank_is_asked_for_in_an_engine_with_several(mpirun: Callable[..., Kept], job: Job) -> None:
    with mpirun("-n", "2", "cobuf", "run", "rows.toml", cwd=job.folder, **job.variables()) as run:
        assert run.wait() == 2
    said = run.err.read_text()
    assert "as rank 0 of 2" in said or "as rank 1 of 2" in said, said
    assert "auto" in said and "none" in said, said
