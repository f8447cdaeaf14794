"""The loader: its stream, its promises, and its end."""

from __future__ import annotations

import gc
import json
import os
import pickle
import signal
import threading
import time
import warnings
from collections.abc import Mapping

import numpy
import pytest
from conftest import REPOSITORY, children, run_script, wait_for_end, wait_until

import cobuf


@cobuf.producer(arrays={"x": cobuf.Array("int64", (2,))})
def numbers(message, out):
    out["x"][:] = message


def plugin(name):
    return str(REPOSITORY / "plugins" / name)


def loader(commander=range(50), **settings):
    return cobuf.Loader(commander=commander, producer=numbers, **{"workers": 2, **settings})


def values(batches):
    return [int(batch["x"][0]) for batch in batches]


def test_compiled_plugins_give_what_the_command_gives():
    digits = cobuf.Loader(
        commander=plugin("index-commander"),
        commander_config={"length": 1797, "batch_size": 64, "epochs": 1, "shuffle": True},
        producer=plugin("digits-producer"),
        producer_config={"batch_size": 64},
        workers=2,
    )
    with digits:
        assert len(digits) == 29
        rows = 0
        for batch in digits:
            assert set(batch) == {"image", "label"} and batch["image"].dtype == "float32"
            assert not batch["image"].flags.writeable and batch["image"].flags.aligned
            rows += len(batch["label"])
        assert rows == 1797


def test_batches_come_in_order_and_as_they_come_all_of_them():
    with loader() as ordered:
        assert values(ordered) == list(range(50))
    with loader(ordered=False) as any_order:
        assert sorted(values(any_order)) == list(range(50))


def generated(count):
    yield from range(count)


class Counting:
    """A commander with a state."""

    def __init__(self, count):
        self.next, self.count = 0, count

    def __iter__(self):
        return self

    def __next__(self):
        if self.next == self.count:
            raise StopIteration
        self.next += 1
        return self.next - 1

    def state_dict(self):
        return {"next": self.next}

    def load_state_dict(self, state):
        self.next = state["next"]


COMMANDERS = {
    "range": (range(200), {}),
    "list": (list(range(200)), {}),
    "generator": (generated, {"count": 200}),
    "stateful": (Counting, {"count": 200}),
}


@pytest.mark.parametrize("kind", COMMANDERS)
def test_state_is_resumed_exactly_with_another_number_of_workers(kind):
    commander, config = COMMANDERS[kind]
    with loader(commander, commander_config=config) as first:
        before = values(next(first) for _ in range(70))
        state = json.loads(json.dumps(first.state_dict()))
    rest = loader(commander, commander_config=config, workers=3)
    rest.load_state_dict(state)
    with rest:
        assert before + values(rest) == list(range(200))


def test_killed_processes_cost_no_batch_and_repeat_none():
    with loader(range(300), ordered=True) as killed:
        seen, restarts = [], 0
        for batch in killed:
            seen.append(int(batch["x"][0]))
            if len(seen) in (50, 150):
                fork_server = killed.statistics()["fork_server"]
                victims = [pid for pid in killed.statistics()["processes"] if pid != fork_server]
                os.kill(victims[-1], signal.SIGKILL)
                # Without this the other worker may do the rest alone.
                restarts += 1
                wait_until("it is replaced", lambda: killed.statistics()["worker_restarts"] == restarts)
        assert seen == list(range(300))


def test_killed_fork_server_costs_no_batch():
    with loader(range(300)) as killed:
        seen = values(next(killed) for _ in range(50))
        os.kill(killed.statistics()["fork_server"], signal.SIGKILL)
        assert seen + values(killed) == list(range(300))
        assert killed.statistics()["fork_server_restarts"] == 1


def test_arrays_outlive_batch_and_loader():
    with loader() as closed:
        kept = [batch["x"] for batch, _ in zip(closed, range(3), strict=False)]
    del closed
    assert [array.tolist() for array in kept] == [[n, n] for n in range(3)]
    with pytest.raises(ValueError):
        kept[0][0] = 1


def test_copies_hold_no_slot():
    with loader(slots=2) as few:
        copies = [batch.copy() for batch in few]
    assert [int(copy["x"][0]) for copy in copies] == list(range(50))
    copies[0]["x"][0] = 1


