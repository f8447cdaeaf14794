"""The command `cobuf` with Python plugins: each verb as people use it, in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import children, wait_until

import cobuf

COMMAND = Path(cobuf.__file__).parent / "bin" / "cobuf"

SLIDES = """\
import os
import cobuf
import helper


class Jobs:
    def __init__(self, length=20):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return {"item": index}


class Slides:
    def __init__(self, size=4, bad=-1, hang=False):
        self.size = size
        self.bad = bad
        self.hang = hang

    @staticmethod
    def arrays(size=4, **_):
        return {"x": cobuf.Array("float32", (size,)), "n": cobuf.Array("int64", (1,))}

    def produce(self, message, out, context):
        if message["item"] == self.bad:
            raise ValueError("no pixels")
        out["x"][:] = context.rng.random(self.size)
        out["n"][:] = helper.number()
        with open("log", "a") as log:
            log.write(f"{context.sequence} {helper.number()} {os.getpid()}\\n")
        while self.hang:
            pass
"""
HELPER = "def number():\n    return {number}\n"
PIPELINE = """\
[commander]
plugin = "slides.py:Jobs"
config = { length = LENGTH }
[producer]
plugin = "slides.py:Slides"
config = { size = 3 }
[run]
workers = 2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "slides.py").write_text(SLIDES)
    (tmp_path / "helper.py").write_text(HELPER.format(number=1))
    pipeline(tmp_path)
    return tmp_path


def pipeline(folder: Path, length: int = 20, more: str = "") -> None:
    (folder / "slides.toml").write_text(PIPELINE.replace("LENGTH", str(length)) + more)


def environment(**changes: str | None) -> dict[str, str]:
    """An environment in which these tests' interpreter is the active one, with changes."""
    variables = {**os.environ, "VIRTUAL_ENV": sys.prefix} | changes
    return {name: value for name, value in variables.items() if value is not None}


def cobuf_(folder: Path, *arguments: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return subprocess.run(
        [COMMAND, *arguments], cwd=folder, env=environment(**changes), capture_output=True, text=True, timeout=300
    )


def report(folder: Path, *arguments: str) -> dict[str, object]:
    """The report of a verb that ends well."""
    ended = cobuf_(folder, *arguments, "--json")
    assert ended.returncode == 0, ended.stderr
    found: dict[str, object] = json.loads(ended.stdout)
    return found


def log(folder: Path) -> list[tuple[int, int, int]]:
    """Each whole line of the producers' log: sequence, number, process."""
    try:
        lines = (folder / "log").read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    found = [tuple(map(int, line.split())) for line in lines if line.endswith("\n")]
    return [(sequence, number, pid) for sequence, number, pid in found]


def parent(pid: int) -> int:
    """The parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class Running:
    """A command in the background, whose standard error goes to a file."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.errors = folder / "stderr"
        with open(self.errors, "w") as errors:
            # A group of its own, as a shell starts it: Ctrl-C reaches the whole group.
            self.process = subprocess.Popen(
                [COMMAND, *arguments],
                cwd=folder,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                process_group=0,
            )

    def said(self) -> str:
        return self.errors.read_text()

    def wait_for(self, text: str) -> None:
        wait_until(text, lambda: text in self.said() or self.process.poll() is not None)
        assert text in self.said(), self.said()

    def interrupt(self) -> tuple[int, str]:
        """Ctrl-C: the exit code, and the report."""
        os.killpg(self.process.pid, signal.SIGINT)
        out, _ = self.process.communicate(timeout=120)
        return self.process.returncode, out


@pytest.fixture
def running(folder: Path) -> Iterator[object]:
    started: list[Running] = []

    def start(*arguments: str) -> Running:
        started.append(Running(folder, *arguments))
        return started[-1]

    yield start
    for command in started:
        if command.process.poll() is None:
            command.interrupt()


def test_pipeline_of_python_objects_runs(folder: Path) -> None:
    ended = report(folder, "run", "slides.toml")
    assert (ended["batches"], ended["errors"]) == (20, 0)
    assert sorted(sequence for sequence, _, _ in log(folder)) == list(range(20))


def test_pipeline_is_run_from_another_folder(folder: Path) -> None:
    ended = cobuf_(Path("/"), "run", str(folder / "slides.toml"), "--batches", "3")
    assert ended.returncode == 0 and ended.stderr.startswith("3 batches"), ended.stderr


def test_module_beside_the_pipeline_is_a_plugin(folder: Path) -> None:
    package = folder / "tiles"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "base.py").write_text(SLIDES)
    (package / "made.py").write_text("from .base import Jobs, Slides\n")
    text = (folder / "slides.toml").read_text()
    (folder / "slides.toml").write_text(text.replace("slides.py:", "tiles.made:"))
    assert report(folder, "run", "slides.toml")["batches"] == 20
    assert report(folder, "run", "slides.toml")["content_digest"] == report(folder, "run", "slides.toml")["content_digest"]


