"""Every test must leave nothing behind: no process, no name in /dev/shm, no run's folder, no descriptor."""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

# Scripts can be interrupted even if the tests were started with the signal ignored, as jobs in the
# background of a shell are.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def children(of: int | None = None) -> set[int]:
    """The processes that descend from one, this one by default. Not `multiprocessing`'s tracker of
    resources, which stays as long as its process."""
    found: set[int] = set()
    left = [of or os.getpid()]
    while left:
        for task in Path(f"/proc/{left.pop()}/task").glob("*/children"):
            try:
                pids = [int(pid) for pid in task.read_text().split()]
            except OSError:
                continue
            found.update(pids)
            left.extend(pids)
    return found - {resource_tracker._resource_tracker._pid}  # type: ignore[attr-defined]


def names() -> set[str]:
    """Names of runs in shared memory, and the folders of this session's runs."""
    folders = {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("cobuf-")}
    return folders | {name for name in os.listdir("/dev/shm") if name.startswith("cobuf-")}


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder of this session's own: other runs of cobuf on the machine have theirs."""
    # Paths of Ray's sockets must be short.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as for_ray:
        os.environ.update(RAY_TMPDIR=for_ray, RAY_USAGE_STATS_ENABLED="0")
        os.environ["TMPDIR"] = str(tmp_path_factory.mktemp("temporary"))
        tempfile.tempdir = None
        yield


def descriptors() -> set[tuple[str, str]]:
    found = set()
    for entry in os.listdir("/proc/self/fd"):
        try:
            found.add((entry, os.readlink(f"/proc/self/fd/{entry}")))
        except OSError:
            pass  # That of the listing itself.
    return found


@pytest.fixture(autouse=True)
def leaks() -> Iterator[None]:
    """Compares what is there after the test with what was there before."""
    before = (children(), names(), descriptors())
    yield
    gc.collect()
    deadline = time.monotonic() + 20
    # Another run has its name in shared memory for the moment in which it maps its segment.
    while names() - before[1] and time.monotonic() < deadline:
        time.sleep(0.01)
    left = [now - then for now, then in zip((children(), names(), descriptors()), before, strict=True)]
    assert left == [set(), set(), set()], f"the test has left behind: {left}"


def wait_until(what: str, condition: object, limit: float = 120.0) -> None:
    """Waits for something that another process does."""
    deadline = time.monotonic() + limit
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.005)


def wait_for_end(pids: set[int]) -> None:
    """Waits until none of these processes is left."""
    wait_until("all processes end", lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))


def run_script(text: str, *arguments: str) -> subprocess.Popen[str]:
    """Starts a Python script in a process of its own."""
    return python("-c", textwrap.dedent(text), *arguments)


def python(*arguments: str) -> subprocess.Popen[str]:
    """Starts an interpreter that finds what this one finds."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def environment(**changes: str) -> dict[str, str]:
    """In which an interpreter finds what this one finds, with changes."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **changes}


def ran(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """An interpreter that finds what this one finds, in an environment with changes; it must end well."""
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment(**changes), timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done


def output_of(text: str, *arguments: str) -> str:
    """What a script prints, which must end well and say nothing on its standard error."""
    return output_of_file("-c", textwrap.dedent(text), *arguments)


def output_of_file(file: str | Path, *arguments: str) -> str:
    """What a script in a file prints, for which the same holds."""
    script = python(str(file), *arguments)
    try:
        out, err = script.communicate(timeout=300)
    finally:
        script.kill()
    assert (script.returncode, err) == (0, ""), err
    return out


def needs(package: str) -> pytest.MarkDecorator:
    """Skips a test, with a word about it, where a package is not installed."""
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed")
