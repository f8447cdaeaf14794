"""Jailed workers."""

from __future__ import annotations

import ctypes
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from runs import ONE

import cobuf

COMMAND = Path(cobuf.__file__).with_name("bin") / "cobuf"


@cobuf.producer(arrays=ONE)
def numbered(message, out):
    import numpy as np  # Read in the jail.

    out["x"][:] = np.full(out["x"].shape, message, out["x"].dtype)


@cobuf.producer(arrays=ONE)
class Does:
    """Does what the message says, and gives 1 if it could be done."""

    def produce(self, message, out):
        kind, of = message
        if kind == "read":
            with open(of) as file:
                out["x"][:] = int(file.read())
        elif kind == "write":
            with open(of, "w") as file:
                file.write("1")
            out["x"][:] = 1
        elif kind == "connect":
            socket.create_connection(("127.0.0.1", of)).close()
            out["x"][:] = 1
        elif kind == "run":
            out["x"][:] = 1 - subprocess.run([of]).returncode
        elif kind == "thread":
            done = []
            thread = threading.Thread(target=lambda: done.append(1))
            thread.start()
            thread.join()
            out["x"][:] = len(done)
        elif kind == "call":
            library = ctypes.CDLL(None, use_errno=True)
            library.syscall(of, 0, 0, 0, 0, 0)
            raise OSError(ctypes.get_errno(), "it failed")


def done(*message, sandbox):
    """What the producer gave; or its error."""
    with cobuf.Loader(commander=[message], producer=Does(), workers=1, sandbox=sandbox) as loader:
        try:
            return int(next(loader)["x"][0])
        except cobuf.BatchError as error:
            return str(error)


def test_jailed_workers_give_the_same_batches():
    def digits(sandbox):
        with cobuf.Loader(commander=range(40), producer=numbered, workers=2, sandbox=sandbox) as loader:
            return [int(batch["x"][0]) for batch in loader], loader.sandbox_report

    free, none = digits(None)
    jailed, report = digits(True)
    assert jailed == free == list(range(40))
    assert none is None
    assert report["files"] == "landlock" and report["system_calls"] == "seccomp"


def test_only_what_the_sandbox_names_is_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("7")
    assert done("read", str(secret), sandbox=None) == 7
    assert "Permission denied" in done("read", str(secret), sandbox={})
    assert done("read", str(secret), sandbox={"read": [tmp_path]}) == 7
    assert done("read", str(secret), sandbox={"read": [secret]}) == 7


def test_only_what_the_sandbox_names_is_written(tmp_path):
    file = tmp_path / "file"
    assert "Permission denied" in done("write", str(file), sandbox={"read": [tmp_path]})
    assert not file.exists()
    assert done("write", str(file), sandbox={"write": [tmp_path]}) == 1
    assert file.read_text() == "1"


def test_network_is_there_only_if_the_sandbox_allows_it():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert "Operation not permitted" in done("connect", port, sandbox={})
        assert done("connect", port, sandbox={"network": True}) == 1


def test_programs_are_started_only_if_the_sandbox_allows_it():
    assert "Operation not permitted" in done("run", "/bin/true", sandbox={})
    assert done("run", "/bin/true", sandbox={"exec": True}) == 1


def test_threads_are_started_unless_the_sandbox_forbids_it():
    assert done("thread", None, sandbox={}) == 1
    assert "can't start new thread" in done("thread", None, sandbox={"threads": False})


def test_unknown_calls_seem_to_be_none_of_the_kernels():
    clone3, setns, newer = 435, 308, 470
    for call, reason in [(clone3, "Errno 38"), (newer, "Errno 38"), (setns, "Errno 1")]:
        assert f"[{reason}]" in done("call", call, sandbox={})


@pytest.mark.parametrize(
    ("sandbox", "wrong"),
    [
        ({"raed": []}, "unknown field `raed`"),
        ({"mode": "stern"}, "unknown variant `stern`"),
        ({"extra_syscalls": ["opne"]}, 'extra_syscalls has "opne", which is no system call'),
        ({"read": ["/no/such/folder"]}, "cannot open /no/such/folder for the sandbox's setting read"),
    ],
)
def test_wrong_sandboxes_are_refused(sandbox, wrong):
    with pytest.raises(ValueError, match=wrong):
        cobuf.Loader(commander=range(3), producer=numbered, sandbox=sandbox).start()


def test_path_in_place_of_a_list_is_refused():
    with pytest.raises(TypeError, match="the sandbox's read is '/data', expected a list"):
        cobuf.Loader(commander=range(3), producer=numbered, sandbox={"read": "/data"})


def proposed(folder, message):
    """What `cobuf check --sandbox` says of a producer that does this."""
    kind, of = message
    (folder / "does.py").write_text(
        "import cobuf, subprocess, threading\n"
        "@cobuf.producer(arrays={'x': ('int32', [1])})\n"
        "def does(message, out):\n"
        "    kind, of = message['kind'], message['of']\n"
        "    if kind == 'read':\n"
        "        out['x'][:] = int(open(of).read())\n"
        "    elif kind == 'run':\n"
        "        out['x'][:] = 1 - subprocess.run([of], check=True).returncode\n"
        "    elif kind == 'ask':\n"
        "        try:\n"
        "            subprocess.run([of])\n"
        "        except OSError:\n"
        "            pass\n"
        "    elif kind == 'thread':\n"
        "        thread = threading.Thread(target=lambda: None)\n"
        "        thread.start()\n"
        "        thread.join()\n"
    )
    message = json.dumps({"kind": kind, "of": of})
    command = [COMMAND, "check", "does.py:does", "--message", message, "--sandbox", "--json", "--python", sys.executable]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return json.loads(ended.stdout)


def test_check_proposes_the_tightest_sandbox(tmp_path):
    file = tmp_path / "number"
    file.write_text("7")
    of = proposed(tmp_path, ("read", str(file)))
    assert of["sandbox"]["read"] == [str(file)]
    assert not of["sandbox"]["exec"] and not of["sandbox"]["network"]
    assert proposed(tmp_path, ("run", "/bin/true"))["sandbox"]["exec"]
    # It goes on without the program.
    of = proposed(tmp_path, ("ask", "/bin/true"))
    assert "/bin/true" in of["needs"]["programs"]
    assert (of["sandbox"]["exec"], of["unneeded"][-1]) == (False, "exec")
    assert proposed(tmp_path, ("thread", ""))["sandbox"]["threads"]
