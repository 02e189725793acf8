"""Work in a forked process that is killed at the n-th thing it does to a folder."""

import os
import signal
import sys
from collections.abc import Callable
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path

__all__ = ["digests", "kill_at", "kill_when"]

_EVENTS = frozenset({"os.rename", "os.remove", "os.mkdir", "shutil.rmtree"})
_WRITES = os.O_WRONLY | os.O_RDWR


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file of a folder; of ``pool.json`` without its cost."""
    import json

    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.name == "pool.json":
                told = json.loads(data)
                assert set(told.pop("cost")) >= {"generate_s", "calls", "peak_mib"}
                data = json.dumps(told).encode()
            found[path.relative_to(folder).as_posix()] = sha256(data).hexdigest()
    return found


def kill_at(event: int, folder: Path, work: Callable[[], object]) -> bool:
    """Do something in a child that is killed before its n-th change; was it killed?"""

    def run() -> None:
        seen = 0

        def look(name: str, arguments: tuple) -> None:
            nonlocal seen
            changes = name in _EVENTS or (name == "open" and arguments[2] & _WRITES)
            if changes and str(folder) in str(arguments[0]):
                seen += 1
                if seen == event:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(look)
        work()

    child = get_context("fork").Process(target=run)
    child.start()
    child.join(60)
    assert child.exitcode in {0, -signal.SIGKILL}, child.exitcode
    return child.exitcode != 0


def kill_when(ready: Callable[[], bool], work: Callable[[], object]) -> bool:
    """Do something in a child that is killed once something holds; was it killed?"""
    child = get_context("fork").Process(target=work)
    child.start()
    while child.is_alive() and not ready():
        child.join(0.001)
    child.kill()
    child.join(60)
    return child.exitcode != 0
