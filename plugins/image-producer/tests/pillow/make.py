"""Makes the files beside it: JPEG files of several kinds, and what Pillow makes of each, for the tests of image-producer.

    python make.py    with Pillow and numpy; they were made by Pillow 13.0.0

`NAME.jpg` is decoded, turned upright, and its largest centred square resized to 48 x 48 pixels by a bilinear filter that
widens where it makes smaller. `NAME.full.png` is what becomes of it at full size. For `NAME.draft.png`, `Image.draft` makes
the picture smaller first, by as much as leaves the square at least 48 pixels wide.
"""

import numpy
from PIL import Image, ImageOps

SIDE = 48
# Name: width, height, and how it is written.
FILES = {
    "color-420": (301, 200, {"subsampling": "4:2:0"}),
    "color-422-progressive": (200, 301, {"subsampling": "4:2:2", "progressive": True}),
    "color-444-turned": (160, 120, {"subsampling": "4:4:4", "orientation": 6}),
    "color-411": (250, 210, {"subsampling": "4:1:1"}),
    "grey": (250, 190, {}),
}


def picture(width, height, rng):
    """Smooth colours with some noise."""
    y, x = numpy.indices((height, width)) / max(width, height)
    waves = [128 + 90 * numpy.sin(20 * (a * x + b * y) + c) for a, b, c in rng.uniform(-1, 1, (3, 3))]
    return (numpy.stack(waves, axis=-1) + rng.integers(-8, 9, (height, width, 3))).clip(0, 255).astype("uint8")


def write(name, width, height, options, rng):
    image = Image.fromarray(picture(width, height, rng))
    if name == "grey":
        image = image.convert("L")
    options = dict(options)
    exif = Image.Exif()
    if orientation := options.pop("orientation", None):
        exif[0x0112] = orientation
    image.save(f"{name}.jpg", quality=80, exif=exif, **options)


def fit(name, divisor):
    """The centred square of the upright picture, decoded at a size made smaller by a divisor."""
    with Image.open(f"{name}.jpg") as image:
        full = image.size
        if divisor > 1:
            image.draft("RGB", (full[0] // divisor, full[1] // divisor))
            assert image.width == -(-full[0] // divisor), "draft did not take this divisor"
        orientation = image.getexif().get(0x0112, 1)
        image = ImageOps.exif_transpose(image).convert("RGB")
    width, height = (size / divisor for size in (full[::-1] if orientation >= 5 else full))
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))


def main():
    rng = numpy.random.default_rng(7)
    for name, (width, height, options) in FILES.items():
        write(name, width, height, options, rng)
        fit(name, 1).save(f"{name}.full.png")
        divisor = next(divisor for divisor in (8, 4, 2, 1) if min(width, height) / divisor >= SIDE)
        fit(name, divisor).save(f"{name}.draft.png")


if __name__ == "__main__":
    main()
