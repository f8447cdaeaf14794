"""Workers that crash: Python's stack is in the batch's error."""

from __future__ import annotations

import ctypes
import os
import signal

import numpy
import pytest
from conftest import ran
from runs import ONE, batches

import cobuf

GOOD = numpy.zeros(3, "int64")


def overflow_the_stack():
    ctypes.CDLL(None).qsort((ctypes.c_int * 2)(2, 1), 2, 4, ctypes.c_void_p(1))


CRASHES = {
    "segmentation fault": (lambda: ctypes.string_at(0), "signal 11 (SIGSEGV)"),
    "segmentation fault without the GIL": (overflow_the_stack, "signal 11 (SIGSEGV)"),
    "abort": (os.abort, "signal 6 (SIGABRT)"),
    "fatal error": (lambda: ctypes.pythonapi.Py_FatalError(b"broken"), "signal 6 (SIGABRT)"),
    "bus error": (lambda: signal.raise_signal(signal.SIGBUS), "signal 7 (SIGBUS)"),
    "arithmetic": (lambda: signal.raise_signal(signal.SIGFPE), "signal 8 (SIGFPE)"),
}


@pytest.mark.parametrize("how", CRASHES)
def test_crash_names_the_place_in_the_script(how):
    crash, expected = CRASHES[how]

    def make(message):
        if message == 1:
            crash()
        return GOOD

    items = batches(cobuf.producer(arrays=ONE)(make), max_attempts=2)
    error = items.pop(1)
    assert (error.kind, len(error.attempts)) == ("crash", 2), error
    assert f"at each of 2 attempts by {expected}, in " in error.chain[0], error.chain
    assert f" at {__file__}:" in error.chain[0] and f"make at {__file__}:" in error.attempts[1], error.attempts
    assert sorted(items) == [0, 2, 3] and all(isinstance(item, cobuf.Batch) for item in items.values())


def test_crash_of_another_thread_names_its_place():
    import threading

    def crash():
        ctypes.string_at(0)

    def make(message):
        if message == 1:
            thread = threading.Thread(target=crash)
            thread.start()
            thread.join()
        return GOOD

    error = batches(cobuf.producer(arrays=ONE)(make), max_attempts=1)[1]
    assert f", in crash at {__file__}:" in error.chain[0] and f"make at {__file__}:" in error.attempts[0], error.attempts


def test_place_is_in_the_logs_and_libraries_are_passed_over():
    def make(message):
        if message == 1:
            numpy.vectorize(lambda _: ctypes.string_at(0))(GOOD)
        return GOOD

    error = batches(cobuf.producer(arrays=ONE)(make), max_attempts=1)[1]
    assert f"<lambda> at {__file__}:" in error.chain[0], error.chain
    frames = error.attempts[0]
    assert frames.index("string_at at ") < frames.index("<lambda> at ") < frames.index("make at "), frames


def test_crash_of_a_process_that_a_producer_has_forked_is_not_its_own():
    def make(message):
        child = os.fork()
        if child == 0:
            ctypes.string_at(0)
        os.waitpid(child, 0)
        return GOOD

    assert all(isinstance(item, cobuf.Batch) for item in batches(cobuf.producer(arrays=ONE)(make)).values())


SCRIPT = """
import ctypes, faulthandler, sys, numpy, cobuf

@cobuf.producer(arrays={"x": cobuf.Array("int64", (1,))})
def make(message):
    if "enable" in sys.argv:
        faulthandler.enable()
    if message == 1:
        ctypes.string_at(0)
    return numpy.zeros(1, "int64")

with cobuf.Loader(commander=range(3), producer=make, workers=1, max_attempts=1) as loader:
    print(*(item.chain[0] if isinstance(item, cobuf.BatchError) else "batch" for item in loader.results()))
"""


def run_script(*arguments, **changes):
    return ran("-c", SCRIPT.replace("sys.argv", repr(arguments)), **changes)


def test_program_that_uses_faulthandler_itself_still_has_its_own_output():
    done = run_script("enable")
    assert done.stdout == "batch the worker was ended by signal 11 (SIGSEGV) batch\n"
    assert "Fatal Python error: Segmentation fault" in done.stderr


def test_interpreter_that_begins_with_faulthandler_is_no_hindrance():
    done = run_script(PYTHONFAULTHANDLER="1")
    assert "(SIGSEGV), in make at <string>:" in done.stdout, done
