"""One shard from outside: its file, its outer blocks, the header of its side-car."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fiberaug.errors import FiberAugError
from fiberaug.shards.index import read_head
from fiberaug.shards.resolve import SIDE_CAR

__all__ = ["Shard", "look_at"]

_BLOCK = 512
_SUM = slice(148, 156)  # the checksum of a tar header, counted as if it were spaces
_COMPRESSED = {".gz", ".tgz", ".xz", ".zst"}


@dataclass(slots=True)
class Shard:
    """One shard, as far as it can be told from outside."""

    path: Path
    """Where it is."""

    bytes: int = 0
    """Size of the tar file."""

    samples: int | None = None
    """Number of samples; None without an index."""

    index: Path | None = None
    """The side-car, where there is one that can be read."""

    index_crc32: str | None = None
    """CRC-32 of the side-car, 8 hexadecimal digits."""

    trouble: str | None = None
    """Kind of trouble; None for a shard that can be read."""

    reason: str = ""
    """What exactly is wrong."""

    fetch: Callable[[], Path] | None = None
    """Fetches the side-car of a shard that is in a store."""

    older_index: bool = False
    """Whether the shard was changed after its side-car was written."""

    @property
    def name(self) -> str:
        """File name."""
        return self.path.name


class _Trouble(Exception):
    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(kind, reason)
        self.kind, self.reason = kind, reason


def look_at(path: Path, index_dir: str | Path, *, ends: bool = True) -> Shard:
    """Return what can be told of a shard without reading it; about 30 us.

    Args:
        path: The tar file.
        index_dir: Folder of its side-car.
        ends: Read its first and last blocks, too.
    """
    shard = Shard(path)
    try:
        changed = _file(shard)
        if ends:
            _ends(shard)
        side_car = os.path.join(index_dir, path.name + SIDE_CAR)  # noqa: PTH118  # as in _file
        _side_car(shard, side_car, changed)
    except _Trouble as trouble:
        shard.trouble, shard.reason = trouble.kind, trouble.reason
    return shard


def _file(shard: Shard) -> int:
    """Return when the shard was changed, ns."""
    try:
        found = os.stat(shard.path)  # noqa: PTH116  # Path.stat takes twice as long
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise _Trouble("missing", reason) from error
    shard.bytes = found.st_size
    if not stat.S_ISREG(found.st_mode):
        raise _Trouble("unreadable", "it is no file")
    if shard.path.suffix in _COMPRESSED:
        raise _Trouble("unreadable", "a compressed tar has no positions to seek to")
    if not found.st_size:
        raise _Trouble("damaged", "0 bytes")
    if found.st_size % _BLOCK:
        reason = f"{found.st_size} bytes is no multiple of {_BLOCK}: the tar is cut"
        raise _Trouble("damaged", reason)
    return found.st_mtime_ns


def _ends(shard: Shard) -> None:
    try:
        with open(shard.path, "rb", buffering=0) as file:  # noqa: PTH123  # Path.open takes twice as long
            first = file.read(_BLOCK)
            file.seek(max(0, shard.bytes - 2 * _BLOCK))
            last = file.read(2 * _BLOCK)
    except OSError as error:
        raise _Trouble("unreadable", error.strerror or str(error)) from error
    stated = first[_SUM].strip(b"\0 ")
    try:
        begins = int(stated, 8) == sum(first) - sum(first[_SUM]) + 8 * ord(" ")
    except ValueError:
        begins = False
    if not begins:
        raise _Trouble("damaged", "it does not begin like a tar file")
    if last.strip(b"\0"):
        reason = "the end-of-archive mark is missing: the tar is cut"
        raise _Trouble("damaged", reason)


def _side_car(shard: Shard, path: str, changed: int) -> None:
    try:
        found = os.stat(path)  # noqa: PTH116  # as above
    except OSError:
        return
    try:
        head = read_head(Path(path), shard=shard.name)
    except FiberAugError as error:
        raise _Trouble("bad index", error.message) from error
    if head.size != found.st_size:
        reason = f"{found.st_size} bytes, its header says {head.size}"
        raise _Trouble("bad index", reason)
    if head.shard_bytes != shard.bytes:
        reason = f"{shard.bytes} bytes, its index says {head.shard_bytes}"
        raise _Trouble("size differs", reason)
    shard.index, shard.samples = Path(path), head.samples
    shard.index_crc32 = head.digest
    shard.older_index = found.st_mtime_ns < changed
