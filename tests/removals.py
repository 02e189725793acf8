"""Takes handlers of the hazard table out of a copy of the package: who notices?

``python tests/removals.py [ID ...]`` does it for all rows or some.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from hazards import REMOVALS, Removal

import fiberaug

__all__ = ["notices"]

ROOT = Path(__file__).parents[1]
_THE_COPY = "import fiberaug, sys; sys.exit(sys.argv[1] not in fiberaug.__file__)"


def notices(removal: Removal, home: Path) -> bool:
    """Return whether the test fails once the handler is out of a copy.

    Args:
        removal: What is taken out.
        home: An empty folder for the copy.

    Raises:
        ValueError: The text does not stand in the file exactly once.
        RuntimeError: The test was not found or did not begin.
    """
    _copy(home)
    file = home / "fiberaug" / removal.file
    source = file.read_text(encoding="utf-8")
    if source.count(removal.text) != 1:
        raise ValueError(f"{removal.file} has {removal.text!r} not exactly once")
    file.write_text(source.replace(removal.text, removal.instead), encoding="utf-8")
    return not _passes(home, removal.test)


def _copy(home: Path) -> None:
    """Put the package and its tests where changes hurt nobody."""
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(fiberaug.__file__).parent, home / "fiberaug", ignore=without)
    shutil.copytree(ROOT / "tests", home / "tests", ignore=without)
    shutil.copy(ROOT / "pyproject.toml", home)


def _passes(home: Path, test: str) -> bool:
    """Return whether a test passes in a copy."""
    env = os.environ | {"PYTHONPATH": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    # In CI pytest shows the whole difference of two values: minutes for a megabyte.
    env.pop("CI", None)
    command = [sys.executable, "-c", _THE_COPY, str(home)]
    subprocess.run(command, env=env, cwd=home, check=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test],
        env=env, cwd=home, capture_output=True, text=True, check=False, timeout=220,
    )  # fmt: skip
    if done.returncode not in {0, 1}:
        raise RuntimeError(f"{test} did not run: {done.stdout[-2000:]}{done.stderr}")
    return done.returncode == 0


if __name__ == "__main__":
    for one in REMOVALS:
        if len(sys.argv) == 1 or one.row in sys.argv[1:]:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    said = "noticed" if notices(one, Path(folder)) else "NOT NOTICED"
                except (ValueError, RuntimeError) as error:
                    said = f"NOT RUN ({str(error)[:200]!r})"
            sys.stdout.write(f"{one.row}  {said}  {one.handler}\n")
