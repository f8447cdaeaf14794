"""The processes of a run: what they load, what they may use, and what they are told."""

from __future__ import annotations

import json
import os
import sys
import time

import numpy
import pytest
from conftest import ran
from runs import ONE, batches

import cobuf

MB = 1_000_000


def run_script(*arguments, **changes):
    return ran("-W", "always", *arguments, **changes)


@pytest.fixture
def library(tmp_path):
    """A folder with an installed library, which takes 200 MB, and another one with a thread."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "large.py").write_text("data = bytearray(b'x') * 200_000_000\n")
    (folder / "threaded.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    return str(folder)


def test_memory_that_a_worker_shares_with_the_fork_server_does_not_count(library, monkeypatch):
    monkeypatch.syspath_prepend(library)

    def make(message):
        import large

        kept = numpy.ones(80 * MB, "uint8") if message == 1 else numpy.ones(10 * MB, "uint8")
        while message == 1:
            time.sleep(1)
        return numpy.array([len(large.data), kept[-1], message])

    producer = cobuf.producer(arrays=ONE)(make)
    items = batches(producer, preload=["numpy", "large"], memory_limit=60 * MB, max_attempts=1)
    error = items.pop(1)
    assert error.kind == "crash" and "its memory limit of 60 MB (it had " in str(error), error
    assert [items[n]["x"].tolist() for n in (0, 2, 3)] == [[200 * MB, 1, n] for n in (0, 2, 3)]


def test_writing_to_shared_memory_counts(library, monkeypatch):
    monkeypatch.syspath_prepend(library)

    def make(message):
        import large

        while message == 1:
            # Touches pages that the fork server has, until the limit.
            for at in range(0, len(large.data), 4096):
                large.data[at] = 1
        return numpy.array([0, 0, message])

    producer = cobuf.producer(arrays=ONE)(make)
    items = batches(producer, preload=["numpy", "large"], memory_limit=100 * MB, max_attempts=1)
    assert "its memory limit of 100 MB" in str(items.pop(1))
    assert all(isinstance(item, cobuf.Batch) for item in items.values())


def test_slots_do_not_count_as_memory_of_a_worker():
    @cobuf.producer(arrays={"x": cobuf.Array("uint8", (20 * MB,))})
    def make(message, out):
        out["x"][:] = message

    settings = {"workers": 1, "slots": 6, "memory_limit": 60 * MB}
    assert all(isinstance(item, cobuf.Batch) for item in batches(make, range(4), **settings).values())


@cobuf.producer(arrays={"x": cobuf.Array("int64", (3,))})
def environment(message, out, context):
    names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]
    context.metadata = {name: os.environ.get(name) for name in names}
    context.metadata["loaded"] = sorted(name for name in ("numpy", "decimal") if name in sys.modules)
    out["x"][:] = 0


def test_workers_have_one_thread_each_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert batches(environment)[0].metadata["OMP_NUM_THREADS"] == "1"
    assert batches(environment, env={"OMP_NUM_THREADS": "3"})[0].metadata["OMP_NUM_THREADS"] == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    told = batches(environment)[0].metadata
    assert (told["OMP_NUM_THREADS"], told["MKL_NUM_THREADS"]) == ("2", "1")


LOADED = """
import os, sys, cobuf

class Loaded:
    arrays = {"x": cobuf.Array("int64", (1,))}
    def __init__(self):
        self.loaded = ["numpy" in sys.modules, "decimal" in sys.modules]
    def produce(self, message, out, context):
        context.metadata = {"loaded": self.loaded}
        out["x"][:] = 0

import json
with cobuf.Loader(commander=range(1), producer=Loaded, workers=1, preload=json.loads(sys.argv[1])) as loader:
    print(next(loader).metadata["loaded"])
"""


@pytest.mark.parametrize(("preload", "loaded"), [([], [False, False]), (["numpy", "decimal"], [True, True])])
def test_what_is_preloaded_is_there_and_nothing_else(preload, loaded):
    done = run_script("-c", LOADED, json.dumps(preload))
    assert done.stdout == f"{loaded}\n" and done.stderr == ""


def test_threads_of_a_preloaded_library_are_a_warning(library):
    path = os.pathsep.join([library, *sys.path])
    done = run_script("-c", LOADED, '["threaded"]', PYTHONPATH=path)
    assert "RuntimeWarning: the process that forks the workers has 2 threads after it has loaded threaded" in done.stderr


@pytest.mark.parametrize(("name", "warned"), [("other", 1), ("cobuf-stack", 0)])
def test_thread_that_captures_a_stack_is_no_warning(name, warned):
    script = """
import sys, threading
from cobuf import _forkserver
named, done = threading.Event(), threading.Event()
def run():
    with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as comm:
        comm.write(sys.argv[1])
    named.set()
    done.wait()
threading.Thread(target=run).start()
named.wait()
import os
_forkserver.warn_of_threads(os.getpid(), ["it"])
done.set()
"""
    assert run_script("-c", script, name).stderr.count("has 2 threads after it has loaded it") == warned


def test_own_module_is_never_preloaded(tmp_path):
    (tmp_path / "mine.py").write_text("import decimal\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = run_script("-c", LOADED, '["mine"]', PYTHONPATH=path)
    assert "UserWarning: preload names mine, which is no installed library" in done.stderr
    assert done.stdout == "[False, False]\n"


def test_library_that_cannot_be_preloaded_is_named():
    done = run_script("-c", LOADED, '["a_module_that_is_missing"]')
    assert "cobuf: cannot preload a_module_that_is_missing: ModuleNotFoundError" in done.stderr
    assert done.stdout == "[False, False]\n"
