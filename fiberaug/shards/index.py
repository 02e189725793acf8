"""The side-car ``<shard>.tar.idx``: where every sample lies and what it is.

Its bytes are told in :mod:`fiberaug.shards.indexformat`.
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
from fiberaug.shards.indexformat import (
    COLUMNS,
    DECODES,
    HEADER_BYTES,
    OPTIONAL,
    Head,
    are_consistent,
    damage,
    pack,
    read_columns,
    read_head,
    unpack_head,
)

__all__ = [
    "COLUMNS",
    "DECODES",
    "OPTIONAL",
    "Facts",
    "Field",
    "Head",
    "IndexBuilder",
    "ShardIndex",
    "read_head",
]

_MOST_EXTENSIONS = 2**16
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
    segments: bytes = b""
    """Lengths of the segments between restart markers, little-endian uint16."""


class ShardIndex:
    """The index of one shard, mapped from its side-car or made in memory.

    Args:
        columns: Arrays by name, see :data:`COLUMNS` and :data:`OPTIONAL`.
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

    def segment_ends(self, i: int) -> NDArray[np.int64] | None:
        """Return where the segments of an image with restart markers end, int64 [n].

        Bytes from the first byte of the first segment to the marker behind each; None
        where the index does not know them.
        """
        offsets = self.columns.get("segment_offset")
        if offsets is None:
            return None
        first, last = int(offsets[i]), int(offsets[i + 1])
        if first == last:
            return None
        lengths = self.columns["segments"][first:last].astype(np.int64)
        return np.cumsum(lengths + 2) - 2

    def find(self, key: str) -> int | None:
        """Return the number of the sample with a key, or None."""
        if self._numbers is None:
            self._numbers = {self.key(i): i for i in range(len(self))}
        return self._numbers.get(key)

    def to_bytes(self) -> bytes:
        """Return the side-car's content."""
        return pack(
            self.columns, samples=len(self), members=len(self.columns["offset"]),
            shard_bytes=self.shard_bytes,
        )  # fmt: skip

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
            raise damage("is empty", path, shard) from None
        except OSError as error:
            raise StoreError(
                f"cannot read index {path}: {error}", shard=shard
            ) from error
        head = unpack_head(data[:HEADER_BYTES], path, shard)
        with memoryview(data) as view:
            whole = len(data) == head.size
            sound = whole and zlib.crc32(view[HEADER_BYTES:]) == head.crc32
        if not sound:
            raise damage("does not have its checksum", path, shard)
        try:
            arrays = read_columns(data, head.columns)
        except (struct.error, ValueError, OverflowError) as error:
            raise damage(f"has a column that is none: {error}", path, shard) from error
        index = cls(arrays, shard_bytes=head.shard_bytes, shard=shard)
        if not are_consistent(
            arrays, head.samples, head.members, len(index._extensions)
        ):
            raise damage("does not have the rows that it states", path, shard)
        index.digest = head.digest
        return index


def _text(data: NDArray[np.uint8]) -> str:
    # A checksum proves no good will: bytes that are no UTF-8 must not stop a run.
    return data.tobytes().decode(errors="backslashreplace")


class IndexBuilder:
    """Collects members in the shard's order and groups neighbours with one key.

    Args:
        shard: Name for errors.
    """

    def __init__(self, shard: str) -> None:
        self._shard = shard
        # Arrays: lists of numbers take five times as much.
        self._rows: dict[str, Any] = {
            name: array(_TYPES[dtype[1:]])
            for name, dtype in (COLUMNS | OPTIONAL).items()
        }
        self._rows["key_offset"].append(0)
        self._rows["segment_offset"].append(0)
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
            if name != "segments":
                rows[name].append(value)
        rows["segments"].extend(np.frombuffer(facts.segments, "<u2").tolist())
        rows["segment_offset"].append(len(rows["segments"]))
        self._keys += key.encode()
        rows["key_offset"].append(len(self._keys))

    def finish(self, *, shard_bytes: int, checksums: bool) -> ShardIndex:
        """Return the index.

        Args:
            shard_bytes: Size of the shard.
            checksums: Whether the fields had their CRC-32.
        """
        kinds = COLUMNS | (OPTIONAL if self._rows["segments"] else {})
        text = {
            "keys": bytes(self._keys),
            "extensions": "\0".join(self._extension_numbers).encode(),
        }
        arrays = {
            name: np.frombuffer(text[name], np.uint8)
            if name in text
            else np.array(self._rows[name], dtype)
            for name, dtype in kinds.items()
            if checksums or name != "crc32"
        }
        return ShardIndex(arrays, shard_bytes=shard_bytes, shard=self._shard)