def test_batch_is_a_mapping_of_its_arrays():
    with loader(range(3, 5)) as batches:
        batch = next(batches)
    assert isinstance(batch, Mapping) and len(batch) == 1 and repr(batch) == "<cobuf.Batch 0: x>"
    assert list(batch) == list(batch.keys()) == ["x"] and "x" in batch
    assert "y" not in batch and 0 not in batch and [] not in batch
    for array in (batch["x"], batch.get("x"), *batch.values(), *dict(batch).values()):
        assert array.tolist() == [3, 3] and not array.flags.writeable
    assert [(name, array.tolist()) for name, array in batch.items()] == [("x", [3, 3])]
    assert batch.get("y") is None and batch.get("y", default=7) == 7 and batch.get(0, 7) == 7
    with pytest.raises(KeyError, match='the batch has no array "y"; it has: x'):
        batch["y"]
    match batch:
        case {"x": array}:
            assert array.tolist() == [3, 3]
        case _:
            raise AssertionError("no mapping")
    with pytest.raises(TypeError):
        cobuf.Batch()


def test_number_of_workers_changes_during_a_run():
    with loader(range(400), workers=1) as changed:
        seen = values(next(changed) for _ in range(100))
        changed.set_workers(3)
        assert changed.workers == 3
        assert seen + values(changed) == list(range(400))


def test_messages_may_be_any_object():
    @cobuf.producer(arrays={"x": cobuf.Array("int64", (2,))})
    def total(message):
        path, items = message
        return numpy.array([len(path), sum(items)])

    messages = [("a" * n, frozenset(range(n))) for n in range(5)]
    with cobuf.Loader(commander=messages, producer=total, workers=1) as objects:
        got = [(batch["x"].tolist(), batch.message) for batch in objects]
    assert got == [([n, sum(range(n))], messages[n]) for n in range(5)]


def test_skipped_failures_are_left_out():
    @cobuf.producer(arrays={"x": cobuf.Array("int64", (2,))})
    def odd_ones_fail(message, out):
        if message % 2:
            raise ValueError("odd")
        out["x"][:] = message

    with cobuf.Loader(
        commander=range(10), producer=odd_ones_fail, workers=2, on_failure={"error": "skip"}
    ) as skipping:
        assert values(skipping) == [0, 2, 4, 6, 8]
        assert skipping.statistics()["skipped"] == 5


def test_error_of_a_worker_reaches_the_loop_which_goes_on():
    @cobuf.producer(arrays={"x": cobuf.Array("int64", (2,))})
    def one_fails(message, out):
        if message == 1:
            raise ValueError("this one")
        out["x"][:] = message

    with cobuf.Loader(commander=range(4), producer=one_fails, workers=1) as failing:
        assert int(next(failing)["x"][0]) == 0
        with pytest.raises(cobuf.BatchError, match="this one"):
            next(failing)
        assert values(failing) == [2, 3]


def test_failing_commander_ends_the_stream_after_its_messages():
    def failing():
        yield from range(3)
        raise LookupError("no more slides")

    with loader(failing) as ended:
        assert values(next(ended) for _ in range(3)) == [0, 1, 2]
        with pytest.raises(cobuf.StreamError, match="LookupError: no more slides"):
            next(ended)


def test_loop_that_waits_while_it_holds_all_slots_is_warned_once():
    told = []

    def show(message, category, filename, line, file=None, text=None):
        told.append((category, str(message), filename))
        kept.clear()

    with loader(slots=2) as held, warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        kept = [next(held), next(held)]
        assert int(next(held)["x"][0]) == 2
        [(category, text, filename)] = told
        assert category is RuntimeWarning and filename == __file__, "the line that waits"
        assert "holds the batches or arrays of all 2 slots, so nothing can be made: drop some (del), keep copies" in text
        # Once a loader.
        kept += [next(held), next(held)]
        timer = threading.Timer(1.5, kept.clear)
        timer.start()
        assert int(next(held)["x"][0]) == 5 and len(told) == 1
        timer.join()


def test_arrays_in_cycles_do_not_hold_their_slots_for_ever():
    gc.disable()
    try:
        with loader(range(8), slots=2) as cyclic, warnings.catch_warnings():
            warnings.simplefilter("error")
            seen = []
            for batch in cyclic:
                cycle = [batch["x"]]
                cycle.append(cycle)
                seen.append(int(cycle[0][0]))
            assert seen == list(range(8))
    finally:
        gc.enable()


