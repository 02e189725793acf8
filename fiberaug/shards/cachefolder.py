"""The folder of the cache: whose it is, what lies in it, what has to go."""

import logging
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

from filelock import FileLock, Timeout

from fiberaug.errors import SecurityRefused, StoreError
from fiberaug.processes import process_stat
from fiberaug.sizes import format_bytes

__all__ = [
    "OBJECT",
    "Part",
    "default_folder",
    "make_folder",
    "make_private",
    "parts_of",
    "room_for",
    "sweep",
]

_log = logging.getLogger("fiberaug")
OBJECT = ".data"
_PART = ".part"
_MARK_S = 86_400.0  # a file that was fetched twice may be, once more, tomorrow


def default_folder() -> Path:
    """Return this user's cache: ``$XDG_CACHE_HOME/fiberaug``, else in ``~/.cache``."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(given) if given.startswith("/") else Path("~/.cache").expanduser()
    return home / "fiberaug"


def make_folder(folder: Path) -> None:
    """Make the folder that the user named.

    Raises:
        StoreError: It cannot be made.
        SecurityRefused: Everybody can rename what lies in it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = folder.stat().st_mode
    except OSError as error:
        raise _cannot_make(folder, error) from error
    if sys.platform != "win32" and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise _refusal(folder, f"can be written by all (mode {stat.S_IMODE(mode):o})")


def make_private(folder: Path) -> None:
    """Make a folder that only this user can write to.

    Raises:
        StoreError: It cannot be made.
        SecurityRefused: It is a link, another user's, or others can write to it: they
            could put their shards there.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise _cannot_make(folder, error) from error
    if sys.platform == "win32":
        return
    reason = None
    if not stat.S_ISDIR(status.st_mode):
        reason = "is no folder but a link"
    elif status.st_uid != os.geteuid():
        reason = f"belongs to user {status.st_uid}, not to {os.geteuid()}"
    elif status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        reason = f"can be written by others (mode {stat.S_IMODE(status.st_mode):o})"
    if reason is not None:
        raise _refusal(folder, reason)


def _cannot_make(folder: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cannot make the cache {folder}: {error.strerror or error}; give another"
        " cache_dir"
    )


def _refusal(folder: Path, reason: str) -> SecurityRefused:
    return SecurityRefused(
        f"the cache {folder} {reason}, so others could put shards there; give a"
        " cache_dir of your own with mode 700"
    )


class Part(NamedTuple):
    """An object that is being fetched: ``<key>.<announced>.<pid>-<start>.part``."""

    path: Path
    announced: int

    @classmethod
    def own(cls, key: str, announced: int | None) -> Self:
        """Return the name of a part of this process and thread."""
        number = _started.setdefault(key, 0)
        _started[key] = number + 1
        name = f"{key}.{announced or 0}.{os.getpid()}-{_process_start()}-{number}"
        return cls(Path(name + _PART), announced or 0)

    @property
    def name(self) -> str:
        """File name."""
        return self.path.name

    def size(self) -> int:
        """Return the bytes that are there."""
        try:
            return self.path.lstat().st_size
        except FileNotFoundError:
            return 0


_started: dict[str, int] = {}


def _process_start() -> str:
    """Return when this process started, clock ticks since boot; 0 where unknown."""
    words = process_stat()
    return words[19] if words else "0"


def parts_of(folder: Path, key: str = "") -> list[Part]:
    """Return the parts of an object, or of all, the smallest first."""
    found = []
    for path in folder.glob(f"{key}*{_PART}"):
        announced = path.name.split(".")[1]
        found.append(Part(path, int(announced) if announced.isdecimal() else 0))
    return sorted(found, key=Part.size)


def room_for(folder: Path, incoming: int, limit: int, *, keep: Path | None) -> None:
    """Remove the objects that were not used for longest until ``incoming`` bytes fit.

    Args:
        folder: The objects.
        incoming: Bytes to come.
        limit: Most bytes of all objects and parts.
        keep: A part that will be one of the incoming bytes.
    """
    objects: list[tuple[int, int, str]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(OBJECT):
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                objects.append((status.st_mtime_ns, status.st_size, entry.path))
    parts = sum(max(p.size(), p.announced) for p in parts_of(folder) if p.path != keep)
    excess = sum(size for _, size, _ in objects) + parts + incoming - limit
    for _, size, path in sorted(objects):
        if excess <= 0:
            return
        try:
            os.unlink(path)  # noqa: PTH108  # a Path for each of 50,000 objects is slow
        except OSError:  # gone, or (Windows) mapped by a process
            continue
        Path(path).with_suffix(".again").unlink(missing_ok=True)
        excess -= size
    if excess > 0:
        _log.warning(
            "the cache %s is %s over its limit of %s: more is being fetched at one time"
            " than it may hold",
            folder.parent,
            format_bytes(excess),
            format_bytes(limit),
        )


def sweep(folder: Path, lock_of: Callable[[str], FileLock]) -> None:
    """Remove what dead processes left: parts that nobody holds the lock of.

    The lock decides, not the process number: the processes of two containers that share
    the folder do not see each other.
    """
    for part in parts_of(folder):
        lock = lock_of(part.name)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            part.path.unlink(missing_ok=True)
        finally:
            lock.release()
    for mark in folder.glob("*.again"):
        if not mark.with_suffix(OBJECT).exists() or _age_s(mark) > _MARK_S:
            mark.unlink(missing_ok=True)


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0
