"""Ray Data: a stream of cobuf as a `ray.data.Dataset`, made by one read task a rank.

    dataset = cobuf.ray.read(ranks=8, commander=range(10_000), producer=tiles, workers=2)

Each read task runs a loader of its own, with commander and workers, on the node where Ray places the
task. The ranks do not talk to each other. Needs ``pip install 'cobuf[ray]'``.

    ray.data    read task 0        read task 1        read task 2
                Loader, rank 0/3   Loader, rank 1/3   Loader, rank 2/3
                blocks ──────────► blocks ──────────► blocks ─────────► rows, each with its `sequence`
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy

from cobuf import _native
from cobuf._loader import Loader
from cobuf._native import Batch

try:
    import ray.data
    from ray.data import Datasource
    from ray.data.block import BlockAccessor, BlockMetadata
    from ray.data.datasource import ReadTask
except ImportError as error:
    raise ImportError("cobuf.ray needs Ray Data: pip install 'cobuf[ray]'") from error

__all__ = ["CobufDatasource", "read"]

_SEQUENCE = "sequence"
# Settings of a loader that a task of Ray cannot have, and why.
_REFUSED = {
    "rank": "each read task has its own: give ranks, their number",
    "ordered": "a task that Ray executes again has to give its rows in the same order: leave it out",
    "trace": "tasks of several ranks would write the file: leave it out",
    "dead_letters": "tasks of several ranks, and executed again, would write the file: leave it out",
}


def read(*, ranks: int, ray_options: Mapping[str, Any] | None = None, **settings: Any) -> ray.data.Dataset:
    """A dataset of all batches of a stream, read by so many tasks of Ray.

    ranks: the number of read tasks, from 1. Each delivers the messages of its rank.
    ray_options: of `ray.data.read_datasource`, such as ``concurrency``, ``memory`` or ``label_selector``.
        ``num_cpus``, what Ray reserves for a rank, is the number of workers unless it is given.
    settings: of `cobuf.Loader`, the same for each rank: ``commander`` and ``producer``, and any other
        but ``rank``. ``workers`` is of one rank, 1 by default. Files are looked for on the task's node.

    If all arrays of a batch share a first axis, each row of the batch is a row of the dataset; otherwise a
    batch is one row. The column ``sequence`` is the number of its batch, since a dataset does not keep the
    order of its tasks: ``dataset.sort("sequence")`` does.

    A task that Ray executes again, after its node died or its blocks were lost, gives the same rows in the
    same order. So ``ordered=False`` is refused, and so are dead letters, which would be written twice.
    A batch that cannot be made is the task's error, unless ``on_failure`` skips it.

    Wrong settings are `TypeError` or `ValueError` here, before a task starts.
    """
    source = CobufDatasource(ranks=ranks, **settings)
    options = {"num_cpus": source.workers, **(ray_options or {})}
    return ray.data.read_datasource(source, override_num_blocks=ranks, **options)


class CobufDatasource(Datasource):  # type: ignore[misc]
    """A stream of cobuf for `ray.data.read_datasource`; see `read`, which makes one."""

    def __init__(self, *, ranks: int, **settings: Any) -> None:
        super().__init__()
        for name, reason in _REFUSED.items():
            if settings.get(name) not in (None, True):
                raise TypeError(f"{name} is {settings[name]!r}, and {reason}")
        # Ray sets it to the CPUs of the task, and each of its workers would use them all.
        settings["env"] = {"OMP_NUM_THREADS": "1", **(settings.get("env") or {})}
        if settings.get("workers") is None:
            settings["workers"] = 1
        _native.Host.check(Loader(rank=(0, ranks), **settings)._settings)
        self.ranks = ranks
        self.workers: int = settings["workers"]
        self._settings = settings

    def estimate_inmemory_data_size(self) -> int | None:
        """Unknown, since nothing runs before the tasks do."""
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """A task for each rank, whatever the parallelism."""
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [
            ReadTask(
                partial(_blocks, (rank, self.ranks), self._settings),
                unknown,
                per_task_row_limit=per_task_row_limit,
            )
            for rank in range(self.ranks)
        ]


def _blocks(rank: tuple[int, int], settings: Mapping[str, Any]) -> Iterator[Any]:
    """The blocks of a rank, one a batch; Ray joins them. It runs in the task."""
    with Loader(rank=rank, **settings) as loader:
        for batch in loader:
            yield _block(batch)


def _block(batch: Batch) -> Any:
    if _SEQUENCE in batch:
        raise ValueError(
            f"the producer has an array {_SEQUENCE!r}, which is the column of the batches' numbers; rename it"
        )
    # A block may stay with Ray for long, and would hold the slot.
    columns, rows = batch.copy(), batch._rows_of_all
    if rows is None:
        columns, rows = {name: array[numpy.newaxis] for name, array in columns.items()}, 1
    return BlockAccessor.batch_to_block({_SEQUENCE: numpy.full(rows, batch.sequence), **columns})
