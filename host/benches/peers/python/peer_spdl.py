"""SPDL (Meta): threads of one process, with an asyncio loop between them; for functions that
release Python's lock, as its own decoders (FFmpeg) and numpy's `fill` do. It copies nothing:
batches are objects of the process, allocated anew. In order or as they come. Limits: no
isolation (a crash ends the application, a leak or a hang stays in it); code that holds Python's
lock does not run in parallel. Pictures by SPDL's own loader if FFmpeg's libraries are installed,
with FFmpeg's bilinear filter, which widens if it makes smaller, as the others' does.
"""

import sys

import protocol

try:
    import numpy
    import spdl.io
    from spdl.pipeline import PipelineBuilder
except ImportError as error:
    print(protocol.json.dumps(protocol.missing(error, "pip install spdl numpy")))
    sys.exit()

BUFFER = "buffer_size"


def probe():
    from importlib.metadata import version

    tiny = [f"{BUFFER}={size}" for size in (4, 64)]
    large = [f"{BUFFER}={size}" for size in (2, 6)]
    works = {"tiny": tiny, "large": large, "first": tiny[:1], "uneven": large[1:]}
    in_order = {**works, **({"images": [f"{BUFFER}=4"]} if ffmpeg() else {})}
    loader = f"libavcodec {ffmpeg()}" if ffmpeg() else "no FFmpeg (apt install ffmpeg), so no images"
    versions = f"spdl {version('spdl')}, numpy {numpy.__version__}, {loader}, {protocol.python_version()}"
    variants = [{"name": "in order", "works": in_order}, {"name": "any order", "works": works}]
    return {"versions": versions, "conditions": __doc__, "variants": variants}


def ffmpeg():
    """The version of FFmpeg's decoders that SPDL found; nothing where it found none."""
    try:
        return ".".join(map(str, spdl.io.utils.get_ffmpeg_versions()["libavcodec"]))
    except (ImportError, RuntimeError):
        return ""


def fill(request):
    shape, times = protocol.shape(request), protocol.sleep_times(request)

    def filled(index):
        if times:
            protocol.time.sleep(times[index])
        array = numpy.empty(shape, numpy.uint8)
        array.fill(index % protocol.VALUES)
        return array

    return filled, range(len(times) if times else 1 << 40)


def photos(request):
    paths = protocol.photo_paths(request)
    count = protocol.PHOTOS_A_BATCH
    batches = [paths[first : first + count] for first in range(0, len(paths), count)]
    filters = "crop=min(iw\\,ih):min(iw\\,ih),scale=224:224:flags=bilinear,format=pix_fmts=rgb24"

    def load(index):
        batch = batches[index % len(batches)]
        return spdl.io.to_numpy(spdl.io.load_image_batch(batch, width=None, height=None, filter_desc=filters))

    return load, range(1 << 40)


def start(request):
    produce, indices = photos(request) if request.work == "images" else fill(request)
    in_order = request.variant == "in order"
    pipeline = (
        PipelineBuilder()
        .add_source(indices)
        .pipe(produce, concurrency=request.workers, output_order="input" if in_order else "completion")
        .add_sink(protocol.number(request.setting, BUFFER))
        .build(num_threads=request.workers)
    )
    pipeline.start()
    return protocol.Stream(iter(pipeline.get_iterator()), pipeline.stop, in_order=in_order)


if __name__ == "__main__":
    protocol.main(probe, start)
