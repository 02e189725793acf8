"""The side-car ``<shard>.tar.idx``: where every sample lies and what it is.

A 64-byte header, a directory of columns, then fixed-width columns at multiples of 64
bytes, so that the file is used through an mmap without being parsed. A reader skips
columns that it does not know; a missing one that it needs is an error.

Header, little-endian: magic ``FBAUGIDX``, version u32, columns u32, samples u64,
members u64, bytes of the shard u64, bytes of the index u64, CRC-32 of all that follows
the header u32, CRC-32 of the 52 bytes before it u32, 8 zero bytes. Directory entry,
48 bytes: name 24s, dtype 8s, offset u64, length u64.
"""

import mmap
import struct
import zlib
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import ShardDamaged, StoreError

__all__ = [
    "COLUMNS",
    "DECODES",
    "Facts",
    "Field",
    "Head",
    "IndexBuilder",
    "ShardIndex",
    "read_head",
]

MAGIC = b"FBAUGIDX"
VERSION = 1
DECODES = 1
"""Bit of ``flags``: the sample was decoded in full when the index was made."""

_HEADER = struct.Struct("<8sIIQQQQII8x")
_ENTRY = struct.Struct("<24s8sQQ")
_ALIGN = 64
_MOST_EXTENSIONS = 2**16

COLUMNS = {
    # for each sample
    "first_member": "<u4",
    "members": "<u4",
    "label": "<i8",  # class id; -1: none, or not an integer
    "class_rank": "<u4",  # how many samples of the class stand before it in the shard
    "width": "<u4",  # upright, px; 0: not known
    "height": "<u4",
    "orientation": "|u1",  # EXIF, 1 to 8; 0: not known
    "boxes": "<u4",
    "group": "<u8",  # 0: none
    "weight": "<f4",
    "flags": "|u1",
    "key_offset": "<u4",  # one more than samples
    # for each member
    "offset": "<u8",
    "size": "<u8",
    "crc32": "<u4",
    "extension": "<u2",  # number in the list of extensions
    # text
    "keys": "|u1",
    "extensions": "|u1",  # joined by NUL
}


_TYPES = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "i8": "q", "f4": "f"}  # of array


class Field(NamedTuple):
    """One member of a sample."""

    extension: str
    offset: int
    size: int
    crc32: int | None


class Facts(NamedTuple):
    """What the index says of a sample beside where it lies."""

    label: int = -1
    width: int = 0
    height: int = 0
    orientation: int = 0
    boxes: int = 0
    group: int = 0
    weight: float = 1.0
    flags: int = 0


