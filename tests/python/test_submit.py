"""Loaders whose messages this program submits, and requests."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
import time

import pytest
from conftest import output_of, wait_until
from runs import ONE, batches

import cobuf


@cobuf.producer(arrays=ONE)
def filled(message, out):
    out["x"][:] = message


@cobuf.producer(arrays=ONE)
def odd(message, out):
    if message == "bad":
        raise ValueError("no such thing")
    out["x"][:] = message


def drawn(message, out, context):
    out["x"][:] = context.rng.integers(1 << 40, size=3)


drawn_producer = cobuf.producer(arrays=ONE)(drawn)


def submitting(producer=filled, **settings):
    return cobuf.Loader(commander=None, producer=producer, **{"workers": 2, "slots": 4, **settings})


def test_messages_of_many_threads_come_once_and_in_order():
    with submitting(slots=3) as loader:
        numbers = {}

        def submit(first):
            for message in range(first, first + 20):
                numbers[loader.submit(message)] = message

        threads = [threading.Thread(target=submit, args=(20 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        found = {}
        for batch in loader:
            found[batch.sequence] = int(batch["x"][0])
            if len(found) == 80:
                loader.end()
        for thread in threads:
            thread.join()
    assert list(found) == list(range(80)) and found == numbers


def test_content_is_that_of_a_commander():
    expected = {n: batch["x"].tolist() for n, batch in batches(drawn_producer, range(8), seed=5).items()}
    with submitting(drawn_producer, seed=5, slots=8) as loader:
        assert [loader.submit(n) for n in range(8)] == list(range(8))
        loader.end()
        assert {batch.sequence: batch["x"].tolist() for batch in loader} == expected


def test_submit_waits_at_most_its_timeout():
    with submitting(slots=2) as loader:
        for message in range(2):
            loader.submit(message)
        held = [next(loader), next(loader)]
        with pytest.raises(TimeoutError, match="no slot is free for the message: all 2 are held"):
            loader.submit(2, timeout=0)
        with pytest.raises(TimeoutError, match="after 0.05 s"):
            loader.submit(2, timeout=0.05)
        done = threading.Thread(target=loader.submit, args=(2,))
        done.start()
        held.clear()
        done.join()
        assert next(loader).message == 2


def test_submit_frees_what_only_a_cycle_holds():
    with submitting(slots=1) as loader:
        loader.submit(0)
        cycle = [next(loader)]
        cycle.append(cycle)
        del cycle
        assert loader.submit(1) == 1


def test_state_has_what_was_submitted_and_not_delivered():
    with submitting() as loader:
        for message in range(4):
            loader.submit(message)
        assert next(loader).message == 0
        state = json.loads(json.dumps(loader.state_dict()))
    again = submitting(workers=1, slots=2)
    again.load_state_dict(state)
    with again:
        assert [next(again).message for _ in range(3)] == [1, 2, 3]
        assert again.submit(7) == 4
        again.end()
        assert [batch.message for batch in again] == [7]


def test_request_gives_the_batch_or_its_error():
    with submitting(odd) as loader:
        requests = [loader.request(message) for message in (5, "bad", 6)]
        assert isinstance(requests[0], concurrent.futures.Future)
        assert requests[0].result()["x"].tolist() == [5, 5, 5]
        with pytest.raises(cobuf.BatchError, match="no such thing"):
            requests[1].result()
        assert requests[2].result().message == 6


def test_requests_of_many_threads_get_their_own_batches():
    @cobuf.producer(arrays=ONE)
    def numbered(message, out):
        out["x"][:] = message["number"]

    # Each thread keeps a batch until it has the next one.
    with submitting(numbered, ordered=False, slots=16) as loader:

        def ask(client):
            for number in range(30):
                message = {"client": client, "number": number}
                batch = loader.request(message).result()
                assert (batch.message, batch["x"][0]) == (message, number)
            return True

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert all(pool.map(ask, range(8)))


def test_request_can_be_awaited_and_cancelled():
    async def main():
        async with submitting(slots=8) as loader:
            batches = await asyncio.gather(*(loader.request(n) for n in range(6)))
            assert [batch.message for batch in batches] == list(range(6))
            del batches
            request = loader.request(6)
            request.cancel()
            assert (await loader.request(7)).message == 7

    asyncio.run(main())


def test_requests_that_are_left_at_the_end_say_so():
    @cobuf.producer(arrays=ONE)
    def slow(message, out):
        time.sleep(3600)

    with submitting(slow, stop_grace=0) as loader:
        request = loader.request(0)
    with pytest.raises(cobuf.StreamError, match="the stream ended before the request's batch was made"):
        request.result(timeout=120)


def test_wrong_uses_say_what_to_do():
    with pytest.raises(TypeError, match="commander_config was given, but commander is None"):
        submitting(commander_config={"length": 3})
    with cobuf.Loader(commander=range(3), producer=filled, workers=1) as loader:
        for use in (lambda: loader.submit(1), lambda: loader.request(1), loader.end):
            with pytest.raises(RuntimeError, match="come from its commander; give it commander=None"):
                use()
    with submitting(message_capacity=64) as loader:
        with pytest.raises(ValueError, match=r"the message has \d+ bytes, a slot has room for 64"):
            loader.submit({"text": "x" * 100})
        with pytest.raises(TypeError, match="the message is .* which cannot be sent to another process"):
            loader.submit(threading.Lock())
        with pytest.raises(ValueError, match="timeout is -1"):
            loader.submit({}, timeout=-1)
        with pytest.raises(RuntimeError, match="messages were submitted to it; make another one"):
            loader.request({})
        with pytest.raises(RuntimeError, match="the application is the commander"):
            loader.swap_commander(range(3))
        loader.end()
        loader.end()
        with pytest.raises(RuntimeError, match="the run takes no more messages"):
            loader.submit({})
    with pytest.raises(RuntimeError, match="the loader is closed"):
        loader.submit({})
    with submitting() as loader:
        loader.request(1).result()
        for use in (lambda: next(loader), lambda: loader.submit(1)):
            with pytest.raises(RuntimeError, match="request"):
                use()


def test_request_whose_batch_might_be_skipped_is_refused():
    with submitting(on_failure={"panic": "raise", "error": "skip"}) as loader:
        with pytest.raises(RuntimeError, match='on_failure skips error, .* use "raise" or "stop"'):
            loader.request(1)
        assert loader.submit(1) == 0 and next(loader)["x"][0] == 1


def test_interrupt_ends_a_wait_to_submit():
    printed = output_of(
        """
        import os, signal, threading
        import cobuf

        @cobuf.producer(arrays={"x": cobuf.Array("int64", ())})
        def produce(message, out):
            out["x"] = 1

        try:
            with cobuf.Loader(commander=None, producer=produce, workers=1, slots=1) as loader:
                loader.submit(0)
                batch = next(loader)
                threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
                loader.submit(1)
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    assert printed == "interrupted\n"


def test_loader_with_requests_can_be_dropped():
    loader = submitting()
    assert loader.request(3).result().message == 3
    pids = set(loader.statistics()["processes"])
    del loader
    wait_until("its processes end", lambda: not any(_is_there(pid) for pid in pids))


def _is_there(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] != "Z"
    except OSError:
        return False
