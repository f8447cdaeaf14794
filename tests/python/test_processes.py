"""Loaders beside other processes, and at the end of their own: forks, multiprocessing, torch's workers,
exits and Ctrl-C at each stage."""

from __future__ import annotations

import os
import signal
import time

import pytest
from conftest import children, needs, output_of, output_of_file, run_script, wait_for_end

import cobuf


@cobuf.producer(arrays={"x": cobuf.Array("int64", (1,))})
def numbers(message, out):
    out["x"][:] = message


def loader(count=100, **settings):
    return cobuf.Loader(commander=range(count), producer=numbers, **{"workers": 2, **settings})


def values(batches):
    return [int(batch["x"][0]) for batch in batches]


def in_fork(function):
    """The exit status of a fork of this process that calls a function."""
    child = os.fork()
    if child == 0:
        try:
            function()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_copy_of_a_running_loader_in_a_fork_is_inert():
    with loader() as running:
        seen = values(next(running) for _ in range(10))
        held = next(running)

        def child():
            assert int(held["x"][0]) == 10
            with pytest.raises(cobuf.StreamError):
                next(running)
            with pytest.raises(RuntimeError):
                running.swap_producer(numbers)
            running.set_workers(1)
            running.close()

        assert in_fork(child) == 0
        assert running.workers == 2
        assert seen + [10] + values(running) == list(range(100))


def test_copy_that_is_collected_or_exits_in_a_fork_is_inert():
    script = """
    import cobuf, gc, os, sys

    @cobuf.producer(arrays={"x": cobuf.Array("int64", (1,))})
    def numbers(message, out):
        out["x"][:] = message

    loader = cobuf.Loader(commander=range(100), producer=numbers, workers=2)
    seen = [int(next(loader)["x"][0]) for _ in range(10)]
    child = os.fork()
    if child == 0:
        if "collected" in sys.argv:
            del loader
            gc.collect()
        sys.exit(0)  # With the exit functions, as multiprocessing has none.
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    print(seen + [int(batch["x"][0]) for batch in loader] == list(range(100)))
    """
    assert output_of(script, "collected") == output_of(script) == "True\n"


def test_copy_of_a_loader_with_waiting_coroutines_is_inert_in_a_fork():
    import asyncio

    async def main():
        async with loader() as running:
            seen = [int((await anext(running))["x"][0]) for _ in range(10)]
            assert in_fork(running.close) == 0
            return seen + [int(batch["x"][0]) async for batch in running]

    assert asyncio.run(main()) == list(range(100))


def test_fork_may_use_a_loader_of_its_own_beside_the_one_it_left():
    def child():
        with loader(50) as own:
            assert values(own) == list(range(50))
        assert children() == set()

    with loader() as running:
        seen = values(next(running) for _ in range(10))
        assert in_fork(child) == 0
        assert seen + values(running) == list(range(100))


PROCESSES = """
    import multiprocessing, os, sys
    import cobuf

    @cobuf.producer(arrays={"x": cobuf.Array("int64", (1,))})
    def numbers(message, out):
        out["x"][:] = message

    def read(queue):
        with cobuf.Loader(commander=range(50), producer=numbers, workers=2) as loader:
            queue.put([int(batch["x"][0]) for batch in loader])

    def leave(queue):
        # Without a close: multiprocessing ends its processes by os._exit.
        loader = cobuf.Loader(commander=range(50), producer=numbers, workers=2)
        queue.put(int(next(loader)["x"][0]))
        queue.put(loader.statistics()["processes"])

    if __name__ == "__main__":
        context = multiprocessing.get_context(sys.argv[1])
        queue = context.Queue()
        with cobuf.Loader(commander=range(100), producer=numbers, workers=2) as outer:
            seen = [int(next(outer)["x"][0]) for _ in range(10)]
            child = context.Process(target=read, args=(queue,))
            child.start()
            print(queue.get(timeout=200) == list(range(50)))
            child.join()
            print(child.exitcode)
            child = context.Process(target=leave, args=(queue,))
            child.start()
            print(queue.get(timeout=200))
            pids = queue.get(timeout=200)
            child.join()
            print(*pids)
            print(seen + [int(batch["x"][0]) for batch in outer] == list(range(100)))
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_process_of_multiprocessing_may_use_a_loader(method, tmp_path):
    # A file: spawn and forkserver import the main module again.
    script = tmp_path / "processes.py"
    script.write_text("\n".join(line[4:] for line in PROCESSES.splitlines()))
    out = output_of_file(script, method)
    read, code, first, pids, outer = out.splitlines()
    assert (read, code, first, outer) == ("True", "0", "0", "True")
    # They end by themselves once the process that left them is gone.
    wait_for_end({int(pid) for pid in pids.split()})


@needs("torch")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_worker_of_torchs_data_loader_may_use_a_loader(method, tmp_path):
    script = tmp_path / "torchs.py"
    script.write_text(
        """
