"""Python code is read once: all processes of an edition run the same, whatever becomes of its files."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import textwrap

import numpy
import pytest
from conftest import environment
from runs import ONE, batches

import cobuf

SLIDES = """
import numpy, cobuf
import {helper}

class Slides:
    arrays = {{"x": cobuf.Array("int64", (2,))}}

    def produce(self, message):
        if message == 1_000_000:
            raise ValueError("no such slide")  # edition {number}
        import {late}
        return numpy.array([message + {number}, {helper}.NUMBER + {late}.NUMBER])
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    """Writes an edition of a module and its two helpers. Their names are new in each test."""
    names = {what: f"{what}_{os.getpid()}_{tmp_path.name}" for what in ("slides", "helper", "late")}
    names = {what: "".join(c if c.isalnum() else "_" for c in name) for what, name in names.items()}
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(number):
        text = SLIDES.format(number=number, helper=names["helper"], late=names["late"])
        (tmp_path / f"{names['slides']}.py").write_text(text)
        for what in ("helper", "late"):
            (tmp_path / f"{names[what]}.py").write_text(f"NUMBER = {number}\n")

    write(100)
    write.module, write.file = names["slides"], tmp_path / f"{names['slides']}.py"
    yield write
    for name in names.values():
        sys.modules.pop(name, None)


def kill_a_worker(loader):
    statistics = loader.statistics()
    processes = [pid for pid in statistics["processes"] if pid != statistics["fork_server"]]
    os.kill(processes[-1], signal.SIGKILL)


def named(form, code):
    if form == "class":
        return importlib.import_module(code.module).Slides
    return f"{code.module}:Slides" if form == "module:name" else f"{code.file}:Slides"


FORMS = ["class", "module:name", "file.py:Name"]


@pytest.mark.parametrize("form", FORMS)
def test_worker_that_restarts_after_an_edit_runs_the_code_of_before(form, code):
    with cobuf.Loader(commander=range(10**9), producer=named(form, code), workers=2) as loader:
        seen = [next(loader)["x"].tolist() for _ in range(20)]
        code(200)
        kill_a_worker(loader)
        os.kill(loader.statistics()["fork_server"], signal.SIGKILL)
        while not loader.statistics()["fork_server_restarts"]:
            seen.append(next(loader)["x"].tolist())
        seen += [next(loader)["x"].tolist() for _ in range(50)]
    assert seen == [[n + 100, 200] for n in range(len(seen))]


@pytest.mark.parametrize("form", FORMS)
def test_swap_takes_edited_code_in_at_an_exact_batch(form, code):
    producer = named(form, code)
    with cobuf.Loader(commander=range(400), producer=producer, workers=2) as loader:
        seen = [next(loader)["x"].tolist() for _ in range(20)]
        code(200)
        first = loader.swap_producer(producer)
        seen += [next(loader)["x"].tolist() for _ in range(100)]
        second = loader.roll_back()
        seen += [batch["x"].tolist() for batch in loader]
    assert 20 <= first <= second
    edition = [200 if first <= n < second else 100 for n in range(400)]
    assert seen == [[n + number, 2 * number] for n, number in enumerate(edition)]


def test_edit_that_cannot_run_leaves_the_old_code(code):
    with cobuf.Loader(commander=range(400), producer=f"{code.file}:Slides", workers=2) as loader:
        seen = [int(next(loader)["x"][0]) for _ in range(20)]
        code.file.write_text("class Slides:\n    def produce(self:\n")
        with pytest.raises(RuntimeError, match=r"SyntaxError: .*slides.*\.py, line 2"):
            loader.swap_producer(f"{code.file}:Slides")
        seen += [int(batch["x"][0]) for batch in loader]
    assert seen == [n + 100 for n in range(400)]


@pytest.mark.parametrize("form", FORMS)
def test_traceback_shows_the_line_that_ran_and_not_the_edited_one(form, code):
    with cobuf.Loader(commander=[0, 1_000_000], producer=named(form, code), workers=1, max_attempts=1) as loader:
        next(loader)
        code.file.write_text("# another first line\n" + code.file.read_text().replace("edition 100", "edited"))
        with pytest.raises(cobuf.BatchError) as error:
            next(loader)
    assert 'raise ValueError("no such slide")  # edition 100' in error.value.chain[1], error.value.chain


