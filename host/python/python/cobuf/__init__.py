"""A concurrent buffer: batches made by many processes, read without a copy.

A *commander* says what to make, one message for each batch. *Producers* make the batches, in worker
processes that may crash, leak or hang. A *loader* starts both and gives the batches, in order or as
they come; its arrays are views of shared memory.

    import cobuf

    @cobuf.producer(arrays={"square": cobuf.Array("int64", (4,))})
    def squares(message, out):
        out["square"][:] = message ** 2

    with cobuf.Loader(commander=range(1000), producer=squares, workers=4) as loader:
        for batch in loader:
            print(batch.sequence, batch["square"])
"""

from cobuf._arrays import Array, AtMost
from cobuf._errors import BatchError, CobufError, StreamError
from cobuf._loader import Loader
from cobuf._native import Batch, __version__
from cobuf._producer import Context, Out, producer
from cobuf._ranks import merge_state_dicts

__all__ = [
    "Array",
    "AtMost",
    "Batch",
    "BatchError",
    "CobufError",
    "Context",
    "Loader",
    "Out",
    "StreamError",
    "__version__",
    "merge_state_dicts",
    "producer",
]