def test_exception_is_shown_with_its_traceback_and_counted(folder: Path) -> None:
    ended = cobuf_(folder, "run", "slides.toml", "--set", "producer.bad=3")
    assert ended.returncode == 1
    slides = folder / "slides.py"
    place = next(number for number, line in enumerate(SLIDES.splitlines(), 1) if "no pixels" in line)
    told = (
        f": ValueError: no pixels ({slides}:{place} in produce)\n"
        f'  File "{slides}", line {place}, in produce\n'
        '    raise ValueError("no pixels")\n'
        '  message: {"item":3}\n'
    )
    assert "error: batch 3 failed in worker " in ended.stderr and told in ended.stderr, ended.stderr
    assert "19 batches" in ended.stderr


def test_arguments_are_the_configuration(folder: Path) -> None:
    ended = cobuf_(folder, "run", "slides.toml", "--set", "producer.colour=red")
    assert ended.returncode == 2
    assert "unexpected keyword argument 'colour'" in ended.stderr, ended.stderr


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = = 1\n", "SyntaxError: invalid syntax (slides.py, line 1)\n"),
        ("import nothing_of_this_name\n", "No module named 'nothing_of_this_name'"),
        ("", "AttributeError: module 'slides' has no attribute "),
    ],
)
def test_module_that_cannot_be_loaded_is_refused_with_the_reason(folder: Path, source: str, expected: str) -> None:
    (folder / "slides.py").write_text(source)
    for verb in (["run", "slides.toml"], ["inspect", "slides.py:Jobs"]):
        ended = cobuf_(folder, *verb)
        assert ended.returncode == 2 and expected in ended.stderr, ended.stderr


def test_missing_file_object_and_name_are_told_apart(folder: Path) -> None:
    for plugin, expected in {
        "gone.py:Slides": f"cannot read {folder / 'gone.py'}",
        "gone.away:Slides": "there is no module gone.away",
        "slides.py": "it names no object; give one as slides.py:NAME",
    }.items():
        ended = cobuf_(folder, "inspect", plugin)
        assert ended.returncode == 2 and expected in ended.stderr, ended.stderr


def test_inspect_shows_arguments_and_arrays(folder: Path) -> None:
    text = cobuf_(folder, "inspect", "slides.py:Slides", "--set", "size=5").stdout
    assert text.startswith("producer slides.py:Slides "), text
    for line in ["  bad (integer, default -1)", "  hang (boolean, default false)", "  x f32 (5,), 20 bytes"]:
        assert line in text.splitlines(), text
    told = report(folder, "inspect", "slides.py:Jobs")
    assert told["manifest"]["kind"] == "commander" and told["arrays"] is None  # type: ignore[index]
    assert told["config_schema"]["properties"]["length"] == {"type": "integer", "default": 20}  # type: ignore[index]


