"""What the Python peers share: the protocol with the program that starts them (see src/protocol.rs), and measuring.

A peer is a script with a docstring that says its conditions, and a function `start(request)` that gives a Stream.
"""

import json
import sys
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Callable, Iterator

VALUES = 251  # batches are filled with 0, 1 … 250, 0 …
TINY_SHAPE = (16,)
LARGE_SHAPE = (64, 256, 256, 3)
PAGE_BYTES = 4096
PHOTOS_A_BATCH = 64
WARM_UP_SECONDS = 0.3
MOST_STARTS = 50


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
    if request.work != "uneven":
        return None
    with open(request.times) as file:
        return [0.0] + json.load(file)


def photo_paths(request):
    """The files, in their order."""
    from pathlib import Path

    return sorted(str(path) for path in Path(request.photos).glob("*/*.jpg"))


def number(setting, name):
    """The number behind `name=` in a setting."""
    return int(next(part for part in setting.split(", ") if part.startswith(name + "=")).split("=")[1])


def main(probe, start):
    """Answers the program: what there is, or one measurement."""
    if sys.argv[1] == "probe":
        answer = probe()
    else:
        answer = {"value": measure(SimpleNamespace(**json.loads(sys.argv[2])), start)}
    print(json.dumps(answer), flush=True)


def missing(error, install):
    """The answer of a peer that cannot be imported."""
    return {"missing": f"{install} ({error})"}


def measure(request, start):
    if request.work == "first":
        return 1e3 * median_start(request, start)
    stream = start(request)
    try:
        if request.work == "tiny":
            return 1e6 * seconds_a_batch(request, Taker(stream, request).take)
        if request.work == "large":
            size = 64 * 256 * 256 * 3
            return size / seconds_a_batch(request, Taker(stream, request).take) / 1e9
        if request.work == "uneven":
            return share_of_ideal(request, stream)
        return PHOTOS_A_BATCH / seconds_a_batch(request, lambda: take_photos(stream))
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


def take_photos(stream):
    array = stream.array(next(stream.batches))
    if array.shape != (PHOTOS_A_BATCH, 224, 224, 3) or array.dtype.name != "uint8":
        raise SystemExit(f"a batch of photos is {array.dtype} {array.shape}")


def seconds_a_batch(request, take):
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

    run(WARM_UP_SECONDS)
    return run(request.seconds)


def median_start(request, start):
    began, times = time.perf_counter(), []
    while not times or time.perf_counter() - began < request.seconds and len(times) < MOST_STARTS:
        started = time.perf_counter()
        stream = start(request)
        Taker(stream, request).take()
        times.append(time.perf_counter() - started)
        stream.stop()
    return sorted(times)[len(times) // 2]


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
