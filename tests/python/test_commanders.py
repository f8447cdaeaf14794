"""Commanders in Python: any iterable, state, and what a resumed run gets."""

from __future__ import annotations

import itertools
import json
import random

import numpy
import pytest
from runs import batches

import cobuf


@cobuf.producer(arrays={"x": cobuf.Array("int64", (2,))})
def make(message, out):
    out["x"][:] = message


def values(items):
    return [int(item["x"][0]) for item in items]


def loader(commander, **settings):
    return cobuf.Loader(commander=commander, producer=make, **{"workers": 2, **settings})


class Endless:
    def __iter__(self):
        return itertools.count()


class Indexed:
    """As a torch data set: lengths and indices."""

    def __len__(self):
        return 50

    def __getitem__(self, index):
        return index


class OldStyle:
    """An iterable by indices alone."""

    def __getitem__(self, index):
        if index >= 50:
            raise IndexError(index)
        return index


ITERABLES = {
    "range": range(50),
    "tuple": tuple(range(50)),
    "set": set(range(50)),
    "dict": dict.fromkeys(range(50)),
    "keys": dict.fromkeys(range(50)).keys(),
    "values": dict(enumerate(range(50))).values(),
    "array": numpy.arange(50),
    "map": map(int, range(50)),
    "zip": list(range(50)),
    "iterator": iter(list(range(50))),
    "indexed": Indexed(),
    "indexed class": Indexed,
    "by indices": OldStyle(),
    "function that returns a list": lambda: list(range(50)),
    "generator expression in a function": lambda: (n for n in range(50)),
}


@pytest.mark.parametrize("kind", ITERABLES)
def test_any_iterable_gives_messages_and_is_resumed(kind):
    with loader(ITERABLES[kind]) as first:
        before = values(next(first) for _ in range(20))
        state = json.loads(json.dumps(first.state_dict()))
    rest = loader(ITERABLES[kind], workers=3)
    rest.load_state_dict(state)
    with rest:
        assert before + values(rest) == list(range(50))


def test_items_of_a_dict_are_messages():
    with loader({1: 2, 3: 4}.items()) as items:
        assert [batch["x"].tolist() for batch in items] == [[1, 2], [3, 4]]


def test_iterator_that_has_begun_goes_on_where_it_is():
    """It is copied, so the program's own does not advance; a resumed run skips from the same place."""
    begun = iter(list(range(50)))
    assert [next(begun) for _ in range(10)] == list(range(10))
    with loader(begun) as first:
        before = values(next(first) for _ in range(20))
        state = first.state_dict()
    assert next(begun) == 10
    rest = loader(iter(list(range(10, 50))))
    rest.load_state_dict(state)
    with rest:
        assert before + values(rest) == list(range(10, 50))


def test_endless_commander_ends_with_the_limit_or_the_loop():
    with loader(Endless, limit=30) as limited:
        assert values(limited) == list(range(30))
    with loader(itertools.count) as endless:
        assert values(next(endless) for _ in range(100)) == list(range(100))
        with pytest.raises(TypeError, match="does not know how many"):
            len(endless)


class Stateful:
    """Its numbers depend on a generator's state, which cannot be had by skipping a class of its own."""

    def __init__(self, count):
        self.generator, self.at, self.count = random.Random(7), 0, count

    def __iter__(self):
        while self.at < self.count:
            self.at += 1
            yield self.generator.randrange(1000)

    def state_dict(self):
        return {"at": self.at, "generator": self.generator.getstate()}

    def load_state_dict(self, state):
        self.at = state["at"]
        self.generator.setstate(state["generator"])


def test_saved_state_is_taken_over_by_a_resumed_run_and_a_restarted_commander():
    settings = {"commander_config": {"count": 300}}
    with loader(Stateful, **settings) as whole:
        expected = values(whole)
    with loader(Stateful, **settings) as first:
        before = values(next(first) for _ in range(150))
        state = json.loads(json.dumps(first.state_dict()))
    rest = loader(Stateful, workers=1, **settings)
    rest.load_state_dict(state)
    with rest:
        assert before + values(rest) == expected


def test_random_numbers_of_a_commander_depend_on_the_seed_alone():
    def drawn():
        for _ in range(20):
            yield random.randrange(10**6) + int(numpy.random.randint(10**6))

    def content(seed):
        with loader(drawn, seed=seed) as run:
            return values(run)

    assert content(7) == content(7) != content(8)


def test_swap_of_the_commander_is_rehearsed_and_takes_over_at_an_exact_message():
    def broken():
        raise ValueError("no list of slides")
        yield

    with loader(range(400)) as swapped:
        seen = values(next(swapped) for _ in range(50))
        with pytest.raises(RuntimeError, match="no list of slides"):
            swapped.swap_commander(broken)
        first = swapped.swap_commander(range(1000, 1400))
        seen += values(swapped)
    assert seen == [n + 1000 * (n >= first) for n in range(400)]


def test_messages_keep_their_python_types():
    messages = [None, True, 2**100, 1.5, "ö", b"\0", (1, 2), [1, (2,)], {"a": {1, 2}}, {3: 4}, numpy.float32(1), range(3)]

    @cobuf.producer(arrays={"x": cobuf.Array("int64", (1,))})
    def told(message, out, context):
        context.metadata = {"type": type(message).__name__}
        out["x"][:] = 0

    items = batches(told, messages)
    for number, message in enumerate(messages):
        assert items[number].metadata["type"] == type(message).__name__
        assert items[number].message == message and type(items[number].message) is type(message)
