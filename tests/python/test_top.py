"""`cobuf top` on a loader of Python, which was not started for it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import cobuf

COMMAND = Path(cobuf.__file__).with_name("bin") / "cobuf"


@cobuf.producer(arrays={"x": cobuf.Array("int64", (4,))})
def numbers(message: int, out: dict[str, Any]) -> None:
    out["x"][:] = message


def top() -> dict[str, Any]:
    """What it sees of this process's run."""
    command = [COMMAND, "top", str(os.getpid()), "--once", "--json", "--interval", "0.05"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def test_loader_is_seen_from_outside() -> None:
    with cobuf.Loader(commander=range(100), producer=numbers, workers=2) as loader:
        batches = iter(loader)
        for _ in range(5):
            next(batches)
        seen = top()
        assert (seen["pid"], seen["batches"], seen["total"], seen["state"]) == (os.getpid(), 5, 100, "running")
        assert [worker["worker"] for worker in seen["workers"]] == [0, 1]
        assert seen["verdict"].startswith(f"limited by {seen['limited_by']}")
        assert seen["limited_by"] == "consumer", "nobody takes a batch"
        loader.state_dict()
        assert top()["checkpoint_age_seconds"] >= 0