class ShardIndex:
    """The index of one shard, mapped from its side-car or made in memory.

    Args:
        columns: Arrays by name, see :data:`COLUMNS`.
        shard_bytes: Size of the shard.
        shard: Name for errors.
    """

    def __init__(
        self, columns: Mapping[str, NDArray[Any]], *, shard_bytes: int, shard: str
    ) -> None:
        missing = set(COLUMNS) - set(columns) - {"crc32"}
        if missing:
            raise ShardDamaged(
                f"the index lacks the columns {sorted(missing)}; make it again with"
                " `fiberaug index`",
                shard=shard,
                stage="index",
            )
        self.columns = dict(columns)
        self.shard_bytes = shard_bytes
        self.shard = shard
        self._extensions = _text(columns["extensions"]).split("\0")
        self._keys = columns["keys"]
        self._has_crc = "crc32" in columns
        self._numbers: dict[str, int] | None = None
        self.digest: str | None = None
        """CRC-32 of a mapped side-car, 8 hexadecimal digits."""

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.columns["first_member"])

    def key(self, i: int) -> str:
        """Return the key of sample ``i``."""
        ends = self.columns["key_offset"]
        return _text(self._keys[int(ends[i]) : int(ends[i + 1])])

    def fields(self, i: int) -> list[Field]:
        """Return the members of sample ``i`` in the shard's order."""
        columns = self.columns
        first = int(columns["first_member"][i])
        last = first + int(columns["members"][i])
        rows = zip(
            columns["extension"][first:last].tolist(),
            columns["offset"][first:last].tolist(),
            columns["size"][first:last].tolist(),
            columns["crc32"][first:last].tolist()
            if self._has_crc
            else [None] * (last - first),
            strict=True,
        )
        return [Field(self._extensions[e], o, s, c) for e, o, s, c in rows]

    def find(self, key: str) -> int | None:
        """Return the number of the sample with a key, or None."""
        if self._numbers is None:
            self._numbers = {self.key(i): i for i in range(len(self))}
        return self._numbers.get(key)

    def to_bytes(self) -> bytes:
        """Return the side-car's content."""
        parts: list[bytes] = []
        entries: list[bytes] = []
        present = {name: kind for name, kind in COLUMNS.items() if name in self.columns}
        at = _HEADER.size + _ENTRY.size * len(present)
        for name, dtype in present.items():
            data = np.ascontiguousarray(self.columns[name], dtype).tobytes()
            gap = -at % _ALIGN
            entries.append(
                _ENTRY.pack(
                    name.encode(), dtype.encode(), at + gap, len(self.columns[name])
                )
            )
            parts += [bytes(gap), data]
            at += gap + len(data)
        body = b"".join(entries + parts)
        head = (MAGIC, VERSION, len(present), len(self), len(self.columns["offset"]),
                self.shard_bytes, at, zlib.crc32(body))  # fmt: skip
        return _HEADER.pack(*head, zlib.crc32(_HEADER.pack(*head, 0)[:52])) + body

    @classmethod
    def open(cls, path: Path, *, shard: str) -> "ShardIndex":
        """Map a side-car.

        Raises:
            StoreError: The file cannot be read.
            ShardDamaged: It is not an index, is damaged, or is of a newer version.
        """
        try:
            with path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise _damage("is empty", path, shard) from None
        except OSError as error:
            raise StoreError(
                f"cannot read index {path}: {error}", shard=shard
            ) from error
        head = _head(data[: _HEADER.size], path, shard)
        with memoryview(data) as view:
            whole = len(data) == head.size
            sound = whole and zlib.crc32(view[_HEADER.size :]) == head.crc32
        if not sound:
            raise _damage("does not have its checksum", path, shard)
        try:
            arrays = _columns(data, head.columns)
        except (struct.error, ValueError, OverflowError) as error:
            raise _damage(f"has a column that is none: {error}", path, shard) from error
        index = cls(arrays, shard_bytes=head.shard_bytes, shard=shard)
        if not _consistent(arrays, head.samples, head.members, len(index._extensions)):
            raise _damage("does not have the rows that it states", path, shard)
        index.digest = head.digest
        return index


class Head(NamedTuple):
    """The header of a side-car: enough to count and to name a shard."""

    magic: bytes
    version: int
    columns: int
    samples: int
    members: int
    shard_bytes: int
    size: int
    crc32: int
    head_crc32: int

    @property
    def digest(self) -> str:
        """CRC-32 of all that follows the header, 8 hexadecimal digits."""
        return f"{self.crc32:08x}"


