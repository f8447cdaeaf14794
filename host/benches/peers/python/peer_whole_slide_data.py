"""The package for patches of whole slides that concurrentbuffer was written for, as it is on PyPI:
`create_batch_iterator`, with processes by fork. Each process opens each slide once and reads by
OpenSlide, too. A patch is copied four times on its way into its batch, and the batch as
concurrentbuffer does it. The commander draws the points, here within an annotation as large as the
others draw from, by a point sampler that gives pixels of both levels, as the others have them. Of all
settings the cheapest are taken: labels by the preset `classification`, no information with a batch,
and arrays of uint8, where uint16 is the default. *On cobuf*: the same on `cobuf.concurrentbuffer`, by
one call before the import. Limits: as concurrentbuffer's, or as cobuf's.
"""

import collections.abc
from importlib.util import find_spec
from pathlib import Path

import protocol

# Python 3.10 and later lack this name, which the package imports.
collections.Iterable = collections.abc.Iterable

UPSTREAM, COBUF = "on concurrentbuffer", "on cobuf"
SPACINGS = [0.5, 2.0]


def probe():
    try:
        import slides
        import wholeslidedata.iterators  # noqa: F401
    except ImportError as error:
        return protocol.missing(error, "pip install --no-deps -r tests/python/requirements-large.txt")
    names = [UPSTREAM, COBUF] if find_spec("cobuf") else [UPSTREAM]
    variants = [{"name": name, "works": {"slides": ["slots=8 (fixed)"]}} for name in names]
    packages = [protocol.version(package) for package in ("wholeslidedata", "concurrentbuffer", "numpy")]
    versions = ", ".join([*packages, slides.version(), protocol.python_version()])
    return {"versions": versions, "conditions": __doc__, "variants": variants}


def start(request):
    if request.variant == COBUF:
        import cobuf.concurrentbuffer

        cobuf.concurrentbuffer.install()
    from wholeslidedata.iterators import create_batch_iterator

    iterator = create_batch_iterator(
        settings(request),
        "training",
        presets=("classification",),
        return_info=False,
        cpus=request.workers,
        buffer_dtype="uint8",
    )
    return protocol.Stream(iterator, lambda: stop(request, iterator), lambda batch: batch[0])


def settings(request):
    """The settings that a user writes."""
    files = [{"wsi": {"path": path}, "wsa": {"path": annotate(path)}} for path in protocol.slide_paths(request)]
    shape = list(protocol.SLIDES_SHAPE[2:])
    batch = {"batch_size": protocol.EXAMPLES_A_BATCH, "shape": [shape] * len(SPACINGS), "spacing": SPACINGS}
    # A label for each patch.
    batch["y_shape"] = [len(SPACINGS), 1]
    settings = {"yaml_source": {"training": files}, "label_map": {"tissue": 1}, "batch_shape": batch}
    settings["point_sampler"] = {"module": "whole_pixels", "attribute": "WholePixels"}
    return {"wholeslidedata": {"default": settings}}


def annotate(path):
    """Writes a slide's annotation beside it, as ASAP does: a rectangle around all places."""
    import slides

    places = slides.places(path)
    least, most = places.start, places.stop
    corners = enumerate([(least, least), (most, least), (most, most), (least, most)])
    corners = "".join(f'<Coordinate Order="{order}" X="{x}" Y="{y}"/>' for order, (x, y) in corners)
    annotation = f'<Annotation Name="inner" Type="Polygon" PartOfGroup="tissue"><Coordinates>{corners}</Coordinates></Annotation>'
    groups = '<AnnotationGroups><Group Name="tissue" PartOfGroup="None" Color="#ff0000"/></AnnotationGroups>'
    text = f"<ASAP_Annotations><Annotations>{annotation}</Annotations>{groups}</ASAP_Annotations>"
    file = Path(path).with_suffix(".xml")
    file.write_text(text)
    return str(file)


def stop(request, iterator):
    if request.variant == COBUF:
        iterator.stop()
    else:
        from peer_concurrentbuffer import stop

        stop(iterator)


if __name__ == "__main__":
    protocol.main(probe, start)
