"""The engines as fixtures. A test whose engine is not installed is skipped, and the reason says what to install."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from engines import open_mpi, slurm
from engines.kept import Kept
from engines.slurm import Cluster


def require(missing: list[str], package: str) -> None:
    """Skips the test if a program is missing."""
    if missing:
        pytest.skip(f"{', '.join(missing)} not found: install the Debian package {package}")


@pytest.fixture(scope="module")
def running_cluster() -> Iterator[Cluster]:
    """A cluster for all tests of a module, since its nodes take a second to start."""
    require(slurm.missing(), slurm.PACKAGE)
    with slurm.cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(running_cluster: Cluster) -> Iterator[Cluster]:
    """A cluster of SLURM of two nodes. No process of a job is left at the test's end."""
    yield running_cluster
    running_cluster.end_jobs()


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A cluster for one test, which may kill its nodes."""
    require(slurm.missing(), slurm.PACKAGE)
    with slurm.cluster() as cluster:
        yield cluster
        cluster.end_jobs()


@pytest.fixture
def with_mpi(tmp_path: Path) -> Callable[..., Kept]:
    """Starts Open MPI's `mpirun`, or a script with it."""
    require(open_mpi.missing(), open_mpi.PACKAGE)
    return partial(open_mpi.start, tmp_path)


@pytest.fixture
def torchrun() -> None:
    """For a test that starts it. Not Debian's: its torch 1.13 cannot start processes under Python 3.11."""
    if not (Path(sys.executable).parent / "torchrun").exists():
        pytest.skip("torchrun is not in the tests' environment: install torch 2.0 or newer there")
