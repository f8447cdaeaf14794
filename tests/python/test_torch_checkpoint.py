"""Ranks in torch's distributed checkpoint, as the guide says: the merged state as a module's `extra_state`."""

from __future__ import annotations

import json

import pytest
from conftest import needs, python

pytestmark = needs("torch")

LENGTH = 20
# One rank of a process group on loopback. It goes on from a checkpoint if there is one, takes batches, and saves.
RANK = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import cobuf

given = json.loads(sys.argv[1])
os.environ["GLOO_SOCKET_IFNAME"] = "lo"

@cobuf.producer(arrays={"x": cobuf.Array("int64", ())})
def produce(message, out):
    out["x"] = message

class Position(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.state = {}
    def get_extra_state(self):
        return json.dumps(self.state)
    def set_extra_state(self, text):
        self.state = json.loads(text)

rank, world = given["rank"], given["world"]
dist.init_process_group("gloo", store=dist.FileStore(given["store"], world), rank=rank, world_size=world)
model = torch.nn.Linear(1, 1)
model.position = Position()
loader = cobuf.Loader(commander=range(given["length"]), producer=produce, workers=1, rank=(rank, world))
said = {"seen": []}
try:
    if given["load"]:
        saved = {"model": model.state_dict()}
        dcp.load(saved, checkpoint_id=given["load"])
        model.load_state_dict(saved["model"])
        loader.load_state_dict(model.position.state)
    with loader:
        for batch in loader:
            said["seen"].append(int(batch["x"]))
            del batch
            if len(said["seen"]) == given["take"]:
                break
        part = loader.state_dict(step=given["step"])
    if given["save"]:
        if given["merge"]:
            parts = [None] * world
            dist.all_gather_object(parts, part)
            part = cobuf.merge_state_dicts(parts)
        model.position.state = part
        dcp.save({"model": model.state_dict()}, checkpoint_id=given["save"])
except ValueError as error:
    said["refused"] = str(error)
dist.barrier()
dist.destroy_process_group()
print(json.dumps(said))
"""


@pytest.fixture
def job(tmp_path):
    """Runs so many ranks to their end, and gives what each said."""
    count = 0

    def run(world, *, take=None, load=None, save=None, merge=True):
        nonlocal count
        count += 1
        given = {"world": world, "take": take, "step": take, "length": LENGTH, "merge": merge}
        given |= {"store": str(tmp_path / f"store-{count}"), "load": load and str(load), "save": save and str(save)}
        ranks = [python("-c", RANK, json.dumps({**given, "rank": rank})) for rank in range(world)]
        try:
            ends = [rank.communicate(timeout=240) for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
                rank.communicate()
        assert [rank.returncode for rank in ranks] == [0] * world, ends
        return [json.loads(out.splitlines()[-1]) for out, _ in ends]

    return run


@pytest.mark.parametrize("world", [1, 3])
def test_merged_state_as_extra_state_goes_on_with_another_number_of_ranks(job, tmp_path, world):
    before = job(2, take=3, save=tmp_path / "model")
    after = job(world, load=tmp_path / "model")
    seen = [number for one in (*before, *after) for number in one["seen"]]
    assert [one["seen"] for one in before] == [[0, 2, 4], [1, 3, 5]] and sorted(seen) == list(range(LENGTH))


def test_part_under_a_key_that_all_ranks_share_is_refused_when_it_is_loaded(job, tmp_path):
    job(2, take=3, save=tmp_path / "model", merge=False)
    zero, one = job(2, load=tmp_path / "model")
    refused = [said["refused"] for said in (zero, one) if "refused" in said]
    assert len(refused) == 1 and "merge the parts of all ranks into one" in refused[0]