def test_warning_that_is_an_error_loses_no_batch():
    with loader(slots=2) as held:
        kept = [next(held), next(held)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(RuntimeWarning):
                next(held)
        kept.clear()
        assert values(held) == list(range(2, 50))


def test_errors_come_as_values_beside_batches():
    @cobuf.producer(arrays={"x": cobuf.Array("int64", (2,))})
    def odd_ones_fail(message, out):
        if message % 2:
            raise ValueError("odd")
        out["x"][:] = message

    with loader(range(6)) as good:
        assert values(good.results()) == list(range(6))
    with cobuf.Loader(commander=range(6), producer=odd_ones_fail, workers=2) as mixed:
        items = list(mixed.results())
        assert [isinstance(item, cobuf.BatchError) for item in items] == [False, True] * 3
        assert [item.message for item in items] == list(range(6))


def test_numbers_of_a_run_and_its_stall_report_tell_what_happened():
    with loader(range(20), slots=4) as counted:
        kept = next(counted)
        assert "slot" in counted.stall_report()
        seen = values(counted)
        numbers = counted.statistics()
    assert seen == list(range(1, 20)) and int(kept["x"][0]) == 0
    assert (numbers["delivered"], numbers["errors"], numbers["workers"]) == (20, 0, 2)
    assert all(f"``{name}``" in cobuf.Loader.statistics.__doc__ for name in numbers), numbers


def test_verdict_says_what_limits_the_run():
    with loader(range(40), slots=4) as slow:
        for _ in slow:
            time.sleep(0.01)
        numbers = slow.statistics()
    assert numbers["limited_by"] == "consumer"
    assert numbers["verdict"].startswith("limited by consumer: the application waited ")
    assert numbers["exposed_wait_seconds"] <= numbers["consumer_wait_seconds"] + 0.1


def test_first_batches_are_given_again_and_again():
    with loader(range(1000), slots=4, replay_ready=3, limit=12) as again:
        assert values(again) == [0, 1, 2] * 4
        verdict = again.statistics()["verdict"]
        assert verdict.startswith("limited by consumer: your application takes at most ")
        assert verdict.endswith(" batches/s, whatever the loader does")
        with pytest.raises(RuntimeError, match="it has no state to go on from"):
            again.state_dict()
    with loader(range(9)) as plain:
        next(plain)
        state = plain.state_dict()
    with pytest.raises(ValueError, match="such a run cannot go on from a checkpoint"):
        loader(range(9), replay_ready=3).load_state_dict(state)
    with pytest.raises(ValueError, match="keep fewer than the 3 slots of this run, or use more slots"):
        loader(slots=3, replay_ready=3).start()


def test_every_setting_is_documented():
    import inspect

    documented = cobuf.Loader.__doc__
    settings = inspect.signature(cobuf.Loader).parameters
    assert [name for name in settings if f"{name}:" not in documented and f"{name}," not in documented] == []
    members = [member for name, member in vars(cobuf.Loader).items() if not name.startswith("_")]
    assert all(member.__doc__ for member in members)


def test_wrong_settings_are_named():
    for settings, expected in [
        ({"workers": 0}, "the setting workers is 0, expected 1 to 1024"),
        ({"message_timeout": -1.0}, "message_timeout is -1, expected a number of seconds from 0"),
        ({"workers": "two"}, "workers is 'two'"),
        ({"on_failure": {"error": "ignore"}}, "on_failure is \"ignore\", expected raise, skip or stop"),
        ({"producer_config": {"x": {1, 2}}}, 'producer_config["x"] is an object of type set'),
    ]:
        with pytest.raises((TypeError, ValueError)) as error:
            loader(**settings).start()
        assert expected in str(error.value)


def adding(number):
    @cobuf.producer(arrays={"x": cobuf.Array("int64", (2,))})
    def add(message, out):
        out["x"][:] = message + number

    return add


def test_edited_code_is_swapped_in_at_an_exact_batch_and_rolled_back():
    with cobuf.Loader(commander=range(600), producer=adding(0), workers=2) as swapped:
        seen = values(next(swapped) for _ in range(100))
        first = swapped.swap_producer(adding(1000))
        seen += values(next(swapped) for _ in range(200))
        second = swapped.roll_back()
        seen += values(swapped)
    assert 100 <= first <= second
    assert seen == [n + 1000 * (first <= n < second) for n in range(600)]


def test_swap_of_code_that_fails_leaves_the_old_code():
    @cobuf.producer(arrays={"x": cobuf.Array("int64", (2,))})
    def broken(message, out):
        raise ValueError("not ready")

    @cobuf.producer(arrays={"x": cobuf.Array("int64", (3,))})
    def other_arrays(message, out): ...

    with cobuf.Loader(commander=range(300), producer=adding(0), workers=2) as kept:
        seen = values(next(kept) for _ in range(100))
        for producer, expected in [(broken, "not ready"), (other_arrays, '"x" is i64 (3,), expected i64 (2,)')]:
            with pytest.raises(RuntimeError) as error:
                kept.swap_producer(producer)
            assert expected in str(error.value)
        assert seen + values(kept) == list(range(300))


def test_state_is_resumed_in_another_process_whose_code_has_other_bytes():
    with loader(range(100)) as first:
        before = values(next(first) for _ in range(40))
        state = first.state_dict()
    rest = cobuf.Loader(commander=range(100), producer=adding(0), workers=1)
    rest.load_state_dict(state)
    with rest:
        assert before + values(rest) == list(range(100))


def test_loader_that_cannot_be_pickled_says_so():
    with pytest.raises(TypeError, match="make it in the process that reads it"):
        pickle.dumps(loader())


def test_close_is_idempotent_and_a_closed_loader_says_so():
    closed = loader().start()
    closed.close()
    closed.close()
    with pytest.raises(RuntimeError, match="the loader is closed"):
        closed.statistics()


def test_dropped_loader_ends_its_processes():
    dropped = loader().start()
    next(dropped)
    del dropped
    assert children() == set()


def test_exception_in_the_loop_ends_the_processes():
    with pytest.raises(ZeroDivisionError), loader() as broken:
        for _ in broken:
            raise ZeroDivisionError
    assert children() == set()


MAIN = """
    import sys, time, cobuf

    @cobuf.producer(arrays={"x": cobuf.Array("int64", (1,))})
    def make(message, out):
        out["x"][:] = message
"""


def test_producer_of_the_main_script_works_and_an_exit_without_close_leaves_nothing():
    script = run_script(
        MAIN
        + """
    loader = cobuf.Loader(commander=range(1000), producer=make, workers=2)
    print(sum(int(next(loader)["x"][0]) for _ in range(10)), loader.statistics()["fork_server"])
    """
    )
    out, err = script.communicate(timeout=120)
    assert script.returncode == 0, err
    total, fork_server = map(int, out.split())
    assert total == 45 and not os.path.exists(f"/proc/{fork_server}")




def test_killed_application_takes_its_processes_with_it():
    script = run_script(
        MAIN
        + """
    loader = cobuf.Loader(commander=range(1000), producer=make, workers=2)
    next(loader)
    print(*loader.statistics()["processes"], flush=True)
    time.sleep(1000)
    """
    )
    pids = {int(pid) for pid in script.stdout.readline().split()}
    assert len(pids) == 4
    script.kill()
    script.communicate(timeout=120)
    wait_for_end(pids)


def test_records_of_plugins_and_host_reach_logging():
    # The level counts when the first loader of a process starts.
    script = run_script(
        '''
    import logging, cobuf
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")

    @cobuf.producer(arrays={"x": cobuf.Array("int64", (1,))})
    def make(message, out):
        logging.getLogger("slides").info("made %d", message)
        logging.debug("not wanted")
        if message == 2:
            import os, signal
            os.kill(os.getpid(), signal.SIGKILL)
        out["x"][:] = message

    with cobuf.Loader(commander=range(3), producer=make, workers=1, max_attempts=1) as loader:
        print(len(list(loader.results())))
    '''
    )
    out, err = script.communicate(timeout=120)
    assert out == "3\n", err
    lines = err.splitlines()
    assert "INFO cobuf.plugin python-producer, worker 0: made 1" in lines, err
    assert any(line.startswith("WARNING cobuf python-producer, worker 0: ") and "signal 9" in line for line in lines), err
    assert "not wanted" not in err


def test_waiting_lets_other_threads_run():
    @cobuf.producer(arrays={"x": cobuf.Array("int64", (1,))})
    def slow(message, out):
        time.sleep(0.5)
        out["x"][:] = message

    counted = 0
    stop = threading.Event()

    def count():
        nonlocal counted
        while not stop.is_set():
            counted += 1

    with cobuf.Loader(commander=range(1), producer=slow, workers=1) as waiting:
        thread = threading.Thread(target=count)
        thread.start()
        next(waiting)
        stop.set()
        thread.join()
    assert counted > 1000
