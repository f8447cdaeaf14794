"""Arrays for NumPy, torch and JAX: shared, of every element type, alive as long as someone holds them.

torch and JAX start threads, beside which this process could not be forked: their tests are scripts.
"""

from __future__ import annotations

import ctypes
import threading

import numpy
import pytest
from conftest import needs, output_of

import cobuf

KINDS = list(cobuf._arrays._HOST)


@cobuf.producer(arrays={kind: cobuf.Array(kind, (3, 5)) for kind in KINDS})
def of_each_kind(message, out):
    for kind in KINDS:
        out[kind][:] = message % 2


@cobuf.producer(arrays={"x": cobuf.Array("int64", (4,))})
def numbers(message, out):
    out["x"][:] = message


def one_batch(producer=of_each_kind, **settings):
    """The second batch, of ones, of a loader that is closed then."""
    with cobuf.Loader(commander=range(2), producer=producer, workers=1, **settings) as loader:
        return list(loader)[1]


def address(array):
    return array.__array_interface__["data"][0]


def test_dlpack_gives_numpy_the_memory_read_only():
    batch = one_batch()
    assert {kind: batch._lease(kind).__dlpack_device__() for kind in KINDS} == dict.fromkeys(KINDS, (1, 0))
    for kind in KINDS:
        if kind != "bfloat16":  # DLPack has it, NumPy does not.
            array = numpy.from_dlpack(batch._lease(kind))
            assert array.dtype.name == kind and array.tolist() == batch[kind].tolist()
            assert address(array) == address(batch[kind]) and not array.flags.writeable


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, "which DLPack before 1.0 cannot say"),
        ({"max_version": (0, 8)}, "which DLPack before 1.0 cannot say"),
        ({"max_version": (1, 0), "copy": True}, "shared, never copied"),
        ({"max_version": (1, 0), "dl_device": (2, 0)}, "cross-device copies are not supported"),
        ({"max_version": (1, 0), "stream": 7}, "the stream is 7, expected None"),
    ],
)
def test_dlpack_refuses_what_it_cannot_keep(request_, expected):
    lease = one_batch()._lease("int8")
    with pytest.raises(BufferError) as error:
        lease.__dlpack__(**request_)
    assert expected in str(error.value)


def test_arrays_are_aligned_so_that_all_libraries_can_share_them():
    batch = one_batch()
    assert {kind: address(batch[kind]) % 64 for kind in KINDS} == dict.fromkeys(KINDS, 0)


def test_capsule_that_nobody_takes_frees_its_slot():
    with cobuf.Loader(commander=range(20), producer=numbers, workers=1, slots=1) as loader:
        for number in range(20):
            capsule = next(loader)._lease("x").__dlpack__(max_version=(1, 0))
            assert "dltensor_versioned" in repr(capsule), number
            del capsule


def pointer(capsule, name):
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return get(capsule, name)


def taken(capsule):
    """The deleter of a capsule that is taken over as consumers do, and the address of its tensor."""
    at = pointer(capsule, b"dltensor_versioned")
    rename = ctypes.pythonapi.PyCapsule_SetName
    rename.argtypes = [ctypes.py_object, ctypes.c_char_p]
    taken.name = b"used_dltensor_versioned"  # Python keeps the pointer to it.
    rename(capsule, taken.name)
    # version: two numbers of 32 bits; the producer's context; the deleter.
    deleter = ctypes.c_void_p.from_address(at + 16).value
    # Without the interpreter, as a consumer's own threads call it.
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(deleter), at


def test_deleter_frees_the_slot_on_any_thread_without_the_interpreter():
    with cobuf.Loader(commander=range(2), producer=numbers, workers=1, slots=1) as loader:
        delete, at = taken(next(loader)._lease("x").__dlpack__(max_version=(1, 0)))
        assert loader._host.try_next() == 1 and "held" in loader.stall_report(), "the slot is held"
        thread = threading.Thread(target=delete, args=(at,))
        thread.start()
        thread.join()
        assert int(next(loader)["x"][0]) == 1


def test_deleter_may_run_after_the_loader_is_closed():
    with cobuf.Loader(commander=range(2), producer=numbers, workers=1) as loader:
        delete, at = taken(next(loader)._lease("x").__dlpack__(max_version=(1, 0)))
    del loader
    delete(at)


