"""PyTorch's `DataLoader`: worker processes (fork, or spawn if the row says so) run a dataset's
`__getitem__`; tensors go through shared memory that is made anew for each batch, its file
descriptor through a socket; objects that are no tensors are pickled through a pipe. Copies: a
tensor that was not made in shared memory is copied into it once, and the consumer copies nothing;
`default_collate` stacks pictures into shared memory. In order, batches are dealt out to workers in
turn, even to busy ones; with `in_order=False` to workers that have room, and they come as they are
done. Limits: a worker that dies ends the stream with an error, and nothing is retried; memory is
mapped and unmapped for every batch. Both kinds of transport and several prefetch factors are tried,
and the best is taken. Pictures by Pillow; with `draft` Pillow halves them while decoding, which is
less work and another result.
"""

import itertools
import sys

import protocol

try:
    import numpy
    import torch
    from torch.utils.data import DataLoader, Dataset
except ImportError as error:
    print(protocol.json.dumps(protocol.missing(error, "pip install torch numpy, or apt install python3-torch")))
    sys.exit()

PREFETCH = "prefetch_factor"
DRAFT = "Pillow draft"
SPAWN = "in order, spawn"


def probe():
    fill = ["tensor", "numpy"]
    tiny = [f"{kind}, {PREFETCH}={factor}" for kind in fill for factor in (2, 32)]
    large = [f"{kind}, {PREFETCH}={factor}" for kind in ("tensor", "tensor made in shared memory") for factor in (2, 4)]
    works = {"tiny": tiny, "large": large, "first": tiny[2:3], "uneven": [f"numpy, {PREFETCH}=4"]}
    # How processes are started counts in these alone, and the order does not.
    spawn = {"first": tiny[2:3], "memory": tiny[2:3]}
    photos = [f"{PREFETCH}=2", f"{PREFETCH}=4"]
    in_order = works | spawn | {"interrupt": works["uneven"]} | ({"images": photos} if has_pillow() else {})
    variants = [{"name": "in order", "works": in_order}]
    if "in_order" in DataLoader.__init__.__code__.co_varnames:
        variants.append({"name": "any order", "works": works})
    variants.append({"name": SPAWN, "works": spawn})
    if has_pillow():
        variants.append({"name": DRAFT, "works": {"images": photos}})
    versions = f"torch {torch.__version__}, numpy {numpy.__version__}, {pillow()}{protocol.python_version()}"
    return {"versions": versions, "conditions": __doc__, "variants": variants}


def has_pillow():
    try:
        import photos  # noqa: F401
    except ImportError:
        return False
    return True


def pillow():
    if not has_pillow():
        return "no Pillow (pip install pillow), so no images, "
    import photos

    return photos.version() + ", "


class Filled(Dataset):
    """Whole batches that are filled with their number."""

    def __init__(self, request):
        self.shape, self.times = protocol.shape(request), protocol.sleep_times(request)
        self.kind = request.setting.split(",")[0]

    def __len__(self):
        return len(self.times) if self.times else sys.maxsize

    def __getitem__(self, index):
        if self.times:
            protocol.time.sleep(self.times[index])
        value = index % protocol.VALUES
        if self.kind == "numpy":
            array = numpy.empty(self.shape, numpy.uint8)
            array.fill(value)
            return array
        return self.empty().fill_(value)

    def empty(self):
        if self.kind == "tensor":
            return torch.empty(self.shape, dtype=torch.uint8)
        # As default_collate makes room for a batch.
        count = numpy.prod(self.shape).item()
        storage = torch.UntypedStorage._new_shared(count, device="cpu")
        return torch.empty(0, dtype=torch.uint8).set_(storage, 0, self.shape)


class Photos(Dataset):
    def __init__(self, request):
        self.paths, self.draft = protocol.photo_paths(request), request.variant == DRAFT

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        import photos

        return torch.from_numpy(photos.load(self.paths[index], self.draft).copy())


class Endless:
    """A sampler that goes round and round."""

    def __init__(self, length):
        self.length = length

    def __iter__(self):
        return (index % self.length for index in itertools.count())


def start(request):
    options = {"num_workers": request.workers, PREFETCH: protocol.number(request.setting, PREFETCH)}
    in_order = request.variant != "any order"
    options["multiprocessing_context"] = "spawn" if request.variant == SPAWN else "fork"
    if not in_order:
        options["in_order"] = False
    if request.work == "images":
        photos = Photos(request)
        options |= {"batch_size": protocol.PHOTOS_A_BATCH, "sampler": Endless(len(photos))}
        loader = DataLoader(photos, **options)
    else:
        filled = Filled(request)
        indices = range(len(filled))
        # Without a batch size a dataset's items are batches; a collate function keeps numpy arrays as they are.
        options |= {"batch_size": None, "sampler": indices, "collate_fn": same}
        loader = DataLoader(filled, **options)
    batches = iter(loader)
    return protocol.Stream(batches, batches._shutdown_workers, numpy.asarray, in_order)


def same(batch):
    return batch


if __name__ == "__main__":
    protocol.main(probe, start)
