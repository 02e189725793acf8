"""The rows of a virtual shard: what its source says of each sample, beside the index.

A 24-byte header (magic ``FBAUGROW``, version u32, CRC-32 of all that follows the header
u32, rows u64, little-endian), then seven int64 columns of one number a row (see
:class:`PlainRow`), then all places and all notes end to end. The file is used through
an mmap, so that the processes of a machine share it.
"""

import mmap
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fiberaug.errors import ShardDamaged, StoreError
from fiberaug.jobs.items import Item

__all__ = ["PlainRow", "PlainRows", "pack_rows"]

_MAGIC, _VERSION = b"FBAUGROW", 1
_HEADER = struct.Struct("<8sIIQ")
_COLUMNS = 7
_NO_LABEL = -(2**63)


class PlainRow(NamedTuple):
    """One row, beside its key, which stands in the index."""

    item: Item
    """The sample as its source lists it."""

    number: int
    """Its place in the source's own order."""

    changed: int
    """When its image file was changed, ns since 1970; 0: it has no file of its own."""

    sound: bool
    """Whether it could be read when it was indexed."""


def pack_rows(rows: Iterable[PlainRow]) -> bytes:
    """Return the file's content."""
    places, notes, numbers = bytearray(), bytearray(), list[tuple[int, ...]]()
    for row in rows:
        item = row.item
        places += item.place.encode(errors="surrogateescape")
        notes += item.notes
        label = _NO_LABEL if item.label is None else item.label
        numbers.append((
            item.size, label, row.number, row.changed, row.sound, len(places),
            len(notes),
        ))  # fmt: skip
    columns = np.array(numbers, "<i8").reshape(-1, _COLUMNS).T
    body = np.ascontiguousarray(columns).tobytes() + bytes(places) + bytes(notes)
    return _HEADER.pack(_MAGIC, _VERSION, zlib.crc32(body), len(numbers)) + body


class PlainRows:
    """The rows of one virtual shard, mapped and checked.

    Args:
        path: The file.
        samples: Rows that it has to have.
        shard: Name for errors.

    Raises:
        StoreError: The file cannot be read.
        ShardDamaged: It is not what :func:`pack_rows` made.
    """

    def __init__(self, path: Path, samples: int, *, shard: str) -> None:
        try:
            with path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise ShardDamaged(f"{path} has 0 bytes", shard=shard) from None
        except OSError as error:
            raise StoreError(
                f"cannot read {path}: {error.strerror}", shard=shard
            ) from error
        self._data = data
        head = data[: _HEADER.size]
        magic, version, crc, count = (
            _HEADER.unpack(head) if len(head) == _HEADER.size else (b"", 0, 0, 0)
        )
        places = _HEADER.size + 8 * _COLUMNS * count
        with memoryview(data) as view:
            sound = (magic, version) == (_MAGIC, _VERSION) and len(data) >= places
            sound = sound and zlib.crc32(view[_HEADER.size :]) == crc
        if not sound:
            raise ShardDamaged(f"{path} does not have its checksum", shard=shard)
        if count != samples:
            raise ShardDamaged(
                f"{path} has {count} rows for {samples} samples", shard=shard
            )
        cells = np.frombuffer(data, "<i8", _COLUMNS * count, _HEADER.size)
        self._numbers = cells.reshape(_COLUMNS, count)
        self._places = places
        self._notes = places + (int(self._numbers[5, -1]) if count else 0)

    @property
    def all_sound(self) -> bool:
        """Whether all samples could be read when they were indexed."""
        return bool(self._numbers[4].all())

    def row(self, i: int, key: str) -> PlainRow:
        """Return row ``i``, whose sample has a key."""
        size, label, number, changed, sound, _, _ = self._numbers[:, i].tolist()
        place = self._text(5, i, self._places).decode(errors="surrogateescape")
        item = Item(
            key, place, size, None if label == _NO_LABEL else label,
            self._text(6, i, self._notes),
        )  # fmt: skip
        return PlainRow(item, number, changed, bool(sound))

    def _text(self, column: int, i: int, start: int) -> bytes:
        ends = self._numbers[column]
        begin = int(ends[i - 1]) if i else 0
        return self._data[start + begin : start + int(ends[i])]