def read_head(path: Path, *, shard: str) -> Head:
    """Return the header of a side-car; the rest is not read.

    Raises:
        StoreError: The file cannot be read.
        ShardDamaged: It is not an index, is damaged, or is of a newer version.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_HEADER.size)
    except OSError as error:
        raise StoreError(f"cannot read index {path}: {error}", shard=shard) from error
    return _head(data, path, shard)


def _head(data: bytes, path: Path, shard: str) -> Head:
    if len(data) < _HEADER.size or data[:8] != MAGIC:
        raise _damage("is no index of FiberAug", path, shard)
    head = Head(*_HEADER.unpack(data))
    if head.version > VERSION:
        raise _damage(
            f"has version {head.version}, this release reads 1 to {VERSION}",
            path,
            shard,
        )
    packed = _HEADER.pack(*head[:-1], 0)
    if zlib.crc32(packed[:52]) != head.head_crc32 or _HEADER.pack(*head) != data:
        raise _damage("does not have its checksum", path, shard)
    return head


def _text(data: NDArray[np.uint8]) -> str:
    # A checksum proves no good will: bytes that are no UTF-8 must not stop a run.
    return data.tobytes().decode(errors="backslashreplace")


def _columns(data: mmap.mmap, count: int) -> dict[str, NDArray[Any]]:
    """Return the columns that this release knows."""
    arrays: dict[str, NDArray[Any]] = {}
    for i in range(count):
        entry = _ENTRY.unpack_from(data, _HEADER.size + i * _ENTRY.size)
        name = entry[0].rstrip(b"\0").decode(errors="replace")
        if name not in COLUMNS:
            continue
        kind = entry[1].rstrip(b"\0").decode(errors="replace")
        if kind != COLUMNS[name]:
            raise ValueError(f"{name} has type {kind!r}, expected {COLUMNS[name]!r}")
        arrays[name] = np.frombuffer(data, kind, entry[3], entry[2])
    return arrays


def _consistent(
    columns: Mapping[str, NDArray[Any]], samples: int, members: int, extensions: int
) -> bool:
    """Return whether all rows are there and point into each other."""
    lengths = {"key_offset": samples + 1}
    lengths |= dict.fromkeys(("offset", "size", "crc32", "extension"), members)
    rows_fit = all(
        len(columns[name]) == lengths.get(name, samples)
        for name in COLUMNS
        if name in columns and name not in {"keys", "extensions"}
    )
    if not rows_fit:
        return False
    ends = columns["key_offset"]
    last_member = columns["first_member"].astype(np.uint64) + columns["members"]
    return bool(
        (ends[1:] >= ends[:-1]).all()
        and ends[-1] <= len(columns["keys"])
        and last_member.max(initial=0) <= members
        and columns["extension"].max(initial=0) < extensions
    )


def _damage(what: str, path: Path, shard: str) -> ShardDamaged:
    return ShardDamaged(
        f"{path.name} {what}; make it again with `fiberaug index`",
        shard=shard,
        stage="index",
    )


class IndexBuilder:
    """Collects members in the shard's order and groups neighbours with one key.

    Args:
        shard: Name for errors.
    """

    def __init__(self, shard: str) -> None:
        self._shard = shard
        # Arrays: lists of numbers take five times as much.
        self._rows: dict[str, Any] = {
            name: array(_TYPES[dtype[1:]]) for name, dtype in COLUMNS.items()
        }
        self._rows["key_offset"].append(0)
        self._keys = bytearray()
        self._extension_numbers: dict[str, int] = {}
        self._per_class: dict[int, int] = {}

    def add(
        self, key: str, fields: Iterable[Field], facts: Facts | None = None
    ) -> None:
        """Add one sample.

        Raises:
            ShardDamaged: Two members of the sample have one extension, or the shard has
                too many of them.
        """
        rows, facts = self._rows, facts or Facts()
        rows["first_member"].append(len(rows["offset"]))
        seen = set()
        for field in fields:
            if field.extension in seen:
                raise ShardDamaged(
                    f"the sample has two members .{field.extension}",
                    shard=self._shard,
                    key=key,
                    offset=field.offset,
                    stage="index",
                )
            seen.add(field.extension)
            number = self._extension_numbers.setdefault(
                field.extension, len(self._extension_numbers)
            )
            if number >= _MOST_EXTENSIONS:
                raise ShardDamaged(
                    f"the shard has more than {_MOST_EXTENSIONS} extensions: keys end"
                    " at the first dot of a file name, so names must not hold others",
                    shard=self._shard,
                    key=key,
                    offset=field.offset,
                    stage="index",
                )
            rows["extension"].append(number)
            rows["offset"].append(field.offset)
            rows["size"].append(field.size)
            rows["crc32"].append(field.crc32 or 0)
        rows["members"].append(len(seen))
        rows["class_rank"].append(self._per_class.get(facts.label, 0))
        self._per_class[facts.label] = rows["class_rank"][-1] + 1
        for name, value in facts._asdict().items():
            rows[name].append(value)
        self._keys += key.encode()
        rows["key_offset"].append(len(self._keys))

    def finish(self, *, shard_bytes: int, checksums: bool) -> ShardIndex:
        """Return the index.

        Args:
            shard_bytes: Size of the shard.
            checksums: Whether the fields had their CRC-32.
        """
        text = {
            "keys": bytes(self._keys),
            "extensions": "\0".join(self._extension_numbers).encode(),
        }
        arrays = {
            name: np.frombuffer(text[name], np.uint8)
            if name in text
            else np.array(self._rows[name], dtype)
            for name, dtype in COLUMNS.items()
            if checksums or name != "crc32"
        }
        return ShardIndex(arrays, shard_bytes=shard_bytes, shard=self._shard)