def test_deleter_may_run_at_the_end_of_the_interpreter():
    # A capsule and its tensor are dropped by the end of the program, in an order that is nobody's.
    output_of(
        """
    import cobuf, numpy, sys

    @cobuf.producer(arrays={"x": cobuf.Array("int64", (4,))})
    def numbers(message, out):
        out["x"][:] = message

    loader = cobuf.Loader(commander=range(100), producer=numbers, workers=1)
    sys.kept = [numpy.from_dlpack(next(loader)._lease("x")), next(loader)._lease("x").__dlpack__(max_version=(1, 0))]
    """
    )


def test_bfloat16_without_its_package_is_an_error_that_names_it(tmp_path):
    (tmp_path / "ml_dtypes.py").write_text("raise ImportError('not installed')")
    out = output_of(
        f"""
    import sys
    sys.path.insert(0, {str(tmp_path)!r})
    import cobuf
    from cobuf._arrays import as_numpy

    @cobuf.producer(arrays={{"x": cobuf.Array("bfloat16", (4,))}})
    def numbers(message, out): ...

    try:
        cobuf.Loader(commander=range(1), producer=numbers, workers=1).start()
    except RuntimeError as error:
        print(error)
    try:
        as_numpy(b"1234", "bf16")
    except ImportError as error:
        print(error)
    """
    )
    assert out.count("pip install 'cobuf[bf16]'") == 2, out


SHARED = """
    import sys, warnings
    import cobuf
    from cobuf._arrays import _HOST

    @cobuf.producer(arrays={kind: cobuf.Array(kind, (3, 5)) for kind in _HOST} | {"one": cobuf.Array("float32", ())})
    def make(message, out):
        for kind in _HOST:
            out[kind][:] = message % 2
        out["one"][...] = message

    @cobuf.producer(arrays={"x": cobuf.Array("float32", (3, 2))})
    def no_rows(message, out, context):
        context.rows = 0

    def address(array):
        return array.__array_interface__["data"][0]

    def second(producer):
        with cobuf.Loader(commander=range(2), producer=producer, workers=1) as loader:
            return list(loader)[1]

    warnings.simplefilter("error")
"""


@needs("torch")
def test_zero_copy_tensors_of_torch_come_without_warnings():
    output_of(
        SHARED
        + """
    import torch
    batch = second(make)
    tensors = batch.torch()
    for kind in _HOST:
        assert tensors[kind].dtype == getattr(torch, kind) and tensors[kind].shape == (3, 5)
        assert tensors[kind].data_ptr() == address(batch[kind])
    assert tensors["one"].shape == () and float(tensors["one"]) == 1
    del batch
    assert all(tensors[kind].double().tolist() == [[1.0] * 5] * 3 for kind in _HOST)
    assert second(no_rows).torch()["x"].shape == (0, 2)
    """
    )


@needs("torch")
def test_tensor_that_is_dropped_on_another_thread_frees_its_slot():
    output_of(
        """
    import threading, cobuf

    @cobuf.producer(arrays={"x": cobuf.Array("int64", (4,))})
    def numbers(message, out):
        out["x"][:] = message

    with cobuf.Loader(commander=range(50), producer=numbers, workers=1, slots=1) as loader:
        for number in range(50):
            held = [next(loader).torch()["x"]]
            assert held[0].tolist() == [number] * 4
            thread = threading.Thread(target=held.clear)
            thread.start()
            thread.join()
    """
    )


@needs("jax")
def test_arrays_of_jax_share_the_memory():
    output_of(
        SHARED
        + """
    import jax
    jax.config.update("jax_platforms", "cpu")
    batch = second(make)
    for narrow in [True, False]:
        # As everywhere in JAX, 64 bits become 32 unless they are asked for; that is a copy.
        jax.config.update("jax_enable_x64", not narrow)
        arrays = batch.jax()
        for kind in _HOST:
            assert arrays[kind].shape == (3, 5)
            if not (narrow and kind.endswith("64")):
                assert arrays[kind].dtype == kind
                assert arrays[kind].unsafe_buffer_pointer() == address(batch[kind])
        assert float(arrays["one"]) == 1
    # A buffer that is given away for the result stays as it is.
    assert float(jax.jit(lambda x: x + 1, donate_argnums=0)(arrays["float32"])[0, 0]) == 2
    assert batch["float32"].tolist() == [[1.0] * 5] * 3
    assert second(no_rows).jax()["x"].shape == (0, 2)
    """
    )
