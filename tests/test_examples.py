"""Every example runs and prints what its docstring says."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("[0-9]*.py"))


def promised(path: Path) -> list[str]:
    """The lines behind ``Prints:`` in an example's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    block = text.split("Prints:", 1)[1].split("Why:", 1)[0]
    return [line.strip() for line in block.strip().splitlines()]


def test_there_are_examples():
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_what_it_promises(path, tmp_path):
    """``...`` in a promised line stands for anything."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        cwd=tmp_path,
        env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    pattern = "\n".join(
        ".*".join(map(re.escape, line.split("..."))) for line in promised(path)
    )
    assert re.fullmatch(pattern, done.stdout.strip()), done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_what_how_and_why(path):
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""

    assert f"Run:     python examples/{path.name}" in text
    assert "Why:" in text
    assert len(path.read_text(encoding="utf-8").splitlines()) < 100
