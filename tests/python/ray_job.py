"""What `test_ray.py` runs on Ray: two nodes on loopback, which this process starts and stops. It writes
what it saw as JSON to `saw.json` in the folder that its argument names. Ray's own folder is in RAY_TMPDIR."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy
import ray
from ray.cluster_utils import Cluster

import cobuf
import cobuf.ray

BATCHES, ROWS = 24, 4
TABLE = {"image": cobuf.Array("float32", (ROWS, 2, 3)), "label": cobuf.Array("int64", (ROWS,))}


@cobuf.producer(arrays=TABLE)
def table(message, out, context):
    context.rng.random(out=out["image"], dtype="float32")
    out["label"][:] = numpy.arange(ROWS) + ROWS * message
    if message == 5:
        context.rows = 1


class Killing:
    """As `table`; the first to come to a message kills the task of Ray in which it is made."""

    @staticmethod
    def arrays(at, folder):
        return TABLE

    def __init__(self, at, folder):
        self.at, self.folder = at, Path(folder)
        (self.folder / f"made-by-{os.getpid()}").touch()

    def produce(self, message, out, context):
        table(message, out, context)
        if message == self.at:
            try:
                (self.folder / "killed").touch(exist_ok=False)
            except FileExistsError:
                return
            # worker ─► fork server ─► the loader's process
            fork_server = os.getppid()
            stat = Path(f"/proc/{fork_server}/stat").read_text()
            os.kill(int(stat.rpartition(")")[2].split()[1]), signal.SIGKILL)
            signal.pause()


@cobuf.producer(arrays={"boxes": cobuf.Array("int64", (cobuf.AtMost(9), 2)), "scale": cobuf.Array("float64", ())})
def of_any_length(message, out):
    out.set_shape("boxes", (message, 2))
    out["boxes"][:] = message
    out["scale"] = message / 2


@cobuf.producer(arrays={"sentence": cobuf.Array("int64", (ROWS, cobuf.AtMost(9)))})
def wider(message, out):
    out.set_shape("sentence", (ROWS, message + 1))
    out["sentence"][:] = message


@cobuf.producer(arrays={"raylet": cobuf.Array("int64", ())})
def where(message, out):
    out["raylet"] = int(os.environ["RAY_RAYLET_PID"])


@cobuf.producer(arrays={"x": cobuf.Array("int64", ())})
def failing(message, out):
    if message == 3:
        raise ValueError("no pixels")
    out["x"] = message


@cobuf.producer(arrays={"sequence": cobuf.Array("int64", ())})
def taken_name(message, out):
    out["sequence"] = 7


def digest(rows):
    """Of all content, in whatever order the rows come; and the number of rows of each batch."""
    total, rows_of = 0, Counter()
    for row in rows:
        text = hashlib.sha256()
        for name in sorted(row):
            value = numpy.asarray(row[name])
            text.update(f"{name} {value.dtype} {value.shape}".encode() + value.tobytes())
        total += int.from_bytes(text.digest()[:8])
        rows_of[int(row["sequence"])] += 1
    return [total % 2**64, sorted(rows_of.items())]


def alone():
    """The rows of one loader of this program."""
    with cobuf.Loader(commander=range(BATCHES), producer=table, workers=1) as loader:
        for batch in loader:
            for number in range(batch.rows):
                yield {"sequence": numpy.int64(batch.sequence), **{name: batch[name][number].copy() for name in batch}}


def spread(**settings):
    return cobuf.ray.read(ray_options={"concurrency": 4}, commander=range(BATCHES), **settings)


def refusal(act):
    try:
        act()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


@ray.remote(num_cpus=1)
class Reader:
    """One loader an actor."""

    def __init__(self, rank):
        self.loader = cobuf.Loader(commander=range(BATCHES), producer=table, workers=1, rank=rank)

    def take(self, count):
        return [int(next(self.loader)["label"][0]) // ROWS for _ in range(count)]

    def state(self):
        return self.loader.state_dict()

    def go_on(self, state):
        self.loader.load_state_dict(state)
        return [int(batch["label"][0]) // ROWS for batch in self.loader]


def actors():
    """Three actors, then two that go on where they were."""
    before = [Reader.remote((rank, 3)) for rank in range(3)]
    seen = ray.get([actor.take.remote(count) for actor, count in zip(before, (2, 5, 1), strict=True)])
    state = cobuf.merge_state_dicts(ray.get([actor.state.remote() for actor in before]))
    for actor in before:
        ray.kill(actor)
    seen += ray.get([Reader.remote((rank, 2)).go_on.remote(state) for rank in range(2)])
    return sorted(sum(seen, []))


def saw(cluster, second, folder):
    """Everything, by name."""
    whole = spread(ranks=3, producer=table)
    yield "whole", digest(whole.iter_rows())
    yield "alone", digest(alone())
    yield "columns", sorted(whole.columns())
    yield "limited", len(whole.limit(6).take_all())
    yield "sorted", [int(row["label"]) for row in whole.sort(["sequence", "label"]).take(6)]
    on = spread(ranks=4, producer=where)
    yield "raylets", len({int(row["raylet"]) for row in on.iter_rows()})
    lengths = cobuf.ray.read(ranks=2, commander=range(4), producer=of_any_length)
    yield "lengths", sorted([int(row["sequence"]), list(row["boxes"].shape), float(row["scale"])] for row in lengths.iter_rows())
    widths = cobuf.ray.read(ranks=2, commander=range(2), producer=wider)
    yield "widths", sorted([int(row["sequence"]), list(row["sentence"].shape)] for row in widths.iter_rows())
    yield "actors", actors()

    killed = spread(ranks=2, producer=Killing, producer_config={"at": 9, "folder": str(folder)})
    yield "killed", digest(killed.iter_rows())
    yield "executions", len(list(folder.glob("made-by-*")))

    read = cobuf.ray.read
    yield "failing", refusal(lambda: read(ranks=2, commander=range(6), producer=failing).materialize())
    kept = read(ranks=2, commander=range(6), producer=failing, on_failure={"error": "skip"})
    yield "skipping", sorted(int(row["x"]) for row in kept.iter_rows())
    yield "taken_name", refusal(lambda: read(ranks=1, commander=range(2), producer=taken_name).materialize())
    yield "no_rank", refusal(lambda: spread(ranks=0, producer=table))
    yield "own_rank", refusal(lambda: spread(ranks=2, producer=table, rank=(0, 2)))
    yield "any_order", refusal(lambda: spread(ranks=2, producer=table, ordered=False))
    yield "letters", refusal(lambda: spread(ranks=2, producer=table, dead_letters="bad.jsonl"))
    yield "unknown", refusal(lambda: spread(ranks=2, producer=table, colour=3))
    yield "workers", refusal(lambda: spread(ranks=2, producer=table, workers=0))
    yield "submitting", refusal(lambda: read(ranks=2, commander=None, producer=table))

    stored = spread(ranks=4, producer=table).materialize()
    cluster.remove_node(second, allow_graceful=False)
    yield "node_lost", digest(stored.iter_rows())


# Ray takes 127.0.0.1 for the machine's address, at which nothing would be bound.
HEAD, SECOND = "127.0.0.2", "127.0.0.3"


@contextmanager
def nodes():
    """A cluster of two nodes, and the second one."""
    node = {"num_cpus": 2, "object_store_memory": 80 * 2**20}
    head = {**node, "node_ip_address": HEAD, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        second = cluster.add_node(**node, node_ip_address=SECOND)
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, _node_ip_address=HEAD)
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield cluster, second
    finally:
        ray.shutdown()
        cluster.shutdown()


def main():
    folder = Path(sys.argv[1])
    with nodes() as (cluster, second):
        found = dict(saw(cluster, second, folder))
    (folder / "saw.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
