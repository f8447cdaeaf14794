"""A ceiling. The function with which cobuf-python's producer reads slides, called in a loop by a process
for each core, into one array that is used again. Nothing is handed over.
"""

import multiprocessing
import sys

import protocol

try:
    import numpy
    import slides
except ImportError as error:
    print(protocol.json.dumps(protocol.missing(error, "pip install numpy openslide-bin openslide-python")))
    sys.exit()


def probe():
    versions = f"{slides.version()}, numpy {numpy.__version__}, {protocol.python_version()}"
    return {"versions": versions, "conditions": __doc__, "variants": [{"name": "", "works": {"slides": [""]}}]}


def measured(request):
    """Patches a second of all processes together."""
    fork = multiprocessing.get_context("fork")
    start, rates = fork.Barrier(request.workers), fork.SimpleQueue()
    for first in range(request.workers):
        fork.Process(target=read, args=(request, first, start, rates)).start()
    return sum(rates.get() for _ in range(request.workers))


def read(request, first, start, rates):
    """Reads the batches that are one worker's if each takes its turn."""
    points, reader = slides.Points(request), slides.Reader(request)
    batch, numbers = numpy.empty(protocol.SLIDES_SHAPE, numpy.uint8), iter(range(first, len(points), request.workers))
    start.wait()
    rates.put(protocol.patches_a_second(request, lambda: reader.read(points[next(numbers)], batch)))


if __name__ == "__main__":
    protocol.answer(probe, measured)
