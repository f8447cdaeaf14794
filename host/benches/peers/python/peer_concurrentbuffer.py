"""The Python package that cobuf's idea comes from: a commander process, producer processes (fork,
or spawn if the row says so), shared memory blocks. Copies: the producer's array into shared
memory, and out of it for the consumer, which gets arrays of its own. There are four slots for
each worker, and the number cannot be chosen. Commander, and the consumer of an empty buffer, poll at 100 % CPU. Limits: a
producer that raises or dies makes the consumer wait forever; in any order a dead worker's
message is lost; batches do not know their messages; one dtype for all arrays with silent casts;
no end of stream. Each look for a slot takes a lock that all processes share.
"""

import sys

import protocol

try:
    import numpy
    from concurrentbuffer._version import __version__
    from concurrentbuffer.commander import Commander
    from concurrentbuffer.iterator import buffer_iterator_factory
    from concurrentbuffer.producer import Producer
except ImportError as error:
    print(protocol.json.dumps(protocol.missing(error, "pip install concurrentbuffer numpy")))
    sys.exit()

SPAWN = "in order, spawn"


def probe():
    try:
        import photos
    except ImportError:
        photos = None
    fixed = ["slots=8 (fixed)"]
    works = {work: fixed for work in ("tiny", "large", "first", "uneven")}
    works |= {"images": fixed} if photos else {}
    # How processes are started counts in these alone, and the order does not.
    memory = protocol.memory_work(fixed)
    variants = {
        "in order": works | memory | {"interrupt": fixed},
        "any order": works,
        SPAWN: {"first": fixed} | memory,
    }
    pillow = photos.version() + ", " if photos else "no Pillow (pip install pillow), so no images, "
    versions = f"concurrentbuffer {__version__}, numpy {numpy.__version__}, {pillow}{protocol.python_version()}"
    variants = [{"name": name, "works": works} for name, works in variants.items()]
    return {"versions": versions, "conditions": __doc__, "variants": variants}


class Counting(Commander):
    def __init__(self):
        self.index = -1

    def create_message(self):
        self.index += 1
        return {"index": self.index}


class Filling(Producer):
    """Fills one array again and again; upstream copies it into the slot."""

    def __init__(self, request):
        self.request = request
        self.array = numpy.empty(protocol.shape(request), numpy.uint8)
        self.times = protocol.sleep_times(request)

    def create_data(self, message):
        protocol.imports(self.request)
        index = message["index"]
        if self.times:
            # The stream has no end: what comes behind the last is not asked for.
            protocol.time.sleep(self.times[index] if index < len(self.times) else 0)
        self.array.fill(index % protocol.VALUES)
        return [self.array]


class Photos(Producer):
    def __init__(self, request):
        self.paths = protocol.photo_paths(request)
        self.array = numpy.empty(protocol.PHOTOS_SHAPE, numpy.uint8)

    def create_data(self, message):
        import photos

        first = message["index"] * protocol.PHOTOS_A_BATCH
        for row in range(protocol.PHOTOS_A_BATCH):
            self.array[row] = photos.load(self.paths[(first + row) % len(self.paths)])
        return [self.array]


def start(request):
    producer = Photos(request) if request.work == "images" else Filling(request)
    in_order = request.variant != "any order"
    iterator = buffer_iterator_factory(
        cpus=request.workers,
        buffer_shapes=(producer.array.shape,),
        commander=Counting(),
        producer=producer,
        context="spawn" if request.variant == SPAWN else "fork",
        deterministic=in_order,
        buffer_dtype=numpy.uint8,
    )
    return protocol.Stream(iterator, lambda: stop(iterator), lambda batch: batch[0], in_order)


def stop(iterator):
    # Upstream's own stop puts messages into a queue that may be full, and then waits for ever: its processes first.
    factory = iterator._buffer_factory
    for process in [factory._message_process, *factory._producer_processes]:
        process.kill()
        process.join()
    factory._shared_buffer_manager.shutdown()


if __name__ == "__main__":
    protocol.main(probe, start)
