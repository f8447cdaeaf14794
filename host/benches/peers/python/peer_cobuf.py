"""cobuf's Python package: commander and workers are processes of a fork server, which is a fresh
interpreter if a plugin is Python. The consumer's arrays are views of the slots in all rows.
*Rust plugins*: `list-commander` with `fill-producer`, as in the rows of cobuf itself; *object* takes
the batch and its number, and no array. *In place*: commander and producer are Python, and the
producer writes into the slot. *Returned*: it returns one array again and again, which is copied into
the slot. Libraries are loaded once, by the fork server. Pictures by Pillow, slides by
OpenSlide with a commander that draws the points, as in `examples/python/slides.py`. Limits: as
cobuf's; Python plugins cost some microseconds a message.
"""

import sys

import protocol

try:
    import cobuf
    import numpy
except ImportError as error:
    print(protocol.json.dumps(protocol.missing(error, "pip install ./host/python")))
    sys.exit()

RUST, OBJECT, IN_PLACE, RETURNED = "Rust plugins", "Rust plugins, object", "in place", "returned"


def probe():
    try:
        import photos
    except ImportError:
        photos = None
    try:
        import slides
    except ImportError:
        slides = None
    many, few = ["slots=64"], ["slots=8"]
    works = {"tiny": many, "large": few, "first": many, "uneven": few, "interrupt": few} | protocol.memory_work(many)
    pictures = {"images": few} if photos else {}
    variants = {
        RUST: works,
        OBJECT: {"tiny": many},
        IN_PLACE: works | pictures | ({"slides": few} if slides else {}),
        RETURNED: {"tiny": many, "large": few} | pictures,
    }
    pillow = photos.version() + ", " if photos else "no Pillow (pip install pillow), so no images, "
    openslide = slides.version() if slides else "no OpenSlide (pip install openslide-bin openslide-python), so no slides"
    versions = f"{protocol.version('cobuf')}, numpy {numpy.__version__}, {pillow}{openslide}, {protocol.python_version()}"
    variants = [{"name": name, "works": works} for name, works in variants.items()]
    return {"versions": versions, "conditions": __doc__, "variants": variants}


class Filled:
    """Writes into the slot."""

    def __init__(self, request):
        self.arrays = {"x": cobuf.Array("uint8", protocol.shape(request))}
        self.request, self.times = request, protocol.sleep_times(request)

    def produce(self, message, out):
        protocol.imports(self.request)
        if self.times:
            protocol.time.sleep(self.times[message])
        out["x"].fill(message % protocol.VALUES)


class FilledArray(Filled):
    """Returns an array, the same each time."""

    def __init__(self, request):
        super().__init__(request)
        self.array = numpy.empty(protocol.shape(request), numpy.uint8)

    def produce(self, message):
        super().produce(message, {"x": self.array})
        return self.array


class Photos:
    def __init__(self, request):
        self.arrays = {"x": cobuf.Array("uint8", protocol.PHOTOS_SHAPE)}
        self.paths = protocol.photo_paths(request)

    def produce(self, message, out):
        import photos

        first = message * protocol.PHOTOS_A_BATCH
        for row in range(protocol.PHOTOS_A_BATCH):
            out["x"][row] = photos.load(self.paths[(first + row) % len(self.paths)])


class PhotosArray(Photos):
    def __init__(self, request):
        super().__init__(request)
        self.array = numpy.empty(protocol.PHOTOS_SHAPE, numpy.uint8)

    def produce(self, message):
        super().produce(message, {"x": self.array})
        return self.array


class Slides:
    arrays = {"x": cobuf.Array("uint8", protocol.SLIDES_SHAPE)}

    def __init__(self, request):
        self.request, self.reader = request, None

    def produce(self, message, out):
        if self.reader is None:
            import slides

            self.reader = slides.Reader(self.request)
        self.reader.read(message, out["x"])


def python_plugins(request):
    if request.work == "slides":
        import slides

        return {"commander": slides.Points(request), "producer": Slides(request), "preload": ["numpy", "openslide"]}
    in_place = request.variant == IN_PLACE
    if request.work == "images":
        producer = Photos(request) if in_place else PhotosArray(request)
    else:
        producer = Filled(request) if in_place else FilledArray(request)
    times = protocol.sleep_times(request)
    preload = ["numpy", "torch"] if request.work == "memory" else ["numpy"]
    return {"commander": range(len(times) if times else 1 << 40), "producer": producer, "preload": preload}


def rust_plugins(request):
    if times := protocol.sleep_times(request):
        messages, repeat = [{"sleep_seconds": seconds} for seconds in times], 1
    else:
        messages, repeat = [{"value": value} for value in range(protocol.VALUES)], 0
    return {
        "commander": request.plugins["list-commander"],
        "commander_config": {"messages": messages, "repeat": repeat},
        "producer": request.plugins["fill-producer"],
        "producer_config": {"arrays": [{"name": "x", "dtype": "u8", "shape": list(protocol.shape(request))}]},
    }


def start(request):
    is_python = request.variant in (IN_PLACE, RETURNED)
    plugins = python_plugins(request) if is_python else rust_plugins(request)
    slots = protocol.number(request.setting, "slots")
    loader = cobuf.Loader(workers=request.workers, slots=slots, **plugins).start()
    array = number if request.variant == OBJECT else one_array
    return protocol.Stream(iter(loader), loader.close, array)


def one_array(batch):
    return batch["x"]


def number(batch):
    """The first value of the array that would be made."""
    return (batch.sequence % protocol.VALUES,)


if __name__ == "__main__":
    protocol.main(probe, start)