import sys
import torch
import cobuf

@cobuf.producer(arrays={"x": cobuf.Array("int64", (1,))})
def numbers(message, out):
    out["x"][:] = message

class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        mine = range(worker.id, 100, worker.num_workers)
        with cobuf.Loader(commander=mine, producer=numbers, workers=1) as loader:
            for batch in loader:
                yield batch.torch()["x"].clone()

if __name__ == "__main__":
    with cobuf.Loader(commander=range(100), producer=numbers, workers=1) as outer:
        seen = [int(next(outer)["x"][0]) for _ in range(10)]
        data = torch.utils.data.DataLoader(Stream(), batch_size=None, num_workers=2, multiprocessing_context=sys.argv[1])
        print(sorted(int(x) for x in data) == list(range(100)))
        print(seen + [int(batch["x"][0]) for batch in outer] == list(range(100)))
"""
    )
    assert output_of_file(script, method) == "True\nTrue\n"


def test_exit_without_close_leaves_nothing():
    script = """
    import cobuf, sys, threading

    @cobuf.producer(arrays={"x": cobuf.Array("int64", (1,))})
    def numbers(message, out):
        out["x"][:] = message

    loader = cobuf.Loader(commander=range(100), producer=numbers, workers=2)
    batch = next(loader)
    print(*loader.statistics()["processes"], flush=True)
    if "exception" in sys.argv:
        sys.excepthook = lambda *error: None
        raise LookupError
    if "exit" in sys.argv:
        sys.exit(1)
    if "cycle" in sys.argv:
        loader.itself = loader
    if "thread" in sys.argv:
        threading.Thread(target=lambda: list(loader), daemon=True).start()
    """
    for how in ["end", "exception", "exit", "cycle", "thread"]:
        left = run_script(script, how)
        out, err = left.communicate(timeout=120)
        assert left.returncode == int(how in ("exception", "exit")) and err == "", (how, err)
        # Gone before the program is.
        assert not any(os.path.exists(f"/proc/{pid}") for pid in out.split()), how


INTERRUPTED = """
    import os, sys, time
    import cobuf

    def reached():
        # Once only: plugins are made again and again.
        try:
            os.close(os.open(sys.argv[2], os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.write(2, b"reached\\n")

    class Slow:
        arrays = {"x": cobuf.Array("int64", (1,))}
        def __init__(self, stage, file):
            sys.argv = ["", stage, file]
            if stage == "start":
                reached()
                time.sleep(1000)
        def produce(self, message, out):
            if message == 5 and sys.argv[1] in ("wait", "close"):
                reached()
                time.sleep(1000)
            out["x"][:] = message

    class Hung(Slow):
        def produce(self, message, out):
            reached()
            time.sleep(1000)

    stage, file = sys.argv[1:]
    producer = f"{os.path.dirname(file)}/slow_module.py:Slow" if stage == "import" else Slow
    config = {"stage": stage, "file": file}
    loader = cobuf.Loader(commander=range(1000), producer=producer, producer_config=config, workers=1)
    with loader:
        for batch in loader:
            if stage == "iteration":
                reached()
                time.sleep(1000)
            if stage == "swap":
                loader.swap_producer(Hung)
            if stage == "close" and batch.sequence == 4:
                while not os.path.exists(file):
                    time.sleep(0.001)
                loader.close()
"""


@pytest.mark.parametrize("stage", ["import", "start", "wait", "iteration", "swap", "close"])
def test_ctrl_c_ends_everything_quietly_at_each_stage(stage, tmp_path):
    (tmp_path / "slow_module.py").write_text(
        "import os, time\nos.write(2, b'reached\\n')\ntime.sleep(1000)\n"
    )
    script = run_script(INTERRUPTED, stage, str(tmp_path / "reached"))
    assert script.stderr.readline() == "reached\n"
    if stage == "close":
        time.sleep(0.1)  # From the file to the call that is interrupted; either side of it will do.
    processes = children(script.pid)
    assert processes
    script.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, err = script.communicate(timeout=120)
    print(f"{stage}: {1000 * (time.monotonic() - began):.0f} ms from Ctrl-C to the end of the program")
    assert script.returncode == -signal.SIGINT, err
    assert err.count("Traceback") == 1 and err.endswith("KeyboardInterrupt\n"), err
    wait_for_end(processes)
    # The grace for workers that hang is 2 seconds, and nobody has waited for it: on a machine that
    # has nothing else to do it takes less than 100 ms.
    assert time.monotonic() - began < 60
