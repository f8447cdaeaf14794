"""Producers in Python: what they may do, and what becomes of mistakes."""

from __future__ import annotations

import os
import random
import sys
import threading
import time

import numpy
import pytest

import cobuf

ONE = {"x": cobuf.Array("int64", (3,))}


def batches(producer, commander=range(4), **settings):
    """All batches and errors of a run with two workers, by their numbers."""
    with cobuf.Loader(commander=commander, producer=producer, workers=2, **settings) as loader:
        return {item.sequence: item for item in loader.results()}


@cobuf.producer(arrays=ONE)
def in_place(message, out, context):
    out["x"][:] = [message, context.sequence, context.attempt]
    context.metadata = {"twice": 2 * message}


def test_arrays_are_written_in_place():
    items = batches(in_place)
    assert [items[n]["x"].tolist() for n in range(4)] == [[n, n, 0] for n in range(4)]
    assert [items[n].metadata for n in range(4)] == [{"twice": 2 * n} for n in range(4)]
    assert [items[n].message for n in range(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize("form", ["dict", "tuple", "array", "rows"])
def test_arrays_are_returned(form):
    def make(message):
        x = numpy.full(2 if form == "rows" else 3, message)
        return {"dict": {"x": x}, "tuple": (x,), "array": x, "rows": x}[form]

    items = batches(cobuf.producer(arrays=ONE)(make))
    assert [items[n]["x"].tolist() for n in range(4)] == [[n] * (2 if form == "rows" else 3) for n in range(4)]


class Scaled:
    arrays = ONE

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def produce(self, message: int) -> object:
        return numpy.full(3, self.factor * message)


def test_class_is_made_in_each_worker_with_its_configuration():
    items = batches(Scaled, producer_config={"factor": 5})
    assert [int(items[n]["x"][0]) for n in range(4)] == [0, 5, 10, 15]


@pytest.mark.parametrize("dtype", list(cobuf._arrays._HOST))
def test_each_element_type_comes_through(dtype):
    @cobuf.producer(arrays={"x": cobuf.Array(dtype, (2, 3))})
    def ones(message, out):
        out["x"][:] = 1

    array = batches(ones)[3]["x"]
    assert array.shape == (2, 3)
    assert array.dtype.name == dtype
    assert array.astype("float64").tolist() == [[1.0] * 3] * 2


def test_random_numbers_depend_on_the_message_alone():
    @cobuf.producer(arrays={"x": cobuf.Array("float64", (3,))})
    def drawn(message, out, context):
        out["x"][:] = [random.random(), numpy.random.rand(), context.rng.random()]

    def content(workers, seed):
        with cobuf.Loader(commander=range(20), producer=drawn, workers=workers, seed=seed) as loader:
            return [batch["x"].tolist() for batch in loader]

    one = content(1, 7)
    assert one == content(3, 7)
    assert one != content(1, 8)
    assert len({value for row in one for value in row}) == 60


WRONG = {
    "dtype": (lambda: numpy.zeros(3, "float32"), "array 'x' has elements of type float32, expected int64"),
    "shape": (lambda: numpy.zeros((3, 2), "int64"), "array 'x' has shape (3, 2), expected (3,)"),
    "too long": (lambda: numpy.zeros(4, "int64"), "array 'x' has shape (4,), expected (3,)"),
    "name": (lambda: {"y": numpy.zeros(3, "int64")}, "produce returned arrays that are not declared: ['y']"),
    "missing": (dict, "produce returned no array ['x']"),
    "none": (lambda: None, "produce returned None and takes no parameter to write into"),
    "objects": (lambda: numpy.array([object()] * 3), "array 'x' holds Python objects"),
    "count": (lambda: (1, 2), "produce returned 2 arrays, expected 1"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_result_is_the_error_of_its_batch(wrong):
    value, expected = WRONG[wrong]

    def make(message):
        return value() if message == 1 else numpy.zeros(3, "int64")

    items = batches(cobuf.producer(arrays=ONE)(make))
    error = items.pop(1)
    assert isinstance(error, cobuf.BatchError) and expected in str(error), error
    assert all(isinstance(item, cobuf.Batch) for item in items.values())


@pytest.mark.parametrize("order", ["F", "strided"])
def test_arrays_of_any_layout_are_copied(order):
    @cobuf.producer(arrays={"x": cobuf.Array("int64", (4, 3))})
    def make(message):
        x = numpy.arange(12).reshape(4, 3)
        return numpy.asfortranarray(x) if order == "F" else numpy.repeat(x, 2, axis=0)[::2]

    assert batches(make)[0]["x"].tolist() == numpy.arange(12).reshape(4, 3).tolist()


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("cannot be pickled")
        self.lock = threading.Lock()


def deep(n=0):
    return deep(n + 1)


RAISED = {
    "ValueError": lambda: (_ for _ in ()).throw(ValueError("no pixels")),
    "Unpicklable": lambda: (_ for _ in ()).throw(Unpicklable()),
    "SystemExit": lambda: sys.exit(3),
    "KeyboardInterrupt": lambda: (_ for _ in ()).throw(KeyboardInterrupt()),
    "RecursionError": deep,
    "ModuleNotFoundError": lambda: __import__("a_module_that_is_missing"),
}


@pytest.mark.parametrize("kind", RAISED)
def test_exception_comes_with_its_place_and_traceback(kind):
    def make(message):
        if message == 1:
            RAISED[kind]()
        return numpy.zeros(3, "int64")

    items = batches(cobuf.producer(arrays=ONE)(make))
    error = items.pop(1)
    assert isinstance(error, cobuf.BatchError) and (error.sequence, error.kind, error.message) == (1, "error", 1)
    assert error.chain[0].startswith(kind) and "test_producers.py:" in error.chain[0], error.chain
    assert "RAISED[kind]()" in error.chain[1], "a line of the source"
    assert sorted(items) == [0, 2, 3] and all(isinstance(item, cobuf.Batch) for item in items.values())


def test_process_that_exits_is_a_crash_after_all_attempts():
    def make(message):
        if message == 1:
            os._exit(7)
        return numpy.zeros(3, "int64")

    items = batches(cobuf.producer(arrays=ONE)(make), max_attempts=2)
    assert items[1].kind == "crash" and "exit code 7" in str(items[1])
    assert sorted(items) == [0, 1, 2, 3]


def test_fork_that_returns_is_no_second_worker():
    def make(message):
        if message == 1 and os.fork() == 0:
            return numpy.ones(3, "int64")
        return numpy.zeros(3, "int64")

    items = batches(cobuf.producer(arrays=ONE)(make))
    assert [int(items[n]["x"].sum()) for n in range(4)] == [0, 0, 0, 0]


def test_threads_of_a_producer_work():
    def make(message):
        found = []
        thread = threading.Thread(target=lambda: found.append(numpy.full(3, message)))
        thread.start()
        thread.join()
        return found[0]

    assert int(batches(cobuf.producer(arrays=ONE)(make))[3]["x"][0]) == 3


@pytest.mark.parametrize("how", ["sleeps", "computes"])
def test_hang_misses_its_deadline(how):
    def make(message):
        while message == 1:
            if how == "sleeps":
                time.sleep(1000)
        return numpy.zeros(3, "int64")

    items = batches(cobuf.producer(arrays=ONE)(make), message_timeout=1.0, max_attempts=1)
    assert items[1].kind == "timeout"
    assert sorted(items) == [0, 1, 2, 3]


def test_array_that_is_kept_beyond_the_call_is_refused():
    kept = []

    def make(message, out):
        out["x"][:] = message
        if message == 1:
            kept.append(out["x"])

    items = batches(cobuf.producer(arrays=ONE)(make))
    assert 'keeps out["x"] beyond produce' in str(items[1])


def test_megabytes_that_are_printed_do_no_harm(capfd):
    def make(message):
        print("x" * 1_000_000)
        return numpy.zeros(3, "int64")

    assert sorted(batches(cobuf.producer(arrays=ONE)(make))) == [0, 1, 2, 3]
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err.count("x") >= 4_000_000


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
