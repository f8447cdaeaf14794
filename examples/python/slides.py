"""Patches of whole slides with their masks: `python examples/python/slides.py`.

Workers open each slide once, with OpenSlide, and read patches of it and of its mask into the arrays
of a batch. Batches come as they are ready; the metadata says which patch each row is. The slides are
made first: pyramids in which a pixel's colour says where it is, so that each patch can be checked.
Needs `pip install openslide-bin openslide-python tifffile`.
"""

import sys
import tempfile
from pathlib import Path

import numpy

import cobuf

try:
    import openslide
    import tifffile
except ImportError as error:
    sys.exit(f"this example needs OpenSlide and tifffile: pip install openslide-bin openslide-python tifffile ({error})")

SIDE, TILE, LEVELS = 2048, 256, 3
PATCH, BATCH_SIZE, BATCHES = 128, 16, 40


def write_pyramid(path, pixels):
    """A tiled TIFF with levels, each half as large as the one before."""
    with tifffile.TiffWriter(path) as file:
        for level in range(LEVELS):
            file.write(
                pixels[:: 2**level, :: 2**level],
                tile=(TILE, TILE),
                photometric="rgb",
                compression="zlib",
                subfiletype=int(level > 0),
            )


def write_slide(folder, number):
    """Slide and mask. Red and green are a pixel's column and row by 8, blue is the slide's number; the
    mask is 1 on a disc of tissue."""
    row, column = numpy.indices((SIDE, SIDE))
    slide = numpy.stack([column // 8, row // 8, numpy.full_like(row, number)], axis=-1)
    tissue = (row - SIDE / 2) ** 2 + (column - SIDE / 2) ** 2 < (SIDE / 3) ** 2
    write_pyramid(folder / f"{number}.tif", slide.astype("uint8"))
    write_pyramid(folder / f"{number}_mask.tif", numpy.repeat(tissue[..., None], 3, axis=2).astype("uint8"))


class Patches:
    """The commander: random places of patches, the same for a number whenever it is asked."""

    def __init__(self, slides, seed):
        self.slides, self.seed = slides, seed

    def __len__(self):
        return BATCHES

    def __getitem__(self, number):
        rng = numpy.random.default_rng([self.seed, number])
        patches = []
        for _ in range(BATCH_SIZE):
            level = int(rng.integers(LEVELS))
            # A place counts pixels of level 0. It is one of this level too, so that none is interpolated.
            x, y = (int(place) * 2**level for place in rng.integers(0, SIDE // 2**level - PATCH, 2))
            patches.append({"slide": int(rng.integers(self.slides)), "level": level, "x": x, "y": y})
        return {"patches": patches}


class Slides:
    """The producer: reads patches. Slides stay open in their worker."""

    arrays = {
        "image": cobuf.Array("uint8", (BATCH_SIZE, PATCH, PATCH, 3)),
        "mask": cobuf.Array("uint8", (BATCH_SIZE, PATCH, PATCH)),
    }

    def __init__(self, folder):
        self.folder, self.opened = Path(folder), {}

    def produce(self, message, out, context):
        for row, patch in enumerate(message["patches"]):
            out["image"][row] = self.read(f"{patch['slide']}.tif", patch)
            out["mask"][row] = self.read(f"{patch['slide']}_mask.tif", patch)[..., 0]
        context.metadata = message

    def read(self, name, patch):
        if name not in self.opened:
            self.opened[name] = openslide.OpenSlide(self.folder / name)
        region = self.opened[name].read_region((patch["x"], patch["y"]), patch["level"], (PATCH, PATCH))
        # The picture has an alpha channel, which Pillow drops as it copies.
        return numpy.frombuffer(region.tobytes("raw", "RGB"), "uint8").reshape(PATCH, PATCH, 3)

    def close(self):
        for slide in self.opened.values():
            slide.close()


def check(patch, image, mask):
    """Whether a patch is of the slide, level and place that its metadata says."""
    step = 2 ** patch["level"]
    columns, rows = (start + numpy.arange(0, PATCH * step, step) for start in (patch["x"], patch["y"]))
    assert numpy.array_equal(image[0, :, 0], columns // 8) and numpy.array_equal(image[:, 0, 1], rows // 8), patch
    assert (image[..., 2] == patch["slide"]).all(), patch
    tissue = (rows[:, None] - SIDE / 2) ** 2 + (columns - SIDE / 2) ** 2 < (SIDE / 3) ** 2
    assert numpy.array_equal(mask, tissue), patch


def main():
    slides = 3
    with tempfile.TemporaryDirectory() as folder:
        for number in range(slides):
            write_slide(Path(folder), number)
        seen, tissue = [], 0
        with cobuf.Loader(
            commander=Patches(slides, seed=5),
            producer=Slides,
            producer_config={"folder": folder},
            workers=2,
            ordered=False,
            metadata_capacity=64 * 1024,
            # Slides may come from anywhere: workers read their folder, and nothing else of yours.
            sandbox={"read": [folder], "mode": "best-effort"},
        ) as loader:
            for batch in loader:
                for patch, image, mask in zip(batch.metadata["patches"], batch["image"], batch["mask"], strict=True):
                    check(patch, image, mask)
                    tissue += int(mask.sum())
                seen.append(batch.sequence)
    assert sorted(seen) == list(range(BATCHES)), "each batch comes once, in whatever order"
    share = tissue / (BATCHES * BATCH_SIZE * PATCH**2)
    print(f"{BATCHES * BATCH_SIZE} patches of {slides} slides, each where its metadata says; {share:.0%} tissue")


if __name__ == "__main__":
    main()
