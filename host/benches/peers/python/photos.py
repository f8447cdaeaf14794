"""Photos by Pillow: decoded, the centre square cropped and resized with a bilinear filter that antialiases."""

import numpy
from PIL import Image

SIDE = 224


def load(path, draft=False):
    """A u8 array of (224, 224, 3). With `draft` the decoder makes the picture smaller first, by a power of two."""
    with Image.open(path) as image:
        if draft:
            scale = SIDE / min(image.size)
            image.draft("RGB", (round(image.width * scale), round(image.height * scale)))
        image = image.convert("RGB")
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        return numpy.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box))


def version():
    import PIL

    return f"Pillow {PIL.__version__}"
