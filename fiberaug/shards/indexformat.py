"""The bytes of the side-car ``<shard>.tar.idx``.

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
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import ShardDamaged, StoreError

__all__ = [
    "COLUMNS",
    "DECODES",
    "HEADER_BYTES",
    "OPTIONAL",
    "Head",
    "are_consistent",
    "damage",
    "pack",
    "read_columns",
    "read_head",
    "unpack_head",
]

MAGIC = b"FBAUGIDX"
VERSION = 1
DECODES = 1
"""Bit of ``flags``: the sample was decoded in full when the index was made."""

_HEADER = struct.Struct("<8sIIQQQQII8x")
_ENTRY = struct.Struct("<24s8sQQ")
_ALIGN = 64
HEADER_BYTES = _HEADER.size

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

OPTIONAL = {
    # of the segments between restart markers, where a sample's image has them
    "segment_offset": "<u4",  # where its lengths begin; one more than samples
    "segments": "<u2",  # bytes of each, without its marker
}
"""Columns that stand in an index together, or not at all."""

_KNOWN = COLUMNS | OPTIONAL
_BLOBS = {"key_offset": "keys", "segment_offset": "segments"}


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
    return unpack_head(data, path, shard)


def unpack_head(data: bytes, path: Path, shard: str) -> Head:
    """Return the header of a side-car.

    Raises:
        ShardDamaged: It is none, is damaged, or is of a newer version.
    """
    if len(data) < _HEADER.size or data[:8] != MAGIC:
        raise damage("is no index of FiberAug", path, shard)
    head = Head(*_HEADER.unpack(data))
    if head.version > VERSION:
        raise damage(
            f"has version {head.version}, this release reads 1 to {VERSION}",
            path,
            shard,
        )
    packed = _HEADER.pack(*head[:-1], 0)
    if zlib.crc32(packed[:52]) != head.head_crc32 or _HEADER.pack(*head) != data:
        raise damage("does not have its checksum", path, shard)
    return head


def pack(
    columns: Mapping[str, NDArray[Any]], *, samples: int, members: int, shard_bytes: int
) -> bytes:
    """Return the content of a side-car.

    Args:
        columns: Arrays by name, see :data:`COLUMNS` and :data:`OPTIONAL`.
        samples: Number of samples.
        members: Number of members.
        shard_bytes: Size of the shard.
    """
    parts: list[bytes] = []
    entries: list[bytes] = []
    present = {name: kind for name, kind in _KNOWN.items() if name in columns}
    at = _HEADER.size + _ENTRY.size * len(present)
    for name, dtype in present.items():
        data = np.ascontiguousarray(columns[name], dtype).tobytes()
        gap = -at % _ALIGN
        entries.append(
            _ENTRY.pack(name.encode(), dtype.encode(), at + gap, len(columns[name]))
        )
        parts += [bytes(gap), data]
        at += gap + len(data)
    body = b"".join(entries + parts)
    head = (MAGIC, VERSION, len(present), samples, members, shard_bytes, at,
            zlib.crc32(body))  # fmt: skip
    return _HEADER.pack(*head, zlib.crc32(_HEADER.pack(*head, 0)[:52])) + body


def read_columns(data: mmap.mmap, count: int) -> dict[str, NDArray[Any]]:
    """Return the columns that this release knows."""
    arrays: dict[str, NDArray[Any]] = {}
    for i in range(count):
        entry = _ENTRY.unpack_from(data, _HEADER.size + i * _ENTRY.size)
        name = entry[0].rstrip(b"\0").decode(errors="replace")
        if name not in _KNOWN:
            continue
        kind = entry[1].rstrip(b"\0").decode(errors="replace")
        if kind != _KNOWN[name]:
            raise ValueError(f"{name} has type {kind!r}, expected {_KNOWN[name]!r}")
        arrays[name] = np.frombuffer(data, kind, entry[3], entry[2])
    return arrays


def are_consistent(
    columns: Mapping[str, NDArray[Any]], samples: int, members: int, extensions: int
) -> bool:
    """Return whether all rows are there and point into each other."""
    if len(OPTIONAL.keys() & columns.keys()) == 1:
        return False
    lengths = {"key_offset": samples + 1, "segment_offset": samples + 1}
    lengths |= dict.fromkeys(("offset", "size", "crc32", "extension"), members)
    rows_fit = all(
        len(columns[name]) == lengths.get(name, samples)
        for name in _KNOWN
        if name in columns and name not in {"keys", "extensions", "segments"}
    )
    if not rows_fit:
        return False
    rising = all(
        (columns[name][1:] >= columns[name][:-1]).all()
        and columns[name][-1] <= len(columns[blob])
        for name, blob in _BLOBS.items()
        if name in columns
    )
    last_member = columns["first_member"].astype(np.uint64) + columns["members"]
    return bool(
        rising
        and last_member.max(initial=0) <= members
        and columns["extension"].max(initial=0) < extensions
    )


def damage(what: str, path: Path, shard: str) -> ShardDamaged:
    """Return the error of a side-car that is none any more."""
    return ShardDamaged(
        f"{path.name} {what}; make it again with `fiberaug index`",
        shard=shard,
        stage="index",
    )