@pytest.mark.parametrize("name", ["Slides", "Jobs"])
def test_check_examines_a_python_plugin(folder: Path, name: str) -> None:
    source = (folder / "slides.py").read_text().replace('with open("log", "a")', 'with open("/dev/null", "a")')
    (folder / "slides.py").write_text(source)
    told = report(folder, "check", f"slides.py:{name}", "--pipeline", "slides.toml", "--soak", "0.05")
    assert told["passed"] and told["manifest"]["name"] == f"slides.py:{name}"  # type: ignore[index]
    outcomes = {finding["test"]: finding["outcome"] for finding in told["findings"]}  # type: ignore[attr-defined]
    assert outcomes["repeat"] == outcomes["leaks"] == outcomes["close"] == "passed", outcomes


def test_check_finds_what_is_wrong_with_a_python_plugin(folder: Path) -> None:
    source = (folder / "slides.py").read_text().replace("context.rng.random(self.size)", "os.urandom(1)[0]")
    (folder / "slides.py").write_text(source)
    ended = cobuf_(folder, "check", "slides.py:Slides", "--pipeline", "slides.toml", "--soak", "0.05")
    assert ended.returncode == 1 and "failed   repeat" in ended.stdout, ended.stdout


def test_bench_measures_a_pipeline(folder: Path) -> None:
    told = report(folder, "bench", "slides.toml", "--runs", "2", "--seconds", "0.4")
    assert told["errors"] == [0, 0] and told["workers"] == 2


def test_chaos_finds_no_difference(folder: Path) -> None:
    pipeline(folder, length=300)
    told = report(folder, "chaos", "slides.toml", "--seed", "7", "--seconds", "1", "--deadline", "5")
    assert told["passed"], told


def test_no_interpreter_says_where_was_looked_and_what_to_do(folder: Path) -> None:
    ended = cobuf_(folder, "run", "slides.toml", VIRTUAL_ENV="/gone", CONDA_PREFIX=None, PATH="/nowhere")
    assert ended.returncode == 2
    for part in [
        "error: cannot read the Python plugin slides.py:Jobs: there is no Python interpreter: ",
        "VIRTUAL_ENV: there is no /gone/bin/python",
        f"there is no .venv in {folder} or above",
        "there is no python3 on the PATH",
        "activate an environment with the package cobuf",
    ]:
        assert part in ended.stderr, ended.stderr


def test_interpreter_without_the_package_is_named(folder: Path) -> None:
    bare = folder / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    ended = cobuf_(folder, "inspect", "slides.py:Slides", VIRTUAL_ENV=None, CONDA_PREFIX=None, PYTHONPATH=None)
    assert ended.returncode == 2
    said = f"{bare}/bin/python (.venv), Python {sys.version.split()[0]}, cannot import the package cobuf"
    assert said in ended.stderr, ended.stderr
    assert f"install it with `{bare}/bin/python -m pip install cobuf`" in ended.stderr


def test_package_of_another_version_is_refused(folder: Path) -> None:
    other = folder / "site" / "cobuf"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("")
    (other / "_describe.py").write_text("def main():\n    print('{\"version\": \"0.0.1\"}')\n")
    ended = cobuf_(folder, "run", "slides.toml", PYTHONPATH=str(other.parent))
    assert ended.returncode == 2 and "has the version 0.0.1, expected " in ended.stderr, ended.stderr


