"""Producers in Python: what they may do."""

from __future__ import annotations

import random
import threading

import numpy
import pytest
from runs import ONE, batches

import cobuf


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


@pytest.mark.parametrize("order", ["F", "strided"])
def test_arrays_of_any_layout_are_copied(order):
    @cobuf.producer(arrays={"x": cobuf.Array("int64", (4, 3))})
    def make(message):
        x = numpy.arange(12).reshape(4, 3)
        return numpy.asfortranarray(x) if order == "F" else numpy.repeat(x, 2, axis=0)[::2]

    assert batches(make)[0]["x"].tolist() == numpy.arange(12).reshape(4, 3).tolist()


def test_threads_of_a_producer_work():
    def make(message):
        found = []
        thread = threading.Thread(target=lambda: found.append(numpy.full(3, message)))
        thread.start()
        thread.join()
        return found[0]

    assert int(batches(cobuf.producer(arrays=ONE)(make))[3]["x"][0]) == 3


def test_metadata_may_have_numpy_s_scalars_and_arrays():
    @cobuf.producer(arrays=ONE)
    def make(message, out, context):
        out["x"][:] = message
        context.metadata = {
            "label": numpy.int64(message),
            "area": numpy.float32(0.5),
            "is_tumor": numpy.bool_(True),
            "name": numpy.str_("slide"),
            "corner": numpy.array([1, 2]),
            "all": (numpy.uint8(3), {"deep": numpy.float64(0.25)}),
        }

    told = batches(make)[2].metadata
    assert told == {
        "label": 2,
        "area": 0.5,
        "is_tumor": True,
        "name": "slide",
        "corner": [1, 2],
        "all": [3, {"deep": 0.25}],
    }
    assert {name: type(value) for name, value in told.items()}["is_tumor"] is bool


def test_number_of_rows_may_be_numpy_s():
    @cobuf.producer(arrays=ONE)
    def make(message, out, context):
        out["x"][:] = message
        context.rows = numpy.int32(2)

    assert batches(make)[3]["x"].tolist() == [3, 3]


def test_ready_made_object_is_another_one_in_each_worker():
    class Counting:
        arrays = ONE

        def __init__(self):
            self.made = 0

        def produce(self, message):
            self.made += 1
            return numpy.array([self.made, 0, 0])

    counting = Counting()
    counting.made = 10
    items = batches(counting, range(6), workers=1)
    assert [int(items[n]["x"][0]) for n in range(6)] == list(range(11, 17)) and counting.made == 10


def test_generators_of_torch_are_seeded_if_it_is_loaded():
    torch = pytest.importorskip("torch")

    @cobuf.producer(arrays={"x": cobuf.Array("float32", (3,))})
    def drawn(message):
        return torch.rand(3)

    first = [batches(drawn, range(4), workers=workers)[3]["x"].tolist() for workers in (1, 3)]
    assert first[0] == first[1]
