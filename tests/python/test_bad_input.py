"""Mistakes in producers and commanders: each is the error of its batch, and names the place, what was
expected and what was found; the stream goes on."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import re
import sys
import threading
import time

import numpy
import pytest
from runs import ONE, batches

import cobuf

GOOD = numpy.zeros(3, "int64")


def meta_tensor():
    torch = pytest.importorskip("torch")
    return torch.zeros(3, dtype=torch.int64, device="meta")


WRONG = {
    "dtype": (lambda: numpy.zeros(3, "float32"), "array 'x' has elements of type float32, expected int64"),
    "shape": (lambda: numpy.zeros((3, 2), "int64"), "array 'x' has shape (3, 2), expected (3,)"),
    "too long": (lambda: numpy.zeros(4, "int64"), "array 'x' has shape (4,), expected (3,)"),
    "scalar": (lambda: numpy.int64(3), "array 'x' has shape (), expected (3,)"),
    "name": (lambda: {"y": GOOD}, "produce returned arrays that are not declared: ['y']; declared are ['x']"),
    "missing": (dict, "produce returned no array ['x']; declared are ['x']"),
    "none": (lambda: None, "produce returned None and takes no parameter to write into"),
    "objects": (lambda: numpy.array([object()] * 3), "array 'x' holds Python objects, expected numbers"),
    "ragged": (lambda: {"x": [[1, 2], [3]]}, "inhomogeneous"),
    "text": (lambda: "abc", "array 'x' has elements of type <U3, expected int64"),
    "count": (lambda: (1, 2), "produce returned 2 arrays, expected 1: ['x']"),
    "device": (meta_tensor, "array 'x' is a tensor on meta, expected the CPU; call .cpu()"),
}


def is_batch(item):
    return isinstance(item, cobuf.Batch)


def only_error(items, number=1):
    """The error of this batch, if all others came."""
    error = items.pop(number)
    assert isinstance(error, cobuf.BatchError), error
    assert all(map(is_batch, items.values())), items
    return error


def here(function):
    """The file and line of a function."""
    code = getattr(function, "__code__", function)
    return f"test_bad_input.py:{code.co_firstlineno}"


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_result_is_the_error_of_its_batch(wrong):
    value, expected = WRONG[wrong]
    if wrong == "device":
        value()  # Skips without torch.

    def make(message):
        return value() if message == 1 else GOOD

    error = only_error(batches(cobuf.producer(arrays=ONE)(make)))
    assert expected in error.chain[0] and here(make) in error.chain[0], error.chain


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("cannot be pickled")
        self.lock = threading.Lock()


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def deep(n=0):
    return deep(n + 1)


def thrown(error):
    raise error


RAISED = {
    "ValueError": lambda: thrown(ValueError("no pixels")),
    "Unpicklable": lambda: thrown(Unpicklable()),
    "Unspeakable": lambda: thrown(Unspeakable()),
    "SystemExit": lambda: sys.exit(3),
    "KeyboardInterrupt": lambda: thrown(KeyboardInterrupt()),
    "StopIteration": lambda: thrown(StopIteration()),
    "GeneratorExit": lambda: thrown(GeneratorExit()),
    "RecursionError": deep,
    "ModuleNotFoundError": lambda: __import__("a_module_that_is_missing"),
    "MemoryError": lambda: numpy.zeros(2**60, "uint8"),
    "ExceptionGroup": lambda: thrown(ExceptionGroup("several", [ValueError("one"), KeyError("two")])),
}


@pytest.mark.parametrize("kind", RAISED)
def test_exception_comes_with_its_place_and_traceback(kind):
    def make(message):
        if message == 1:
            RAISED[kind]()
        return GOOD

    error = only_error(batches(cobuf.producer(arrays=ONE)(make)))
    assert (error.sequence, error.kind, error.message) == (1, "error", 1)
    assert kind in error.chain[0] and "test_bad_input.py:" in error.chain[0], error.chain
    assert "RAISED[kind]()" in error.chain[1], "a line of the source"
    if kind == "Unspeakable":
        assert "its text cannot be had: __str__ raises RuntimeError" in error.chain[0]
    if kind == "ExceptionGroup":
        assert "with ValueError: one" in error.chain[1] and "with KeyError: 'two'" in error.chain[1]


def test_causes_and_notes_of_an_exception_are_told():
    def make(message):
        if message == 1:
            try:
                open("/no/such/slide")
            except OSError as error:
                error.add_note("of patient 7")
                raise ValueError("cannot read") from error
        return GOOD

    error = only_error(batches(cobuf.producer(arrays=ONE)(make)))
    assert error.chain[0].startswith("ValueError: cannot read (") and "caused by FileNotFoundError" in error.chain[1]


def test_causes_in_a_circle_come_to_an_end():
    def make(message):
        if message == 1:
            first, second = ValueError("first"), ValueError("second")
            first.__cause__, second.__cause__ = second, first
            raise first
        return GOOD

    error = only_error(batches(cobuf.producer(arrays=ONE)(make)))
    assert error.chain[1].count("caused by") == 1, error.chain


def test_place_of_an_exception_in_a_library_is_where_it_was_called():
    import json

    def make(message):
        if message == 1:
            json.loads("{no json")
        return GOOD

    error = only_error(batches(cobuf.producer(arrays=ONE)(make)))
    assert error.chain[0].startswith("JSONDecodeError: ") and " in make)" in error.chain[0], error.chain
    assert "json/decoder.py" in error.chain[1]


def test_huge_text_of_an_exception_is_shortened():
    def make(message):
        if message == 1:
            raise ValueError("begin" + "x" * 10_000_000 + "end")
        return GOOD

    error = only_error(batches(cobuf.producer(arrays=ONE)(make)))
    assert error.chain[0].startswith("ValueError: beginxxx") and "characters left out" in error.chain[0]
    assert len(str(error)) < 100_000 and "raise ValueError" in error.chain[1]


def test_process_that_exits_is_a_crash_after_all_attempts():
    def make(message):
        if message == 1:
            os._exit(7)
        return GOOD

    error = only_error(batches(cobuf.producer(arrays=ONE)(make), max_attempts=2))
    assert error.kind == "crash" and "exit code 7" in str(error) and len(error.attempts) == 2


def test_fork_that_returns_is_no_second_worker():
    def make(message):
        if message == 1 and os.fork() == 0:
            return numpy.ones(3, "int64")
        return GOOD

    items = batches(cobuf.producer(arrays=ONE)(make))
    assert [int(items[n]["x"].sum()) for n in range(4)] == [0, 0, 0, 0]


def double(number):
    return 2 * number


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_producer_may_have_processes_of_its_own(method):
    def make(message):
        with multiprocessing.get_context(method).Pool(2) as pool:
            return numpy.array(pool.map(double, [message] * 3))

    items = batches(cobuf.producer(arrays=ONE)(make), range(2), workers=1)
    assert [items[n]["x"].tolist() for n in range(2)] == [[0] * 3, [2] * 3]


def test_process_that_a_producer_leaves_behind_is_ended():
    def make(message):
        multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,)).start()
        return GOOD

    assert all(map(is_batch, batches(cobuf.producer(arrays=ONE)(make)).values()))


def test_threads_that_go_on_do_no_harm():
    def make(message):
        threading.Thread(target=time.sleep, args=(1000,), daemon=message % 2 == 0).start()
        return GOOD

    assert all(map(is_batch, batches(cobuf.producer(arrays=ONE)(make), stop_grace=0.2).values()))


HOLDS = {
    "sleeps": lambda: time.sleep(1000),
    "computes": lambda: sum(iter(int, 1)),
    "waits in C with the GIL": lambda: ctypes.PyDLL(None).pause(),
    "matches for ever": lambda: re.match(r"(a+)+$", "a" * 64 + "b"),
}


@pytest.mark.parametrize("how", HOLDS)
def test_hang_misses_its_deadline_and_the_error_names_the_place(how):
    def make(message):
        if message == 1:
            HOLDS[how]()
        return GOOD

    # Two attempts, because a busy machine may make another message late.
    settings = {"message_timeout": 1.0, "max_attempts": 2}
    error = only_error(batches(cobuf.producer(arrays=ONE)(make), **settings))
    assert error.kind == "timeout"
    place = here(HOLDS[how])
    assert f"<lambda> at {__file__}:{place.rpartition(':')[2]}" in error.chain[0], (error.chain, place)
    assert f"make at {__file__}:" in error.attempts[0], error.attempts


def test_array_that_is_kept_beyond_the_call_is_refused():
    kept = []

    def make(message, out):
        out["x"][:] = message
        if message == 1:
            kept.append(out["x"])

    error = only_error(batches(cobuf.producer(arrays=ONE)(make)))
    assert 'keeps out["x"] beyond produce' in str(error)


@pytest.mark.parametrize("what", ["beyond the end", "another shape", "another name", "another type"])
def test_wrong_write_into_an_array_is_an_error(what):
    def make(message, out):
        if message == 1:
            if what == "beyond the end":
                out["x"][3] = 1
            elif what == "another shape":
                out["x"] = numpy.zeros(4)
            elif what == "another name":
                out["y"] = 1
            else:
                out["x"][:] = "text"
        out["x"][:] = message

    error = only_error(batches(cobuf.producer(arrays=ONE)(make)))
    assert here(make).split(":")[0] in error.chain[0] and ("Error: " in error.chain[0]), error.chain


def test_rows_and_metadata_of_wrong_kind_are_errors():
    def make(message, out, context):
        out["x"][:] = message
        if message == 1:
            context.rows = 7
        if message == 2:
            context.metadata = [1]
        if message == 3:
            context.metadata = {"at": object()}
        if message == 4:
            context.metadata = {"text": "x" * 100_000}
        if message == 5:
            context.rows = "two"

    items = batches(cobuf.producer(arrays=ONE)(make), range(7))
    texts = [str(items[n]) for n in range(1, 6)]
    assert is_batch(items[0]) and is_batch(items[6])
    assert "7 rows" in texts[0] and "3" in texts[0], texts[0]
    assert "context.metadata is of type list, expected a dictionary" in texts[1]
    assert 'metadata["at"] is an object of type object' in texts[2]
    assert "a slot has room for 65536" in texts[3]
    assert "context.rows is 'two', expected" in texts[4]


def test_megabytes_that_are_printed_do_no_harm(capfd):
    def make(message):
        print("x" * 1_000_000)
        return GOOD

    assert sorted(batches(cobuf.producer(arrays=ONE)(make))) == [0, 1, 2, 3]
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err.count("x") >= 4_000_000


SABOTAGE = {
    "closes descriptors": lambda: os.closerange(3, 1000),
    "closes standard streams": lambda: [os.close(fd) for fd in (0, 1, 2)],
    "changes directory": lambda: os.chdir("/"),
    "empties sys.modules": lambda: sys.modules.clear(),
    "changes the path": lambda: sys.path.clear(),
    "replaces stdout": lambda: setattr(sys, "stdout", None),
    "masks signals": lambda: __import__("signal").pthread_sigmask(0, range(1, 64)),
}


@pytest.mark.parametrize("what", SABOTAGE)
def test_stream_survives_a_producer_that_damages_its_process(what):
    def make(message):
        if message == 1:
            SABOTAGE[what]()
        return numpy.full(3, message)

    items = batches(cobuf.producer(arrays=ONE)(make), range(20), workers=1)
    assert sorted(items) == list(range(20))
    good = {number: item for number, item in items.items() if is_batch(item)}
    assert [int(item["x"][0]) for item in good.values()] == list(good)
    # Without its modules the interpreter is of little use, but says so.
    assert len(good) == 20 or what == "empties sys.modules"


@pytest.mark.parametrize(
    ("producer", "expected"),
    [
        (lambda message: None, "declares no arrays"),
        (cobuf.producer(arrays={"x": 7})(lambda message: None), "expected cobuf.Array(dtype, shape)"),
        (cobuf.producer(arrays={"x": cobuf.Array("text", (1,))})(lambda message: None), "the element type is 'text'"),
        (cobuf.producer(arrays=ONE)(lambda a, b, c, d: None), "produce takes 4 parameters"),
        ("nowhere:Producer", "No module named 'nowhere'"),
    ],
)
def test_impossible_producer_is_refused_at_the_start(producer, expected):
    with pytest.raises(RuntimeError) as error:
        cobuf.Loader(commander=range(3), producer=producer, workers=1).start()
    assert expected in str(error.value)


# Commanders.


@cobuf.producer(arrays=ONE)
def make(message):
    return numpy.full(3, message if isinstance(message, int) else -1)


def ended(commander, **settings):
    """The batches before the error that ends the stream, and the error."""
    with cobuf.Loader(commander=commander, producer=make, workers=2, **settings) as loader:
        seen = []
        with pytest.raises(cobuf.StreamError) as error:
            for batch in loader:
                seen.append(int(batch["x"][0]))
        return seen, str(error.value)


COMMANDERS = {
    "ValueError": (lambda: thrown(ValueError("no slides")), "ValueError: no slides"),
    "SystemExit": (lambda: sys.exit(3), "SystemExit: 3"),
    "a lock": (threading.Lock, "message 3 is <unlocked _thread.lock object"),
    "megabytes": (lambda: b"x" * 1_000_000, "give the host a message capacity of 1000"),
    "exits": (lambda: os._exit(7), "exit code 7"),
    "crashes": (lambda: ctypes.string_at(0), "signal 11 (SIGSEGV), in "),
}


@pytest.mark.parametrize("what", COMMANDERS)
def test_failing_commander_ends_the_stream_after_its_messages(what):
    then, expected = COMMANDERS[what]

    def messages():
        yield from range(3)
        yield then()

    seen, error = ended(messages, on_commander_failure={"error": "end", "crash": "end"})
    assert seen == [0, 1, 2] and expected in error, error
    if what in ("ValueError", "SystemExit", "crashes"):
        assert "test_bad_input.py:" in error, error


def test_hung_commander_misses_its_deadline_and_the_error_names_the_place():
    def messages():
        yield from range(3)
        ctypes.PyDLL(None).pause()

    seen, error = ended(messages, commander_timeout=1.0, max_attempts=2)
    assert seen == [0, 1, 2] and f"its deadline of 1 s, at each of 2 attempts, in messages at {__file__}" in error, error


@pytest.mark.parametrize(
    ("commander", "expected"),
    [
        (7, "the commander 7 is no iterable and no sequence"),
        (lambda: None, "the commander None is no iterable and no sequence"),
        ("nowhere:Commander", "No module named 'nowhere'"),
    ],
)
def test_impossible_commander_is_refused_at_the_start(commander, expected):
    with pytest.raises(RuntimeError) as error:
        cobuf.Loader(commander=commander, producer=make, workers=1).start()
    assert expected in str(error.value)


def test_running_generator_is_refused_with_what_to_give_instead():
    def slides():
        yield 1

    with pytest.raises(TypeError, match="give the function that makes it: commander=slides"):
        cobuf.Loader(commander=slides(), producer=make)


def test_file_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="cannot read /no/such/slides.py: "):
        cobuf.Loader(commander=range(3), producer="/no/such/slides.py:Slides")
