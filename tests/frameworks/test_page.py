"""The blocks of docs/frameworks.md that bring a framework of their own run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from launching import environment

PAGE = Path(__file__).parents[2] / "docs" / "frameworks.md"


@pytest.mark.timeout(240)
def test_the_page_of_frameworks_runs_from_top_to_bottom(tmp_path):
    """In another process: frameworks warn, and Accelerate's state would stay here."""
    blocks = re.findall(
        r"```python[^\n]*\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL
    )
    marked = re.findall(r"```python in-a-process-of-its-own", PAGE.read_text("utf-8"))
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-4000:]
    assert len(marked) == 3