def test_modules_of_a_package_are_found_also_by_relative_imports(tmp_path, monkeypatch):
    package = tmp_path / "pathology"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("from .numbers import ONE\n")
    (package / "numbers.py").write_text("ONE = 1\n")
    (package / "inner" / "__init__.py").write_text("")
    (package / "inner" / "slides.py").write_text(
        "import numpy, cobuf\nfrom .. import numbers\nfrom ..numbers import ONE\n\n"
        "@cobuf.producer(arrays={'x': cobuf.Array('int64', (3,))})\n"
        "def make(message):\n    return numpy.array([message, ONE, numbers.ONE])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with cobuf.Loader(commander=range(4), producer="pathology.inner.slides:make", workers=1) as loader:
        for file in package.rglob("*.py"):
            file.unlink()
        assert [batch["x"].tolist() for batch in loader] == [[n, 1, 1] for n in range(4)]


def test_only_the_user_s_own_modules_travel(code):
    from cobuf import _objects

    carried = _objects.code_of("producer", f"{code.module}:Slides")["modules"]
    assert sorted(carried) == sorted(name for name in carried if "_" in name) and len(carried) == 3, list(carried)
    own = _objects.code_of("producer", importlib.import_module(code.module).Slides)
    assert sorted(own["modules"]) == sorted(carried) and "numpy" not in own["modules"]


def test_large_object_costs_its_size_once_for_each_start():
    """30 MB in a closure, many restarts."""
    table = numpy.arange(30_000_000, dtype="uint8")

    def make(message):
        return numpy.full(3, int(table[message]))

    with cobuf.Loader(commander=range(60), producer=cobuf.producer(arrays=ONE)(make), workers=2) as loader:
        seen = []
        for batch in loader:
            seen.append(int(batch["x"][0]))
            if batch.sequence % 20 == 10:
                kill_a_worker(loader)
    assert seen == list(range(60))


def run(arguments, text="", **options):
    return subprocess.run(
        [sys.executable, *arguments],
        input=textwrap.dedent(text),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
        **options,
    )


SCRIPT = """
import sys, numpy, cobuf

class Make:
    arrays = {"x": cobuf.Array("int64", (1,))}

    def produce(self, message):
        if message == 1:
            raise ValueError("bad slide")  # the line
        return numpy.full(1, message)

# The second cell:
with cobuf.Loader(commander=range(2), producer=Make, workers=1) as loader:
    if "edit" in sys.argv:
        open(__file__, "w").write("edited")
    for item in loader.results():
        print(item if isinstance(item, cobuf.Batch) else item.chain)
"""


@pytest.mark.parametrize("how", ["script", "script that is edited", "-c", "module"])
def test_main_script_s_lines_are_in_tracebacks(how, tmp_path):
    file = tmp_path / "main_script.py"
    file.write_text(SCRIPT)
    arguments = {
        "script": [file],
        "script that is edited": [file, "edit"],
        "-c": ["-c", SCRIPT],
        "module": ["-m", "main_script"],
    }[how]
    ran = run(arguments, cwd=tmp_path)
    assert "ValueError: bad slide (" in ran.stdout and 'raise ValueError("bad slide")  # the line' in ran.stdout, ran


def test_notebook_s_cells_are_in_tracebacks():
    """As IPython does it: a cell's code has a name of its own, which linecache knows."""
    ran = run(
        ["-"],
        f"""
        import linecache
        first, second = {SCRIPT!r}.split("# The second cell:")
        for number, cell in enumerate([first, second]):
            name = f"/tmp/ipykernel_1/{{number}}.py"
            linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
            exec(compile(cell, name, "exec"), globals())
        """,
    )
    assert 'raise ValueError("bad slide")  # the line' in ran.stdout and "/tmp/ipykernel_1/0.py:9 in produce" in ran.stdout, ran


def test_class_of_a_test_module_travels_with_it():
    assert isinstance(batches(Local)[0], cobuf.Batch)


class Local:
    arrays = ONE

    def produce(self, message):
        return numpy.full(3, message)
