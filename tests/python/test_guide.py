"""The Python code of the README and of the guide: each block runs as a script of its own, in a folder
of its own, and prints what the text block behind it says."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import REPOSITORY, environment

FILES = [REPOSITORY / "host" / "python" / name for name in ("README.md", "guide.md")]
# A block, and the output behind it if there is one.
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
IMPORTED = re.compile(r"^\s*(?:import|from) (\w+)", re.MULTILINE)


class Block(NamedTuple):
    code: str
    printed: str | None


def blocks(file: Path) -> dict[str, Block]:
    """By file and line, as an editor finds them."""
    text = file.read_text()
    return {
        f"{file.name}:{text.count(chr(10), 0, match.start()) + 1}": Block(match[1], match[2])
        for match in BLOCK.finditer(text)
    }


BLOCKS = {place: block for file in FILES for place, block in blocks(file).items()}


def test_no_block_is_left_out():
    assert len(BLOCKS) == sum(file.read_text().count("```python") for file in FILES) > 0


@pytest.mark.parametrize("place", BLOCKS)
def test_block_runs(place, tmp_path):
    code, printed = BLOCKS[place]
    if missing := [name for name in dict.fromkeys(IMPORTED.findall(code)) if importlib.util.find_spec(name) is None]:
        pytest.skip(f"left out, for want of {', '.join(missing)}: {place}")
    script = tmp_path / "script.py"
    script.write_text(code)
    ran = subprocess.run(
        [sys.executable, script.name],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    assert printed in (None, ran.stdout), (ran.stdout, ran.stderr)
