"""Shared by the Python peers: the protocol with the program that starts them (see src/protocol.rs), and measuring.

A peer is a script with a docstring that says its conditions, and a function `start(request)` that gives a Stream.
"""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Iterator

VALUES = 251  # batches are filled with 0, 1 … 250, 0 …
TINY_SHAPE = (16,)
LARGE_SHAPE = (64, 256, 256, 3)
PAGE_BYTES = 4096
PHOTOS_A_BATCH = 64
PHOTOS_SHAPE = (PHOTOS_A_BATCH, 224, 224, 3)
EXAMPLES_A_BATCH = 8
SLIDES_SHAPE = (EXAMPLES_A_BATCH, 2, 256, 256, 3)
PATCHES_A_BATCH = EXAMPLES_A_BATCH * 2
WARM_UP_SECONDS = 0.3
SLIDES_WARM_UP_SECONDS = 1.5
MOST_STARTS = 50
# Of helpers that live as long as the program does.
HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


@dataclass
class Stream:
    """Batches on their way; `array` makes a numpy view of one, `stop` ends whatever runs."""

    batches: Iterator[Any]
    stop: Callable[[], None]
    array: Callable[[Any], Any] = lambda batch: batch
    in_order: bool = True


def shape(request):
    """The shape of a batch that is filled with a value."""
    return LARGE_SHAPE if request.work == "large" else TINY_SHAPE


def sleep_times(request):
    """How long each batch's producer sleeps. The clock starts with the first batch, which takes no time."""
    if request.work not in ("uneven", "interrupt"):
        return None
    with open(request.times) as file:
        return [0.0] + json.load(file)


def photo_paths(request):
    """The files, in their order."""
    return sorted(str(path) for path in Path(request.photos).glob("*/*.jpg"))


def slide_paths(request):
    """The files, in their order."""
    return sorted(str(path) for path in Path(request.slides).glob("*.tif"))


def number(setting, name):
    """The number behind `name=` in a setting."""
    return int(next(part for part in setting.split(", ") if part.startswith(name + "=")).split("=")[1])


def memory_work(settings):
    """The work `memory` for a probe, if there is a torch to be loaded."""
    from importlib.util import find_spec

    return {"memory": settings} if find_spec("torch") else {}


def imports(request):
    """The imports of a producer: torch if memory is measured."""
    if request.work == "memory":
        import torch  # noqa: F401


def main(probe, start):
    """Answers the program, by measuring a stream."""
    answer(probe, lambda request: measure(request, start))


def answer(probe, measured):
    """Answers the program: what there is, or one measurement."""
    if sys.argv[1] == "probe":
        told = probe()
    else:
        told = {"value": measured(SimpleNamespace(**json.loads(sys.argv[2])))}
    print(json.dumps(told), flush=True)


def missing(error, install):
    """The answer of a peer that cannot be imported."""
    return {"missing": f"{install} ({error})"}


def measure(request, start):
    if request.work == "first":
        return 1e3 * median_time(request, lambda: first_batch(request, start))
    if request.work == "interrupt":
        return 1e3 * median_time(request, lambda: interrupt(request, start))
    if request.work == "memory":
        return memory(request, start)
    stream = start(request)
    try:
        if request.work == "tiny":
            return 1e6 * seconds_a_batch(request, Taker(stream, request).take)
        if request.work == "large":
            size = 64 * 256 * 256 * 3
            return size / seconds_a_batch(request, Taker(stream, request).take) / 1e9
        if request.work == "uneven":
            return share_of_ideal(request, stream)
        if request.work == "slides":
            return patches_a_second(request, lambda: take_pictures(stream, SLIDES_SHAPE))
        return PHOTOS_A_BATCH / seconds_a_batch(request, lambda: take_pictures(stream, PHOTOS_SHAPE))
    finally:
        stream.stop()


class Taker:
    """Takes batches and looks at them: one byte a page, each of the value that is expected."""

    def __init__(self, stream, request):
        self.stream, self.large, self.count = stream, request.work == "large", 0

    def take(self):
        array = self.stream.array(next(self.stream.batches))
        if self.large:
            page = array.reshape(-1)[::PAGE_BYTES]
            value, most = int(page.min()), int(page.max())
        else:
            value = most = int(array[0])
        expected = self.count % VALUES if self.stream.in_order else value
        if not value == most == expected < VALUES:
            raise SystemExit(f"batch {self.count} has the values {value} to {most}, expected {expected}")
        self.count += 1


