"""What users of other loaders ask for, one test for each wish of the list below, here or where it is named.

    a worker's error reaches the loop, no freeze        test_loader: error_of_a_worker_reaches_the_loop_which_goes_on
    exact resume in mid-epoch, any number of workers    test_loader: state_is_resumed_exactly_with_another_number_of_workers
    batches as they come, no straggler                  straggler_holds_up_no_other_batch
    skip corrupt samples, and list them                 corrupt_samples_are_skipped_listed_and_made_again
    which item killed the worker                        item_that_kills_its_worker_is_named
    memory flat in the number of workers                memory_is_flat_in_the_number_of_workers
    nothing left in /dev/shm                            nothing_is_left_in_shared_memory_however_the_program_ends
    Ctrl-C ends everything, quietly                     test_processes: ctrl_c_ends_everything_quietly_at_each_stage
    zero-copy tensors without warnings                  test_arrays: zero_copy_tensors_of_torch_come_without_warnings
    workers beside CUDA, from notebooks                 workers_are_no_forks_of_the_program, cell_of_a_notebook_may_define_the_producer
    random numbers per sample, reproducible             test_producers: random_numbers_depend_on_the_message_alone
    pip without a compiler                              nothing_at_run_time_needs_a_compiler
    exactly once                                        test_loader: killed_processes_cost_no_batch_and_repeat_none
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy
import pytest
from conftest import REPOSITORY, children, names, output_of, run_script, wait_for_end, wait_until

import cobuf

ONE = {"x": cobuf.Array("int64", (1,))}


def values(batches):
    return [int(batch["x"][0]) for batch in batches]


def test_straggler_holds_up_no_other_batch(tmp_path):
    gate = tmp_path / "gate"

    @cobuf.producer(arrays=ONE)
    def first_is_slow(message, out):
        while message == 0 and not gate.exists():
            time.sleep(0.002)
        out["x"][:] = message

    with cobuf.Loader(commander=range(50), producer=first_is_slow, workers=2, ordered=False) as loader:
        others = values(next(loader) for _ in range(49))
        assert sorted(others) == list(range(1, 50))
        gate.touch()
        assert values(loader) == [0]


def test_corrupt_samples_are_skipped_listed_and_made_again(tmp_path):
    letters = tmp_path / "given_up.jsonl"
    bad = {3, 7, 8}

    def reading(broken):
        @cobuf.producer(arrays=ONE)
        def read(message, out):
            if message["path"] in broken:
                raise OSError(f"cannot decode {message['path']}")
            out["x"][:] = int(message["path"][:-4])

        return read

    samples = [{"path": f"{n}.png"} for n in range(10)]
    skip = {"producer": reading({f"{n}.png" for n in bad}), "workers": 2, "on_failure": {"error": "skip"}}
    with cobuf.Loader(commander=samples, dead_letters=letters, **skip) as loader:
        assert values(loader) == [n for n in range(10) if n not in bad]
    listed = [json.loads(line) for line in letters.read_text().splitlines()[1:]]
    assert sorted(letter["message"]["path"] for letter in listed) == [f"{n}.png" for n in sorted(bad)]
    assert all("cannot decode" in str(letter["error"]) for letter in listed)
    with cobuf.Loader(commander=samples, producer=reading(set()), workers=2, replay=letters) as again:
        assert sorted(values(again)) == sorted(bad)


def test_item_that_kills_its_worker_is_named():
    @cobuf.producer(arrays=ONE)
    def one_is_deadly(message, out):
        if message == ("scan", 3):
            os.kill(os.getpid(), signal.SIGSEGV)
        out["x"][:] = message[1]

    items = [("scan", n) for n in range(6)]
    with cobuf.Loader(commander=items, producer=one_is_deadly, workers=2, max_attempts=2) as loader:
        results = list(loader.results())
    error = results.pop(3)
    assert isinstance(error, cobuf.BatchError)
    assert (error.sequence, error.message, error.kind) == (3, ("scan", 3), "crash")
    assert "signal 11" in str(error), error
    assert values(results) == [0, 1, 2, 4, 5]


def private_kilobytes(pid):
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def test_memory_is_flat_in_the_number_of_workers():
    # What grows in torch's workers: a list of a dataset's items, each with a reference count. Here
    # the commander alone has it.
    items = [{"path": f"slides/{n:07}.tif", "label": n} for n in range(100_000)]

    @cobuf.producer(arrays={"x": cobuf.Array("float32", (1000,))})
    def make(message, out):
        out["x"][:] = numpy.arange(1000) + message["label"]

    with cobuf.Loader(commander=items, producer=make, workers=4, limit=400) as loader:
        for _ in range(400):
            next(loader)
        statistics = loader.statistics()
        processes = set(statistics["processes"]) - {statistics["fork_server"]}
        workers = [pid for pid in processes if b"work" in Path(f"/proc/{pid}/comm").read_bytes()]
        private = [private_kilobytes(pid) for pid in workers]
    assert len(private) == 4
    # An interpreter with NumPy has more than 25 MB of its own.
    assert max(private) < 15_000, f"{private} kB"


@pytest.mark.parametrize("end", ["exit", "exception", "killed", "interrupted"])
def test_nothing_is_left_in_shared_memory_however_the_program_ends(end):
    before = names()
    script = run_script(
        """
    import cobuf, os, sys, time

    @cobuf.producer(arrays={"x": cobuf.Array("int64", (1,))})
    def make(message, out):
        out["x"][:] = message

    loader = cobuf.Loader(commander=range(1000), producer=make, workers=2)
    next(loader)
    print("running", flush=True)
    if sys.argv[1] == "exception":
        raise LookupError
    if sys.argv[1] in ("killed", "interrupted"):
        time.sleep(1000)
    """,
        end,
    )
    assert script.stdout.readline() == "running\n"
    processes = children(script.pid)
    if end == "killed":
        script.kill()
    elif end == "interrupted":
        script.send_signal(signal.SIGINT)
    script.communicate(timeout=120)
    wait_for_end(processes)
    wait_until("names are gone", lambda: not [name for name in names() - before if (Path("/dev/shm") / name).exists()])


def test_workers_are_no_forks_of_the_program(tmp_path):
    # A context of CUDA, a lock that a thread holds, a server's sockets: none of it is in a worker.
    (tmp_path / "locked.py").write_text("import threading\nLOCK = threading.Lock()\n")
    out = output_of(
        """
    import os, sys
    import cobuf
    sys.path.insert(0, sys.argv[1])
    import locked

    os.register_at_fork(before=lambda: print("forked", flush=True))
    locked.LOCK.acquire()
    read, write = os.pipe()
    os.set_inheritable(write, True)
    pipe = os.readlink(f"/proc/self/fd/{write}")

    def has(pipe):
        entries = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
        return pipe in [os.readlink(entry) for entry in entries if os.path.lexists(entry)]

    @cobuf.producer(arrays={"x": cobuf.Array("int64", (2,))})
    def make(message, out):
        with locked.LOCK:
            out["x"][:] = message, has(pipe)

    with cobuf.Loader(commander=range(10), producer=make, workers=2) as loader:
        print([batch["x"].tolist() for batch in loader] == [[n, 0] for n in range(10)], has(pipe))
    """,
        str(tmp_path),
    )
    assert out == "True True\n"


def test_cell_of_a_notebook_may_define_the_producer():
    # As IPython runs cells: in `__main__`, with their text in the line cache alone.
    out = output_of(
        '''
    import linecache, textwrap
    import cobuf

    def run_cell(number, text):
        name, text = f"<ipython-input-{number}>", textwrap.dedent(text)
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        exec(compile(text, name, "exec"), globals())

    run_cell(1, """
    SCALE = 3

    class Slides:
        arrays = {"x": cobuf.Array("int64", (1,))}
        def produce(self, message, out):
            if message == 2:
                raise ValueError("no tissue")  # the line that is wrong
            out["x"][:] = SCALE * message
    """)
    run_cell(2, """
    with cobuf.Loader(commander=range(4), producer=Slides, workers=2) as loader:
        results = list(loader.results())
    """)
    error = results.pop(2)
    print([int(batch["x"][0]) for batch in results])
    print("<ipython-input-1>" in error.chain[0], "# the line that is wrong" in error.chain[1])
    '''
    )
    assert out == "[0, 3, 9]\nTrue True\n"


def test_nothing_at_run_time_needs_a_compiler(tmp_path):
    # That the wheel is built with all that it needs, `.ci/python` shows by an installation.
    ran = subprocess.run(
        [sys.executable, REPOSITORY / "examples" / "python" / "quickstart.py"],
        capture_output=True,
        text=True,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=120,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.endswith("in all\n")
