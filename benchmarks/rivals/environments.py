"""Environments of rivals that cannot live beside the package, made once.

``.bench/<name>/`` is what ``<name>.txt`` installs. Where that fails the rival is
absent, with the reason.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile

from entrants import Entrant

__all__ = ["ROOT", "find_environment", "run_quietly"]

ROOT = Path(__file__).parents[2]
_LIMIT_S = 3600
_OWN_NUMPY = {"mosaicml"}  # what does not go with constraints.txt


class CannotMake(Exception):
    """An environment cannot be had; the text says why."""


def find_environment(
    entrant: Entrant, root: Path, lists: Path = Path(__file__).parent
) -> Path:
    """Return the Python of an entrant's environment, made first where it is not there.

    Args:
        entrant: Whose.
        root: Folder of environments.
        lists: Folder of what they install.

    Raises:
        CannotMake: It cannot be made.
    """
    if entrant.home == "venv":
        return Path(sys.executable)
    wanted = lists / f"{entrant.home}.txt"
    folder = root / entrant.home
    python, stamp = folder / "bin/python", folder / ".made"
    digest = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return python
    print(f"race: making {entrant.home} (once; minutes)", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    _call([sys.executable, "-m", "venv", str(folder)])
    pip = [str(python), "-m", "pip", "--quiet", "--no-input", "install"]
    if entrant.home not in _OWN_NUMPY:
        pip += ["-c", str(ROOT / "constraints.txt")]
    torch = [line for line in wanted.read_text().splitlines() if "torch==" in line]
    if (
        torch
    ):  # first and alone: an index may have a smaller build than a rival asks for
        _call([*pip, torch[0], "setuptools", "wheel"])
    _call([*pip, "-r", str(wanted)])
    stamp.write_text(digest)
    return python


def _call(command: list[str]) -> None:
    done = run_quietly(command, limit_s=_LIMIT_S)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise CannotMake((lines or done.stderr.splitlines() or ["no reason given"])[0])


def run_quietly(command: list[str], limit_s: float) -> subprocess.CompletedProcess[str]:
    """Run a command from the repository's root; what it started ends with it."""
    # Files, not pipes: a process that a rival left behind would keep a pipe open.
    with TemporaryFile("w+") as out, TemporaryFile("w+") as error:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=out, stderr=error, start_new_session=True,
            env=os.environ | {"NO_ALBUMENTATIONS_UPDATE": "1"},
        )  # fmt: skip
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = 124
            error.write(f"\nno end within {limit_s:.0f} s\n")
        finally:
            _end(process.pid)
            process.wait()
        out.seek(0)
        error.seek(0)
        return subprocess.CompletedProcess(command, code, out.read(), error.read())


def _end(group: int) -> None:
    try:
        os.killpg(group, 9)
    except ProcessLookupError:
        return
