"""Ranks: loaders in processes of their own that share one stream."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import environment

import cobuf

LENGTH = 50
# One rank: it goes on from a state, if there is one, gives some batches, and says its state.
RANK = """
import json, sys
import cobuf

@cobuf.producer(arrays={"x": cobuf.Array("int64", ())})
def squares(message, out):
    out["x"] = message**2

given = json.loads(sys.argv[1])
loader = cobuf.Loader(commander=range(given["length"]), producer=squares, **given["settings"])
if given["state"]:
    loader.load_state_dict(given["state"])
with loader:
    seen = []
    for batch in loader:
        seen.append([batch.sequence, int(batch["x"]), batch.is_repeated])
        del batch
        if len(seen) == given["take"]:
            break
    print(json.dumps({"seen": seen, "state": loader.state_dict(step=given["step"]), "length": len(loader)}))
"""


@cobuf.producer(arrays={"x": cobuf.Array("int64", ())})
def squares(message, out):
    out["x"] = message**2


def loader(**settings):
    return cobuf.Loader(commander=range(LENGTH), producer=squares, workers=1, **settings)


def rank(*, state=None, take=None, step=None, length=LENGTH, variables=None, **settings):
    """What one rank gives, in a process of its own; or what it says if it fails."""
    given = {"settings": {"workers": 1, **settings}, "state": state, "take": take, "step": step, "length": length}
    done = subprocess.run(
        [sys.executable, "-c", RANK, json.dumps(given)],
        capture_output=True,
        text=True,
        env=environment(**(variables or {})),
        timeout=120,
    )
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr.splitlines()[-1]


def job(world, *, takes=None, state=None, **settings):
    """What each rank of a job gives, all at once."""
    with ThreadPoolExecutor(world) as pool:
        run = [
            pool.submit(rank, rank=f"{number}/{world}", take=takes and takes[number], state=state, **settings)
            for number in range(world)
        ]
        return [running.result() for running in run]


def numbers(ranks):
    """Of all batches that were no repetition, whose content is right."""
    assert all(x == sequence**2 for one in ranks for sequence, x, _ in one["seen"])
    return sorted(sequence for one in ranks for sequence, _, repeated in one["seen"] if not repeated)


def test_three_ranks_then_two_then_one_give_each_batch_once():
    three = job(3, takes=[5, 1, 9])
    state = cobuf.merge_state_dicts(one["state"] for one in three)
    two = job(2, takes=[4, 8], state=state)
    state = cobuf.merge_state_dicts([one["state"] for one in reversed(two)])
    rest = rank(state=state)
    assert [len(one["seen"]) for one in (*three, *two)] == [5, 1, 9, 4, 8]
    assert numbers([*three, *two, rest]) == list(range(LENGTH))


def test_each_rank_may_go_on_with_its_own_part():
    before = job(2, takes=[3, 7])
    after = [rank(rank=f"{number}/2", state=before[number]["state"]) for number in range(2)]
    assert numbers([*before, *after]) == list(range(LENGTH))
    assert [one["length"] for one in after] == [25, 25]


def test_missing_messages_go_to_the_ranks_in_turn():
    state = rank(take=4)["state"]
    assert [[sequence for sequence, _, _ in one["seen"]] for one in job(3, state=state, length=12)] == [
        [4, 7, 10],
        [5, 8, 11],
        [6, 9],
    ]


@pytest.mark.parametrize(
    ("remainder", "expected"),
    [("short", [[0, 3, 6], [1, 4, 7], [2, 5]]), ("drop", [[0, 3], [1, 4], [2, 5]]), ("repeat", [[0, 3, 6], [1, 4, 7], [2, 5, 6]])],
)
def test_last_messages_are_given_as_remainder_says(remainder, expected):
    ranks = job(3, remainder=remainder, length=8)
    assert [[sequence for sequence, _, _ in one["seen"]] for one in ranks] == expected
    assert [one["seen"][-1][2] for one in ranks] == [False, False, remainder == "repeat"]
    assert [one["length"] for one in ranks] == [len(part) for part in expected]
    merged = cobuf.merge_state_dicts(one["state"] for one in ranks)
    assert numbers([rank(state=merged, length=8)]) == ([6, 7] if remainder == "drop" else [])


def test_rank_comes_from_the_launcher():
    torchrun = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    assert numbers([rank(rank="auto", variables=torchrun)]) == list(range(1, LENGTH, 2))
    assert numbers([rank(rank="none", variables=torchrun)]) == list(range(LENGTH))
    assert rank(variables=torchrun) == (
        "ValueError: torchrun has started this process as rank 1 of 2, and it was not said whether the ranks share "
        "the messages; choose the rank auto for a part of them, or none to have all of them in each process"
    )


def test_ranks_of_a_machine_share_its_cpus(monkeypatch):
    cpus = len(os.sched_getaffinity(0))
    for name, value in {"RANK": 0, "WORLD_SIZE": 2 * cpus, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": cpus}.items():
        monkeypatch.setenv(name, str(value))
    with cobuf.Loader(commander=range(4), producer=squares, rank="auto") as one:
        assert one.workers == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((8, 8), "rank 8 of 8 is out of range, expected 0 to 7; ranks are counted from 0"),
        ("0/0", "the number of ranks is 0, expected 1 to 1048576; give I/W with W, the number of ranks"),
        ("2of8", '"2of8" is no rank, expected auto, none, or I/W such as 2/8: rank I of W ranks, counted from 0'),
        ((-1, 4), '"-1/4" is no rank, expected auto, none, or I/W such as 2/8: rank I of W ranks, counted from 0'),
    ],
)
def test_wrong_rank_is_refused(given, said):
    with pytest.raises(ValueError) as error:
        loader(rank=given).start()
    assert str(error.value) == said


@pytest.mark.parametrize("given", [3, (1, 2, 3), (0.5, 2), ("a", "b")])
def test_rank_of_another_type_is_refused(given):
    with pytest.raises(TypeError, match=r'rank is .* of type .*, expected "auto", "none", "I/W" or a pair \(I, W\)'):
        loader(rank=given)


def test_wrong_remainder_is_refused():
    with pytest.raises(ValueError, match='remainder is "rest", expected short, drop or repeat'):
        loader(rank=(0, 2), remainder="rest").start()


def test_variable_that_is_missing_is_named(monkeypatch):
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "3")
    with pytest.raises(ValueError, match="set COBUF_WORLD_SIZE to the number of ranks"):
        loader(rank="auto").start()


def test_program_that_submits_has_no_rank():
    with pytest.raises(ValueError, match="start it without a rank"):
        cobuf.Loader(commander=None, producer=squares, rank=(0, 2)).start()


def part(number, of, *, take=2, step=None, **settings):
    with loader(rank=(number, of), **settings) as one:
        for _ in range(take):
            next(one)
        return one.state_dict(step=step)


def test_lone_part_is_refused():
    alone = part(1, 3)
    for settings, run in [({}, "this run has no rank"), ({"rank": (1, 2)}, "this run is rank 1 of 2"), ({"rank": (0, 3)}, "this run is rank 0 of 3")]:
        with pytest.raises(ValueError) as error:
            loader(**settings).load_state_dict(alone)
        assert str(error.value) == (
            f"this checkpoint is the part of rank 1 of 3, and {run}; merge the parts of all ranks into one"
        )
    loader(rank=(1, 3)).load_state_dict(alone)


def test_state_that_is_none_is_refused():
    with pytest.raises(ValueError, match="the state is no checkpoint of cobuf"):
        loader().load_state_dict({"next": 3})
    with pytest.raises(ValueError, match="the state is no checkpoint of cobuf"):
        cobuf.merge_state_dicts([{"next": 3}])


def test_parts_that_do_not_belong_together_are_refused():
    zero, one = part(0, 2, step=7), part(1, 2, step=7)

    def refusal(*parts):
        with pytest.raises(ValueError) as error:
            cobuf.merge_state_dicts(parts)
        return str(error.value)

    assert refusal() == "there is no checkpoint to merge; give the part of each rank"
    assert refusal(one) == "the part of rank 0 of 2 is missing; give the part of each rank"
    assert "there are two parts of rank 0 of 2" in refusal(zero, zero)
    assert "one part is of a job of 2 ranks and another of a job of 3" in refusal(zero, part(1, 3))
    assert "rank 0 was saved at step 7 and rank 1 at step 8" in refusal(zero, part(1, 2, step=8))
    assert "the parts of rank 0 and rank 1 belong to different runs: " in refusal(zero, part(1, 2, step=7, seed=1))
    assert cobuf.merge_state_dicts([zero, one]) == cobuf.merge_state_dicts([one, zero])


def test_command_reads_states_of_python(tmp_path):
    parts = [part(number, 2) for number in range(2)]
    for number, state in enumerate(parts):
        (tmp_path / f"{number}.json").write_text(json.dumps(state))
    command = Path(cobuf.__file__).with_name("bin") / "cobuf"
    files = ["0.json", "1.json", "-o", "merged.json"]
    subprocess.run([command, "checkpoint", "merge", *files], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    assert json.loads((tmp_path / "merged.json").read_text()) == cobuf.merge_state_dicts(parts)


def test_state_of_a_single_run_is_whole():
    with loader() as alone:
        next(alone)
        state = alone.state_dict(step=3)
    assert cobuf.merge_state_dicts([state]) == state


def test_batch_error_can_be_pickled():
    @cobuf.producer(arrays={"x": cobuf.Array("int64", ())})
    def failing(message):
        raise ValueError("no pixels")

    with cobuf.Loader(commander=[("a", 1)], producer=failing, workers=1) as broken:
        (error,) = broken.results()
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (cobuf.BatchError, str(error), vars(error))
    assert copy.message == ("a", 1)


def test_ray_that_is_missing_is_named():
    code = "import sys; sys.modules['ray'] = None; import cobuf.ray"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), timeout=120)
    assert done.stderr.splitlines()[-1] == "ImportError: cobuf.ray needs Ray Data: pip install 'cobuf[ray]'"