def test_interpreter_is_chosen_by_option_key_and_script(folder: Path) -> None:
    nothing = {"VIRTUAL_ENV": None, "CONDA_PREFIX": None, "PATH": "/nowhere"}
    ended = cobuf_(folder, "run", "slides.toml", "--python", sys.executable, **nothing)
    assert ended.returncode == 0, ended.stderr
    pipeline(folder, more=f'[python]\ninterpreter = "{sys.executable}"\npreload = ["numpy", "json"]\n')
    for verb in (["run", "slides.toml"], ["bench", "slides.toml", "--seconds", "0.1", "--runs", "1"]):
        ended = cobuf_(folder, *verb, **nothing)
        assert ended.returncode == 0, ended.stderr
    pipeline(folder)
    script = [sys.executable, "-c", "from cobuf._command import main; main()", "run", "slides.toml"]
    ran = subprocess.run(script, cwd=folder, env=environment(**nothing), capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr


def test_forks_of_the_command_are_refused(folder: Path) -> None:
    pipeline(folder, more='start_method = "fork"\n')
    ended = cobuf_(folder, "run", "slides.toml")
    assert ended.returncode == 2
    assert "the commander is Python code, which forks of this application cannot run" in ended.stderr, ended.stderr


def test_module_that_cannot_be_preloaded_is_said(folder: Path) -> None:
    pipeline(folder, more='[python]\npreload = ["nothing_of_this_name"]\n')
    ended = cobuf_(folder, "run", "slides.toml")
    assert ended.returncode == 0 and "cannot preload nothing_of_this_name" in ended.stderr, ended.stderr


def test_preloaded_module_reads_the_variables_of_the_pipeline(folder: Path) -> None:
    library = folder / "site-packages"
    library.mkdir()
    (library / "told.py").write_text("import os, sys\nprint('threads', os.environ['OMP_NUM_THREADS'], file=sys.stderr)\n")
    pipeline(folder, more='env = { OMP_NUM_THREADS = "3" }\n[python]\npreload = ["told"]\n')
    ended = cobuf_(folder, "run", "slides.toml", PYTHONPATH=os.pathsep.join([str(library), os.environ.get("PYTHONPATH", "")]))
    assert ended.returncode == 0 and "threads 3\n" in ended.stderr, ended.stderr


@pytest.mark.parametrize("changed", ["slides.py", "helper.py"])
def test_edited_code_is_swapped_in_at_an_exact_batch(folder: Path, running, changed: str) -> None:
    pipeline(folder, length=1_000_000_000)
    watch = running("run", "slides.toml", "--watch", "--json")
    watch.wait_for("watching the plugins' sources")
    wait_until("some batches", lambda: len(log(folder)) > 20)
    if changed == "helper.py":
        (folder / "helper.py").write_text(HELPER.format(number=2))
    else:
        (folder / "slides.py").write_text(SLIDES.replace("helper.number()", "2"))
    watch.wait_for("the producer was swapped: from batch ")
    first = int(watch.said().split("the producer was swapped: from batch ")[1].split()[0])
    wait_until("batches of the new one", lambda: any(sequence > first for sequence, _, _ in log(folder)))
    code, out = watch.interrupt()
    assert code == 130 and json.loads(out)["swaps"] >= 1
    made = log(folder)
    # The rehearsal makes one message again, in a process of its own.
    rehearsed = {pid for sequence, number, pid in made if number == 2 and sequence < first}
    assert [sequence < first for sequence, _, pid in made if pid in rehearsed] == [True] * len(rehearsed)
    assert sorted(sequence for sequence, number, _ in made if number == 1) == list(range(first))
    assert {number for sequence, number, _ in made if sequence >= first} == {2}


def test_broken_edit_leaves_the_old_code_running(folder: Path, running) -> None:
    pipeline(folder, length=1_000_000_000)
    watch = running("watch", "slides.toml")
    watch.wait_for("watching the plugins' sources")
    (folder / "helper.py").write_text("def number(:\n")
    watch.wait_for("the old producer goes on")
    assert "SyntaxError" in watch.said()
    done = len(log(folder))
    wait_until("more batches", lambda: len(log(folder)) > done + 20)
    (folder / "helper.py").write_text(HELPER.format(number=3))
    watch.wait_for("the producer was swapped: from batch ")
    assert watch.interrupt()[0] == 130


def test_restarted_worker_has_the_code_of_the_start(folder: Path, running) -> None:
    pipeline(folder, length=1_000_000_000)
    run = running("run", "slides.toml", "--json")
    wait_until("some batches", lambda: len(log(folder)) > 20)
    (folder / "slides.py").write_text("raise RuntimeError('read again')\n")
    (folder / "helper.py").write_text("raise RuntimeError('read again')\n")
    before = {pid for _, _, pid in log(folder)}
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until("batches of new workers", lambda: len({pid for _, _, pid in log(folder)} - before) == 2)
    code, out = run.interrupt()
    told = json.loads(out)
    assert (code, told["errors"]) == (130, 0) and told["worker_restarts"] >= 2, told


def test_killed_fork_server_is_replaced_by_one_of_the_same_interpreter(folder: Path, running) -> None:
    pipeline(folder, length=1_000_000_000)
    run = running("run", "slides.toml", "--json")
    wait_until("some batches", lambda: len(log(folder)) > 20)
    before = {pid for _, _, pid in log(folder)}
    [fork_server] = (pid for pid in children(run.process.pid) if parent(pid) == run.process.pid)
    os.kill(fork_server, signal.SIGKILL)
    wait_until("batches of new workers", lambda: len({pid for _, _, pid in log(folder)} - before) == 2)
    code, out = run.interrupt()
    told = json.loads(out)
    assert (code, told["errors"], told["fork_server_restarts"]) == (130, 0, 1), told


def test_run_resumes_from_its_checkpoint(folder: Path, running) -> None:
    pipeline(folder, length=3000)
    whole = report(folder, "run", "slides.toml")
    (folder / "log").unlink()
    run = running("run", "slides.toml", "--checkpoint", "c.json", "--checkpoint-every", "1", "--json")
    wait_until("some batches", lambda: len(log(folder)) > 50)
    code, out = run.interrupt()
    first = json.loads(out)
    assert code == 130 and 0 < first["batches"] < 3000
    rest = report(folder, "run", "slides.toml", "--resume", "c.json", "--workers", "3")
    assert (rest["batches"], rest["content_digest"]) == (3000, whole["content_digest"])


def test_checkpoint_of_another_object_is_refused(folder: Path) -> None:
    assert report(folder, "run", "slides.toml", "--checkpoint", "c.json", "--batches", "3")["batches"] == 3
    (folder / "other.py").write_text(SLIDES)
    text = (folder / "slides.toml").read_text()
    (folder / "slides.toml").write_text(text.replace("slides.py:Slides", "other.py:Slides"))
    ended = cobuf_(folder, "run", "slides.toml", "--resume", "c.json", "--batches", "3")
    assert ended.returncode == 2
    assert "the producer is other.py:Slides, it was slides.py:Slides" in ended.stderr, ended.stderr


def test_ctrl_c_ends_workers_that_compute_for_ever(folder: Path, running) -> None:
    run = running("run", "slides.toml", "--set", "producer.hang=true", "--json")
    wait_until("a message", lambda: log(folder) != [])
    began = time.monotonic()
    code, out = run.interrupt()
    assert code == 130 and json.loads(out)["interrupted"]
    assert time.monotonic() - began < 60


def test_ctrl_c_ends_the_question_to_the_interpreter(folder: Path, running) -> None:
    (folder / "slides.py").write_text("open('began', 'w')\nwhile True:\n    pass\n")
    inspect = running("inspect", "slides.py:Slides")
    wait_until("the interpreter has begun", (folder / "began").exists)
    assert inspect.interrupt()[0] == 130


@pytest.mark.parametrize("kind", ["pipeline", "producer", "commander"])
def test_new_plugins_run_at_once(tmp_path: Path, kind: str) -> None:
    made = cobuf_(tmp_path, "new", kind, "--python", "tiles")
    assert made.returncode == 0 and "cobuf run tiles.toml" in made.stdout, made.stderr
    folder = tmp_path / "tiles"
    assert report(folder, "run", "tiles.toml")["batches"] == 100
    if kind == "pipeline":
        tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        tested = subprocess.run(tests, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300)
        assert tested.returncode == 0 and "4 passed" in tested.stdout, tested.stdout
        for plugin in ("producer.py:Samples", "commander.py:Batches"):
            assert report(folder, "check", plugin, "--pipeline", "tiles.toml", "--soak", "0.05")["passed"]
