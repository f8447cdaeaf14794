"""Grain (Google): worker processes (spawn), each with every n-th element of the dataset. Copies: an
array above a size is copied into shared memory that is made anew for each, and the consumer maps
it without a copy; small ones are pickled through a queue. Always in order: worker after worker
in turn, so a slow one delays all, and a buffer for each worker evens that out. The content is
reproducible. Limits: a worker that dies ends the stream; a checkpoint is resumed with the same
number of workers only. Several sizes of the buffer are tried, and the best is taken. Pictures by
Pillow.
"""

import sys

import protocol

try:
    import grain
    import numpy
    from absl import flags
except ImportError as error:
    print(protocol.json.dumps(protocol.missing(error, "pip install grain numpy")))
    sys.exit()

BUFFER = "per_worker_buffer_size"


def probe():
    from importlib.metadata import version

    try:
        import photos
    except ImportError:
        photos = None
    sizes = [f"{BUFFER}={size}" for size in (1, 4, 32)]
    works = {"tiny": sizes, "large": sizes[:2], "first": sizes[:1], "uneven": [f"{BUFFER}=4"]}
    works |= {"interrupt": [f"{BUFFER}=4"]} | protocol.memory_work(sizes[:1])
    works |= {"images": sizes[:2]} if photos else {}
    pillow = photos.version() + ", " if photos else "no Pillow (pip install pillow), so no images, "
    versions = f"grain {version('grain')}, numpy {numpy.__version__}, {pillow}{protocol.python_version()}"
    return {"versions": versions, "conditions": __doc__, "variants": [{"name": "in order", "works": works}]}


class Filled:
    """Whole batches that are filled with their number."""

    def __init__(self, request):
        self.request = request
        self.shape, self.times = protocol.shape(request), protocol.sleep_times(request)

    def __len__(self):
        return len(self.times) if self.times else 1 << 40

    def __call__(self, index):
        protocol.imports(self.request)
        if self.times:
            protocol.time.sleep(self.times[index])
        array = numpy.empty(self.shape, numpy.uint8)
        array.fill(index % protocol.VALUES)
        return array


class Photos:
    """Single pictures, without end."""

    def __init__(self, request):
        self.paths = protocol.photo_paths(request)

    def __len__(self):
        return 1 << 40

    def __call__(self, index):
        import photos

        return photos.load(self.paths[index % len(self.paths)])


def start(request):
    # Grain reads flags of absl, which a program with absl's main has parsed.
    flags.FLAGS.mark_as_parsed()
    images = request.work == "images"
    source = Photos(request) if images else Filled(request)
    dataset = grain.MapDataset.range(len(source)).map(source)
    if images:
        dataset = dataset.batch(protocol.PHOTOS_A_BATCH)
    # No threads within a worker: each worker is one core's.
    dataset = dataset.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    options = grain.multiprocessing.MultiprocessingOptions(
        num_workers=request.workers, per_worker_buffer_size=protocol.number(request.setting, BUFFER)
    )
    batches = iter(dataset.mp_prefetch(options))
    return protocol.Stream(batches, batches.close)


if __name__ == "__main__":
    protocol.main(probe, start)
