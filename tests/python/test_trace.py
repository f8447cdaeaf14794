"""Traces of loaders."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time

import pytest
from runs import ONE, batches

import cobuf


@cobuf.producer(arrays=ONE)
def filled(message, out):
    out["x"][:] = message


def spans(path, name):
    """The spans of this name, by the numbers of their batches."""
    events = json.loads(path.read_text())["traceEvents"]
    return {event["args"]["sequence"]: event for event in events if event["name"] == name and event["ph"] == "X"}


def test_trace_is_written_when_the_loader_is_closed(tmp_path):
    path = tmp_path / "run.json"
    with cobuf.Loader(commander=range(20), producer=filled, workers=2, trace=path) as loader:
        for batch in loader:
            del batch
    for name in ["message", "produce", "hold"]:
        assert sorted(spans(path, name)) == list(range(20))


def test_trace_keeps_the_last_batches(tmp_path):
    path = tmp_path / "run.json"
    with cobuf.Loader(commander=range(50), producer=filled, workers=2, trace=path, trace_batches=5) as loader:
        for batch in loader:
            del batch
    assert json.loads(path.read_text())["otherData"]["left_out"] == 45
    assert len(spans(path, "hold")) == 5


def test_batches_of_threads_are_on_tracks_of_their_own(tmp_path):
    path = tmp_path / "run.json"
    barrier = threading.Barrier(2)

    def consume():
        batch = next(loader)
        barrier.wait()
        del batch

    with cobuf.Loader(commander=range(2), producer=filled, workers=2, trace=path) as loader:
        threads = [threading.Thread(target=consume) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({event["tid"] for event in spans(path, "hold").values()}) == 2


def test_application_that_sleeps_is_seen_to_hold_its_batch(tmp_path):
    path = tmp_path / "run.json"
    with cobuf.Loader(commander=range(3), producer=filled, workers=1, trace=path) as loader:
        for batch in loader:
            time.sleep(0.01)
            del batch
    assert all(event["dur"] >= 10_000 for event in spans(path, "hold").values())


def test_wrong_traces_are_refused_before_the_start(tmp_path):
    with pytest.raises(ValueError, match="cannot write the trace .*no/run.json"):
        cobuf.Loader(commander=range(3), producer=filled, trace=tmp_path / "no" / "run.json").start()
    with pytest.raises(ValueError, match="the setting trace_batches is 0"):
        cobuf.Loader(commander=range(3), producer=filled, trace_batches=0).start()


CHROME = "@paulirish/trace_engine@0.0.65"
# Prints the tracks that Chrome's developer tools find, each with its spans, and the flows.
READ = """
import fs from 'node:fs';
globalThis.DOMRect ??= class {};
const Trace = await import('@paulirish/trace_engine/models/trace/trace.js');
const model = Trace.TraceModel.Model.createWithAllHandlers();
await model.parse(JSON.parse(fs.readFileSync(process.argv[2])).traceEvents);
const { Renderer, Flows } = model.parsedTrace().data;
const tracks = [...Renderer.processes.values()].flatMap(process => [...process.threads.values()]);
console.log(JSON.stringify({
    tracks: tracks.map(track => [track.name, track.entries.map(entry => entry.name)]),
    flows: Flows.flows.map(flow => flow.map(event => event.name)),
}));
"""


def test_trace_is_read_by_the_developer_tools_of_chrome(tmp_path):
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("left out, for want of Node.js")
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--cache", tmp_path / "cache", CHROME]
    (tmp_path / "package.json").write_text("{}")
    installed = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True)
    if installed.returncode != 0:
        pytest.skip(f"left out, for want of {CHROME}: {installed.stderr.strip()[-200:]}")
    path = tmp_path / "run.json"
    with cobuf.Loader(commander=range(20), producer=filled, workers=2, trace=path) as loader:
        for batch in loader:
            del batch
    (tmp_path / "read.mjs").write_text(READ)
    read = subprocess.run(["node", "read.mjs", path], cwd=tmp_path, capture_output=True, text=True, check=True)
    found = json.loads(read.stdout)
    tracks = dict(found["tracks"])
    assert tracks["commander"] == ["message"] * 20
    # A worker that produced nothing has no span.
    assert tracks.get("worker 0", []) + tracks.get("worker 1", []) == ["produce"] * 20
    assert sum(names.count("hold") for names in tracks.values()) == 20
    assert found["flows"] == [["message", "produce", "hold"]] * 20
