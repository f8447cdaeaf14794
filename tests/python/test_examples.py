"""The examples of `examples/python`, each run as its first line says."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import pytest
from conftest import REPOSITORY, environment

FOLDER = REPOSITORY / "examples" / "python"
# What each prints, and which modules it needs beside the package.
EXAMPLES = {
    "quickstart": (rf"{4 * sum(n**2 for n in range(1000))} in all\n", []),
    "main_script": (r"(.*\n)*the new code made all batches from its first one on: True\n", []),
    "hard_examples": (r"images in turn: +{0}half of them hard: +{0}".format(r"95 % of the held-out digits after \d+ batches\n"), []),
    "saved_batches": (r"20 batches given back, the same as before: True\n", []),
    "slides": (r"640 patches of 3 slides, each where its metadata says; 50% tissue\n", ["openslide", "tifffile"]),
    "digits_torch": (r"(epoch .*\n){15}9\d\.\d % of the 359 held-out digits are right\n", ["torch"]),
    "ray_data": (
        r"dataset: 40 batches, the numbers of one loader: True\nactors: 40 batches, the numbers of one loader: True\n",
        ["ray"],
    ),
    "jax_put": (r"16384 rows on \w+: their covariance is off by 0\.0\d\d\n", ["jax"]),
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs an interpreter to its end."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=600,
    )


def test_each_example_is_among_these():
    assert {path.stem for path in FOLDER.glob("*.py")} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_prints_what_it_should(name):
    printed, needed = EXAMPLES[name]
    if missing := [module for module in needed if importlib.util.find_spec(module) is None]:
        pytest.skip(f"left out, for want of {', '.join(missing)}: examples/python/{name}.py")
    ran = run(str(FOLDER / f"{name}.py"))
    assert ran.returncode == 0, ran.stderr
    assert re.fullmatch(printed, ran.stdout), (ran.stdout, ran.stderr)


@pytest.mark.parametrize("name", [name for name, (_, needed) in EXAMPLES.items() if needed])
def test_example_says_what_to_install(name):
    # As in an environment without the modules.
    hide = "; ".join(f"sys.modules[{module!r}] = None" for module in EXAMPLES[name][1])
    code = f"import runpy, sys; {hide}; runpy.run_path({str(FOLDER / f'{name}.py')!r}, run_name='__main__')"
    ran = run("-c", code)
    assert ran.returncode == 1 and "this example needs" in ran.stderr and "pip install" in ran.stderr, ran.stderr
    assert "Traceback" not in ran.stderr
