"""Slides by OpenSlide: examples of two patches around one point, a patch of each level."""

import numpy
import openslide
import protocol

SIDE = protocol.SLIDES_SHAPE[-2]


def places(path):
    """The coordinates, along each axis of the first level, of points around which the patches of all
    levels lie within a slide. They are pixels of all levels, so that OpenSlide interpolates none."""
    with openslide.OpenSlide(path) as slide:
        step = int(slide.level_downsamples[-1])
        return range(step * SIDE // 2, slide.dimensions[0] - step * SIDE // 2, step)


class Points:
    """The examples of each batch, the same for a number whenever it is asked: a slide, and a point."""

    def __init__(self, request):
        paths = protocol.slide_paths(request)
        self.count, self.places = len(paths), places(paths[0])

    def __len__(self):
        return 1 << 40

    def __getitem__(self, number):
        rng = numpy.random.default_rng(number)
        of_places = rng.integers(len(self.places), size=(protocol.EXAMPLES_A_BATCH, 2)).tolist()
        slides = rng.integers(self.count, size=protocol.EXAMPLES_A_BATCH).tolist()
        return {"examples": [(slide, self.places[x], self.places[y]) for slide, (x, y) in zip(slides, of_places)]}


class Reader:
    """Reads examples. Slides stay open."""

    def __init__(self, request):
        self.slides = [openslide.OpenSlide(path) for path in protocol.slide_paths(request)]
        self.halves = [int(downsample) * SIDE // 2 for downsample in self.slides[0].level_downsamples]

    def read(self, message, batch):
        """Fills an array with the patches of a batch."""
        for example, (slide, x, y) in zip(batch, message["examples"], strict=True):
            for level, half in enumerate(self.halves):
                patch = self.slides[slide].read_region((x - half, y - half), level, (SIDE, SIDE))
                # As examples/python/slides.py does it: Pillow drops the alpha channel as it copies.
                example[level] = numpy.frombuffer(patch.tobytes("raw", "RGB"), "uint8").reshape(SIDE, SIDE, 3)


def version():
    from importlib.metadata import version

    return f"OpenSlide {openslide.__library_version__}, openslide-python {version('openslide-python')}"
