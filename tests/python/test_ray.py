"""cobuf.ray, on two nodes of Ray on this machine. `ray_job.py` says what is done there; it is done once."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
from conftest import environment, needs
from engines.kept import Kept

JOB = Path(__file__).with_name("ray_job.py")
BATCHES, ROWS = 24, 4

pytestmark = needs("ray")


@pytest.fixture(scope="module")
def saw(tmp_path_factory):
    """What the job saw. The keeper sees to it that no process of Ray is left, and names are looked for here."""
    folder = tmp_path_factory.mktemp("ray")
    before = names()
    command = [sys.executable, str(JOB), str(folder)]
    with Kept(command, folder / "out", folder / "err", folder, environment()) as job:
        code = job.wait()
    assert code == 0, (folder / "err").read_text()[-8000:]
    assert names() - before == set()
    return json.loads((folder / "saw.json").read_text())


def names():
    """Of Ray's stores and of cobuf's runs in shared memory. Others use it, too."""
    return {name for name in os.listdir("/dev/shm") if re.match("plasma|ray|cobuf-", name)}


def test_dataset_has_the_rows_of_a_single_loader(saw):
    rows_of = [[number, 1 if number == 5 else ROWS] for number in range(BATCHES)]
    assert saw["whole"] == saw["alone"] and saw["whole"][1] == rows_of
    assert saw["columns"] == ["image", "label", "sequence"]


def test_read_tasks_run_on_both_nodes(saw):
    assert saw["raylets"] == 2


def test_sequence_brings_the_rows_in_order(saw):
    assert saw["sorted"] == [0, 1, 2, 3, 4, 5]


def test_reading_may_end_early(saw):
    assert saw["limited"] == 6


def test_batch_without_common_rows_is_one_row(saw):
    assert saw["lengths"] == [[n, [n, 2], n / 2] for n in range(4)]


def test_rows_may_have_lengths_of_their_own(saw):
    assert saw["widths"] == [[n, [n + 1]] for n in range(2) for _ in range(ROWS)]


def test_task_that_is_executed_again_gives_the_same_rows(saw):
    assert saw["executions"] == 3, "two ranks, one of them twice"
    assert saw["killed"] == saw["alone"]


def test_rows_that_were_lost_with_a_node_come_again(saw):
    assert saw["node_lost"] == saw["alone"]


def test_actors_share_a_stream_and_others_go_on(saw):
    assert saw["actors"] == list(range(BATCHES))


def test_batch_that_fails_is_the_error_of_the_dataset_or_skipped(saw):
    assert "no pixels" in saw["failing"] and "BatchError" in saw["failing"]
    assert saw["skipping"] == [0, 1, 2, 4, 5]
    assert "the producer has an array 'sequence', which is the column of the batches' numbers" in saw["taken_name"]


def test_wrong_settings_are_refused_before_a_task_starts(saw):
    assert saw["no_rank"] == "ValueError: the number of ranks is 0, expected 1 to 1048576; give I/W with W, the number of ranks"
    assert saw["own_rank"] == "TypeError: rank is (0, 2), and each read task has its own: give ranks, their number"
    assert saw["any_order"].startswith("TypeError: ordered is False, and a task that Ray executes again")
    assert saw["letters"].startswith("TypeError: dead_letters is 'bad.jsonl', and tasks of several ranks")
    assert saw["unknown"].startswith("TypeError: ") and "'colour'" in saw["unknown"]
    assert saw["workers"] == "ValueError: the setting workers is 0, expected 1 to 1024"
    assert saw["submitting"].startswith("ValueError: this is rank 0 of 2, and the application is the commander")