def take_pictures(stream, shape):
    array = stream.array(next(stream.batches))
    if array.shape != shape or array.dtype.name != "uint8":
        raise SystemExit(f"a batch of pictures is {array.dtype} {array.shape}, expected uint8 {shape}")


def patches_a_second(request, take):
    """Of slides. OpenSlide's caches are to be full when the clock starts, so the warm-up is long, and begins
    with the first batch, since some take seconds to start."""
    take()
    return PATCHES_A_BATCH / seconds_a_batch(request, take, SLIDES_WARM_UP_SECONDS)


def seconds_a_batch(request, take, warm_up=WARM_UP_SECONDS):
    """Warms up, then counts for a time; a multiple of the workers, as their batches may come in bursts."""

    def run(seconds):
        started, count = time.perf_counter(), 0
        while True:
            for _ in range(request.workers):
                take()
            count += request.workers
            elapsed = time.perf_counter() - started
            if elapsed >= seconds:
                return elapsed / count

    run(warm_up)
    return run(request.seconds)


def median_time(request, measured):
    began, times = time.perf_counter(), []
    while not times or time.perf_counter() - began < request.seconds and len(times) < MOST_STARTS:
        times.append(measured())
    return sorted(times)[len(times) // 2]


def first_batch(request, start):
    started = time.perf_counter()
    stream = start(request)
    try:
        Taker(stream, request).take()
        return time.perf_counter() - started
    finally:
        stream.stop()


def interrupt(request, start):
    """Seconds from Ctrl-C in a running loop until no process is left."""
    stream, pressed = start(request), []

    def press():
        time.sleep(0.05)
        pressed.append(time.perf_counter())
        # To all processes of the group, as a terminal does it.
        os.killpg(0, signal.SIGINT)

    try:
        for _ in range(2 * request.workers):
            next(stream.batches)
        threading.Thread(target=press).start()
        while True:
            next(stream.batches)
    except KeyboardInterrupt:
        stream.stop()
    wait_for_end()
    return time.perf_counter() - pressed[0]


def memory(request, start):
    """Megabytes that a third worker costs: all processes below this one, with it and without. What a
    second one shares with the first is no longer the first one's own, so it would cost too little."""
    imports(request)  # As a program that trains has it.

    def measured(workers):
        stream = start(SimpleNamespace(**{**vars(request), "workers": workers}))
        try:
            for _ in range(64 * workers):
                next(stream.batches)
            return sum(map(private_bytes, below()))
        finally:
            stream.stop()
            wait_for_end()

    without = measured(2)
    return (measured(3) - without) / 1e6


def below():
    """The processes that descend from this one, without helpers and dead ones."""
    found, left = [], [os.getpid()]
    while left:
        for tasks in Path(f"/proc/{left.pop()}/task").glob("*/children"):
            try:
                children = [int(pid) for pid in tasks.read_text().split()]
            except OSError:
                continue
            left += children
            found += filter(is_worker, children)
    return found


def is_worker(pid):
    try:
        # A dead process has no command line.
        line = Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
    return line != "" and not any(helper in line for helper in HELPERS)


def private_bytes(pid):
    """The memory of a process that no other has, shared mappings left out: nobody else may have
    touched their pages yet."""
    total, is_shared = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            is_shared = words[1].endswith("s")
        elif words[0] in ("Private_Clean:", "Private_Dirty:") and not is_shared:
            total += 1024 * int(words[1])
    return total


def wait_for_end():
    """Returns once nothing that was started is left."""
    while below():
        time.sleep(0.0005)


def share_of_ideal(request, stream):
    times = sleep_times(request)
    next(stream.batches)
    started = time.perf_counter()
    for _ in times[1:]:
        next(stream.batches)
    ideal = sum(times) / request.workers
    return 100 * ideal / (time.perf_counter() - started)


def python_version():
    return "Python " + sys.version.split()[0]


def version(package):
    """A package and its version, which one that is not installed does not say."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as of

    try:
        return f"{package} {of(package)}"
    except PackageNotFoundError:
        return f"{package} of a checkout"
