"""Loaders in an event loop: nobody waits for a batch but the task that asked for it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import children, descriptors

import cobuf


@cobuf.producer(arrays={"x": cobuf.Array("int64", (1,))})
def numbers(message, out):
    out["x"][:] = message


def gated(path):
    """A producer whose batches from the third on wait for a file."""

    @cobuf.producer(arrays={"x": cobuf.Array("int64", (1,))})
    def wait(message, out):
        while message >= 2 and not os.path.exists(path):
            time.sleep(0.002)
        out["x"][:] = message

    return wait


def loader(producer=numbers, count=100, **settings):
    return cobuf.Loader(commander=range(count), producer=producer, **{"workers": 2, **settings})


def value(batch):
    return int(batch["x"][0])


def watches():
    """The threads that wait for batches in place of event loops."""

    def name(thread):
        try:
            return (thread / "comm").read_text().strip()
        except OSError:
            return ""

    return [thread for thread in Path("/proc/self/task").iterdir() if name(thread) == "cobuf-watch"]


def threads():
    """The number of threads of this process, those that Python does not know included."""
    return len(os.listdir("/proc/self/task"))


async def turns():
    """Lets other tasks come to their waits."""
    for _ in range(5):
        await asyncio.sleep(0)


def run(task):
    """Runs a task that must end."""
    return asyncio.run(asyncio.wait_for(task, 120))


def test_batches_come_in_order_in_an_event_loop():
    async def main():
        async with loader() as it:
            return [value(batch) async for batch in it]

    assert run(main()) == list(range(100))
    assert children() == set()


def test_loop_without_a_block_starts_the_processes_too():
    async def main():
        it = loader()
        seen = [value(batch) async for batch in it]
        it.close()
        return seen

    assert run(main()) == list(range(100))


def test_other_tasks_run_while_one_waits_and_while_batches_are_ready(tmp_path):
    async def main():
        steps = 0

        async def count():
            nonlocal steps
            while True:
                steps += 1
                await asyncio.sleep(0)

        async with loader(gated(tmp_path / "gate")) as it:
            counting = asyncio.create_task(count())
            before = steps
            seen = [value(await anext(it)), value(await anext(it))]
            assert steps >= before + 2, "a turn for each batch"
            waiting = asyncio.create_task(anext(it))
            before = steps
            while steps < before + 1000:
                await asyncio.sleep(0.001)
            assert not waiting.done()
            (tmp_path / "gate").touch()
            seen.append(value(await waiting))
            counting.cancel()
            return seen + [value(batch) async for batch in it]

    assert run(main()) == list(range(100))


@pytest.mark.parametrize("ordered", [True, False])
def test_cancelled_and_timed_out_waits_lose_no_batch(tmp_path, ordered):
    async def main():
        async with loader(gated(tmp_path / "gate"), ordered=ordered) as it:
            seen = [value(await anext(it)) for _ in range(2)]
            for _ in range(5):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(it), 0.01)
                cancelled = asyncio.create_task(anext(it))
                await asyncio.sleep(0)
                cancelled.cancel()
            (tmp_path / "gate").touch()
            while len(seen) < 100:
                # Some of these are in time, and some are not.
                try:
                    seen.append(value(await asyncio.wait_for(anext(it), 0.0005)))
                except TimeoutError:
                    pass
            assert [batch async for batch in it] == []
            return seen

    assert sorted(run(main())) == list(range(100))


def test_batches_are_shared_among_tasks_and_threads():
    async def main():
        async with loader(count=300) as it:

            async def read():
                return [value(batch) async for batch in it]

            in_thread = asyncio.to_thread(lambda: [value(batch) for batch in it])
            return await asyncio.gather(read(), read(), read(), in_thread)

    shares = run(main())
    assert all(share == sorted(share) for share in shares)
    assert sorted(sum(shares, [])) == list(range(300))


def test_error_of_a_batch_is_raised_in_its_place():
    @cobuf.producer(arrays={"x": cobuf.Array("int64", (1,))})
    def one_fails(message, out):
        if message == 1:
            raise ValueError("this one")
        out["x"][:] = message

    async def main():
        async with loader(one_fails, 4) as it:
            assert value(await anext(it)) == 0
            with pytest.raises(cobuf.BatchError, match="this one"):
                await anext(it)
            return [value(batch) async for batch in it]

    assert run(main()) == [2, 3]


def test_close_ends_a_wait(tmp_path):
    async def main():
        it = loader(gated(tmp_path / "gate"), stop_grace=0.05).start()
        await anext(it), await anext(it)
        waiting = [asyncio.create_task(anext(it)) for _ in range(3)]
        await turns()
        await asyncio.to_thread(it.close)
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in ends] == [StopAsyncIteration] * 3, ends

    run(main())


def test_loop_that_ends_with_a_wait_leaves_nothing(tmp_path):
    it = loader(gated(tmp_path / "gate"), stop_grace=0.05)

    async def main():
        await anext(it), await anext(it)
        waiting = asyncio.create_task(anext(it))
        await asyncio.sleep(0.01)
        return waiting

    assert run(main()).cancelled()
    # The loader goes on in another event loop.
    (tmp_path / "gate").touch()

    async def rest():
        return [value(batch) async for batch in it]

    assert run(rest()) == list(range(2, 100))
    it.close()
    assert watches() == []


def test_cancelled_start_leaves_nothing(tmp_path):
    class Slow:
        arrays = {"x": cobuf.Array("int64", (1,))}

        def __init__(self):
            (tmp_path / "starting").touch()
            time.sleep(1000)

        def produce(self, message): ...

    async def main():
        async def enter():
            async with loader(Slow, workers=1, stop_grace=0.05):
                pass

        entering = asyncio.create_task(enter())
        while not (tmp_path / "starting").exists():
            await asyncio.sleep(0.005)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        assert children() == set()

    run(main())


def test_waits_share_one_descriptor_and_have_no_thread_of_their_own(tmp_path):
    async def main():
        async with loader(gated(tmp_path / "gate"), slots=32) as it:
            await anext(it), await anext(it)
            waiting = [asyncio.create_task(anext(it))]
            await turns()
            before = (threads(), len(descriptors()))
            waiting += [asyncio.create_task(anext(it)) for _ in range(20)]
            await turns()
            assert (threads(), len(descriptors())) == before
            while not watches():  # The thread gives itself its name.
                await asyncio.sleep(0.001)
            assert len(watches()) == 1
            waiting.pop().cancel()
            (tmp_path / "gate").touch()
            return [value(batch) for batch in await asyncio.gather(*waiting)]

    before = threading.active_count()
    assert sorted(run(main())) == list(range(2, 22))
    assert watches() == [] and threading.active_count() == before


def test_several_loaders_and_event_loops_wait_side_by_side(tmp_path):
    gates = [tmp_path / "first", tmp_path / "second"]
    with loader(gated(gates[0])) as first, loader(gated(gates[1])) as second:

        async def read(it):
            return [value(batch) async for batch in it]

        async def main():
            both = [asyncio.create_task(read(it)) for it in (first, second, first, second)]
            await turns()
            for gate in reversed(gates):
                gate.touch()
            return await asyncio.gather(*both)

        def elsewhere():
            return run(main())

        others = ThreadPoolExecutor(1)
        other = others.submit(elsewhere)
        shares = [*run(main()), *other.result()]
        others.shutdown()
    for shared in (shares[::2], shares[1::2]):
        assert sorted(sum(shared, [])) == list(range(100))


def test_loop_without_add_reader_waits_in_its_executor(tmp_path):
    class Plain(asyncio.SelectorEventLoop):
        def add_reader(self, *_):
            raise NotImplementedError

    async def main():
        async with loader(gated(tmp_path / "gate")) as it:
            seen = [value(await anext(it)), value(await anext(it))]
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(it), 0.01)
            (tmp_path / "gate").touch()
            return seen + [value(batch) async for batch in it]

    with asyncio.Runner(loop_factory=Plain) as runner:
        assert runner.run(asyncio.wait_for(main(), 120)) == list(range(100))


def test_closed_loader_and_loop_leave_no_descriptor(tmp_path):
    def flags():
        return {it for it in descriptors() if "eventfd" in it[1]}

    before = flags()
    it = loader(gated(tmp_path / "gate"), stop_grace=0.05)

    async def main():
        await anext(it), await anext(it)
        waiting = asyncio.create_task(anext(it))
        await turns()
        await asyncio.to_thread(it.close)
        with pytest.raises(StopAsyncIteration):
            await waiting

    run(main())
    assert flags() == before


def test_task_that_holds_all_slots_is_warned():
    async def main():
        async with loader(slots=2, workers=1) as it:
            held = [await anext(it), await anext(it)]

            async def read():
                return [value(batch) async for batch in it]

            with pytest.warns(RuntimeWarning, match="holds the batches or arrays of all 2 slots") as told:
                reading = asyncio.create_task(read())
                while not told:
                    await asyncio.sleep(0.01)
                held.clear()
                assert await reading == list(range(2, 100))
            assert len(told) == 1 and told[0].filename == __file__

    run(main())
