"""Axes that are at most n: each batch has lengths of its own."""

from __future__ import annotations

import importlib.util

import numpy
import pytest
from runs import batches

import cobuf

ARRAYS = {
    "boxes": cobuf.Array("float32", (cobuf.AtMost(200), 4)),
    "tokens": cobuf.Array("int64", (3, cobuf.AtMost(512))),
    "n": cobuf.Array("int64", (3,)),
}


@cobuf.producer(arrays=ARRAYS)
def in_place(message, out):
    out.set_shape("boxes", (message * 3, 4))
    out["boxes"][:] = message
    out["tokens"] = numpy.full((3, message), message)
    out["n"][:] = message


def shapes(batch):
    return {name: array.shape for name, array in batch.items()}


def test_batch_has_the_shapes_that_were_set():
    items = batches(in_place)
    for n in range(4):
        assert shapes(items[n]) == {"boxes": (3 * n, 4), "tokens": (3, n), "n": (3,)}
        assert all(array.flags.c_contiguous and (array == n).all() for array in items[n].values())
        assert items[n].rows == 3


def test_returned_arrays_say_their_shapes_and_rows():
    @cobuf.producer(arrays=ARRAYS)
    def returned(message):
        rows = min(message, 3)
        tokens, n = numpy.full((rows, 7), message), numpy.full(rows, message)
        return {"boxes": numpy.zeros((message, 4), "float32"), "tokens": tokens, "n": n}

    items = batches(returned)
    for n in range(4):
        assert shapes(items[n]) == {"boxes": (n, 4), "tokens": (n, 7), "n": (n,)}
        assert (items[n]["tokens"] == n).all() and items[n].rows == n


def test_shape_that_is_not_set_is_the_most():
    @cobuf.producer(arrays={"x": cobuf.Array("uint8", cobuf.AtMost(5))})
    def most(message, out):
        # One number is for all elements.
        out["x"] = message

    assert batches(most)[3]["x"].tolist() == [3] * 5


def test_rows_that_are_set_later_are_those_of_the_batch():
    @cobuf.producer(arrays=ARRAYS)
    def later(message, out, context):
        out.set_shape("tokens", (3, 2))
        out["tokens"][:] = [[0, 1], [2, 3], [4, 5]]
        out["boxes"] = numpy.empty((0, 4))
        out["n"][:] = 0
        context.rows = 2

    assert batches(later)[0]["tokens"].tolist() == [[0, 1], [2, 3]]


WRONG = {
    "most": (lambda out: out.set_shape("boxes", (201, 4)), "array 'boxes' was given length 201 along axis 0, expected at most 200"),
    "negative": (lambda out: out.set_shape("boxes", (-1, 4)), "length -1 along axis 0, expected at most 200"),
    "huge": (lambda out: out.set_shape("boxes", (1 << 70, 4)), "length 1180591620717411303424 along axis 0, expected at most 200"),
    "fixed": (lambda out: out.set_shape("boxes", (3, 5)), "array 'boxes' was given length 5 along axis 1, expected 4"),
    "axes": (lambda out: out.set_shape("boxes", (3,)), "array 'boxes' was given shape (3,), expected 2 axes"),
    "number": (lambda out: out.set_shape("boxes", 3), "array 'boxes' was given shape (3,), expected 2 axes"),
    "fraction": (lambda out: out.set_shape("boxes", (1.5, 4)), "array 'boxes' was given shape (1.5, 4), expected whole numbers"),
    "name": (lambda out: out.set_shape("masks", (1,)), "there is no array 'masks'; there are: boxes, tokens, n"),
    "assigned": (lambda out: out.__setitem__("boxes", numpy.zeros((300, 4))), "length 300 along axis 0, expected at most 200"),
    "twice": (
        lambda out: (out.set_shape("boxes", (1, 4)), out.set_shape("boxes", (2, 4))),
        "array 'boxes' was given shape (2, 4) after shape (1, 4), expected one shape in a batch",
    ),
    "late": (
        lambda out: (out["boxes"], out.set_shape("boxes", (2, 4))),
        "array 'boxes' was given shape (2, 4) after it was taken, expected before",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_shape_is_the_error_of_its_batch(kind):
    wrong, said = WRONG[kind]

    @cobuf.producer(arrays=ARRAYS)
    def produce(message, out):
        if message == 1:
            wrong(out)
        else:
            in_place(message, out)

    items = batches(produce, range(3))
    assert isinstance(items[1], cobuf.BatchError) and said in str(items[1])
    assert shapes(items[2])["boxes"] == (6, 4)


def test_returned_array_that_is_too_long_is_an_error():
    @cobuf.producer(arrays={"x": cobuf.Array("uint8", (cobuf.AtMost(5),))})
    def long(message):
        return numpy.zeros(6, "uint8")

    assert "array 'x' was given length 6 along axis 0, expected at most 5" in str(batches(long)[0])


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_tensors_have_the_real_shapes():
    for batch in batches(in_place).values():
        tensors = batch.torch()
        assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == shapes(batch)
        assert all((tensor == batch.sequence).all() for tensor in tensors.values())


def test_dlpack_has_the_real_shapes():
    batch = batches(in_place)[2]
    lease = batch._lease("boxes")
    assert numpy.from_dlpack(lease).shape == (6, 4)
