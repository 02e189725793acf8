"""Shards opened for reading: members straight from an mmap, checked by CRC-32."""

import mmap
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fiberaug.errors import LimitExceeded, SampleBroken, ShardDamaged, StoreError
from fiberaug.shards.index import Facts, Field, IndexBuilder, ShardIndex
from fiberaug.shards.naming import split_name
from fiberaug.shards.tar import Limits, scan

__all__ = ["Describe", "ShardFile", "ShardPool", "ShardRef", "build_index", "map_file"]

Describe = Callable[[str, dict[str, bytes]], Facts]
"""(key, fields by extension) -> what the index says of the sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRef:
    """One shard of a set: what is known without opening it."""

    path: str
    """Path of the tar file, as given."""

    index: str | None = None
    """Path of the side-car; None: there is none."""

    samples: int | None = None
    """Number of samples; None: not known."""

    digest: str | None = None
    """CRC-32 of the side-car, which holds those of all members; None: not known."""

    @property
    def name(self) -> str:
        """File name without its folder: part of the identity of the samples."""
        return Path(self.path).name


def map_file(path: Path, *, shard: str) -> mmap.mmap:
    """Map a shard for reading.

    Raises:
        StoreError: The file cannot be read.
        ShardDamaged: It is empty.
    """
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:
        raise ShardDamaged(
            "the shard has 0 bytes", shard=shard, offset=0, stage="read"
        ) from None
    except OSError as error:
        raise StoreError(
            f"cannot read {path}: {error.strerror or error}", shard=shard, stage="read"
        ) from error


def build_index(
    data: mmap.mmap,
    *,
    shard: str,
    describe: Describe | None = None,
    limits: Limits | None = None,
) -> ShardIndex:
    """Return the index of a shard, read from first to last byte by the strict reader.

    Args:
        data: The shard.
        shard: Name for errors.
        describe: Fills in the facts of a sample. None: only where its members lie, and
            no checksums.
        limits: Limits of the reader.

    Raises:
        ShardDamaged: The shard is broken, or has no sample.
        SecurityRefused: It holds what no honest shard holds.
        LimitExceeded: A member is too large.
    """
    builder = IndexBuilder(shard)
    key: str | None = None
    fields: list[Field] = []

    def flush() -> None:
        if key is None:
            return
        facts = None
        if describe is not None:
            facts = describe(
                key, {f.extension: data[f.offset : f.offset + f.size] for f in fields}
            )
        builder.add(key, fields, facts)

    with memoryview(data) as view:
        for member in scan(data, shard=shard, limits=limits or Limits()):
            parts = split_name(member.name, shard=shard, offset=member.header_offset)
            if parts is None:
                continue
            if parts[0] != key:
                flush()
                key, fields = parts[0], []
            crc = None
            if describe is not None:
                crc = zlib.crc32(view[member.offset : member.offset + member.size])
            fields.append(Field(parts[1], member.offset, member.size, crc))
        flush()
    index = builder.finish(shard_bytes=len(data), checksums=describe is not None)
    if not len(index):
        raise ShardDamaged(
            "the shard has members but no sample: no name has the form key.extension",
            shard=shard,
            offset=0,
            stage="read",
        )
    return index


class ShardFile:
    """One open shard.

    Args:
        ref: The shard.
        verify: Check the CRC-32 of every member that is read, where the index has it.
    """

    def __init__(
        self, ref: ShardRef, *, verify: bool = True, limits: Limits | None = None
    ) -> None:
        self.ref, self._limits = ref, limits or Limits()
        self._verify = verify
        self._data = map_file(Path(ref.path), shard=ref.name)
        if ref.index is None:
            self.index = build_index(self._data, shard=ref.name, limits=self._limits)
        else:
            self.index = ShardIndex.open(Path(ref.index), shard=ref.name)
            if self.index.shard_bytes != len(self._data):
                raise ShardDamaged(
                    f"the shard has {len(self._data)} bytes, its index says"
                    f" {self.index.shard_bytes}; restore the shard, or index it again",
                    shard=ref.name,
                    stage="read",
                )
        if ref.samples is not None and ref.samples != len(self.index):
            raise ShardDamaged(
                f"the index has {len(self.index)} samples, the data set says"
                f" {ref.samples}; make dataset.json and the index again",
                shard=ref.name,
                stage="index",
            )
        self._view = memoryview(self._data)

    def read(self, i: int) -> dict[str, memoryview]:
        """Return the members of sample ``i`` by extension, without copying them.

        Raises:
            SampleBroken: A member does not have its checksum.
            LimitExceeded: A member is larger than the limit.
            ShardDamaged: The index points outside of the shard.
        """
        members: dict[str, memoryview] = {}
        for extension, offset, size, crc in self.index.fields(i):
            end = offset + size
            if end > len(self._data):
                raise ShardDamaged(
                    f"member .{extension} ends at byte {end} of {len(self._data)}",
                    shard=self.ref.name,
                    key=self.index.key(i),
                    offset=offset,
                    stage="read",
                )
            if size > self._limits.member_bytes:
                raise LimitExceeded(
                    f"member .{extension} has {size} bytes, the limit is"
                    f" {self._limits.member_bytes}",
                    shard=self.ref.name,
                    key=self.index.key(i),
                    offset=offset,
                    stage="read",
                )
            content = self._view[offset:end]
            if self._verify and crc is not None and zlib.crc32(content) != crc:
                raise SampleBroken(
                    f"member .{extension} has CRC-32 {zlib.crc32(content):08x}, the"
                    f" index says {crc:08x}: the shard was changed or damaged after"
                    " indexing",
                    shard=self.ref.name,
                    key=self.index.key(i),
                    offset=offset,
                    stage="read",
                )
            members[extension] = content
        return members


class ShardPool:
    """The shards of a set, the most recently used ones kept open.

    Args:
        refs: The shards in the data set's order.
        most: How many stay open; at least the lanes that are read side by side.
    """

    def __init__(self, refs: tuple[ShardRef, ...], *, most: int = 128) -> None:
        self._refs, self._most = refs, most
        self._open: OrderedDict[int, ShardFile] = OrderedDict()
        self._counts: dict[int, int] = {}

    def __getitem__(self, shard: int) -> ShardFile:
        """Return an open shard."""
        file = self._open.get(shard)
        if file is None:
            file = self._open[shard] = ShardFile(self._refs[shard])
            if len(self._open) > self._most:
                self._open.popitem(last=False)  # unmapped when its last view goes
        else:
            self._open.move_to_end(shard)
        return file

    def count(self, shard: int) -> int:
        """Return the number of samples of a shard, opening it where it is not known."""
        samples = self._refs[shard].samples
        if samples is not None:
            return samples
        if shard not in self._counts:
            self._counts[shard] = len(self[shard].index)
        return self._counts[shard]
