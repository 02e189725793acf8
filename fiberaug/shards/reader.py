"""Shards opened for reading: members straight from an mmap, checked by CRC-32."""

import mmap
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fiberaug.errors import (
    LimitExceeded,
    SampleBroken,
    ShardDamaged,
    StoreError,
    UsageError,
)
from fiberaug.shards.index import Facts, Field, IndexBuilder, ShardIndex
from fiberaug.shards.naming import sample_too_large, split_name
from fiberaug.shards.pipes import describe_pipe, is_pipe, pipe_name
from fiberaug.shards.tar import Limits, scan
from fiberaug.shards.urls import file_name, is_remote, redact

__all__ = [
    "Describe",
    "Opener",
    "ShardFile",
    "ShardRef",
    "build_index",
    "check_bytes",
    "map_file",
]

Describe = Callable[[str, dict[str, bytes]], Facts]
"""(key, fields by extension) -> what the index says of the sample."""


class Opener(Protocol):
    """Opens shards that are no tar files; it goes to workers with every shard."""

    def __call__(
        self, ref: "ShardRef", *, verify: bool = True, limits: Limits | None = None
    ) -> "ShardFile":
        """Return the open shard; see :class:`ShardFile`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRef:
    """One shard of a set: what is known without opening it."""

    path: str
    """Path or URL of the tar file, as given, with what it needs to be fetched."""

    index: str | None = None
    """Path or URL of the side-car; None: there is none."""

    samples: int | None = None
    """Number of samples; None: not known."""

    digest: str | None = None
    """CRC-32 of the side-car, which holds those of all members; None: not known."""

    bytes: int | None = None
    """Size of a remote shard; None: not known, or it is local."""

    version: str = ""
    """What the store calls this version of a remote shard; empty: not known."""

    opener: Opener | None = field(default=None, compare=False, repr=False)
    """Opens a shard that is no tar file; None: it is one."""

    @property
    def remote(self) -> bool:
        """Whether it has to be fetched."""
        return is_remote(self.path) or is_pipe(self.path)

    @property
    def name(self) -> str:
        """File name without its folder: part of the identity of the samples."""
        if is_pipe(self.path):
            return pipe_name(self.path)
        return file_name(self.path) if is_remote(self.path) else Path(self.path).name

    @property
    def location(self) -> str:
        """Path or URL without credentials, as batches and logs name it."""
        if is_pipe(self.path):
            return describe_pipe(self.path)
        return redact(self.path) if is_remote(self.path) else self.path

    @property
    def place(self) -> str:
        """The location as other folders see it: absolute, where it is a path."""
        return self.location if self.remote else str(Path(self.path).absolute())


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
        LimitExceeded: A member or a sample is too large.
    """
    builder = IndexBuilder(shard)
    most = (limits or Limits()).sample_bytes
    key: str | None = None
    fields: list[Field] = []

    def flush() -> None:
        if key is None:
            return
        size, at = sum(field.size for field in fields), fields[0].offset
        if size > most:
            raise sample_too_large(size, most, shard=shard, key=key, offset=at)
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


def check_bytes(size: int, index: ShardIndex) -> None:
    """Check that a shard has the size that its index says.

    Raises:
        ShardDamaged: It has not.
    """
    if index.shard_bytes != size:
        raise ShardDamaged(
            f"the shard has {size} bytes, its index says {index.shard_bytes}; restore"
            " the shard, or index it again",
            shard=index.shard,
            stage="read",
        )


class ShardFile:
    """One open shard.

    Args:
        ref: The shard.
        verify: Check the CRC-32 of every member that is read, where the index has it.
    """

    def __init__(
        self, ref: ShardRef, *, verify: bool = True, limits: Limits | None = None
    ) -> None:
        self.ref, self._limits, self._verify = ref, limits or Limits(), verify
        self.name, self.location = ref.name, ref.location
        self._data: mmap.mmap | None = None
        self.index = self._open()
        if ref.samples is not None and ref.samples != len(self.index):
            raise ShardDamaged(
                f"the index has {len(self.index)} samples, the data set says"
                f" {ref.samples}; make dataset.json and the index again",
                shard=ref.name,
                stage="index",
            )

    def _open(self) -> ShardIndex:
        """Return the index; the shard is mapped too."""
        ref = self.ref
        if ref.remote:
            raise UsageError(
                f"{ref.location} is remote; copy the shards to a local folder for this"
            )
        self._data = map_file(Path(ref.path), shard=ref.name)
        if ref.index is None:
            return build_index(self._data, shard=ref.name, limits=self._limits)
        index = ShardIndex.open(Path(ref.index), shard=ref.name)
        check_bytes(len(self._data), index)
        return index

    def _bytes(self) -> mmap.mmap:
        """Return the shard."""
        assert self._data is not None  # noqa: S101  # for the type: _open sets it
        return self._data

    def read(self, i: int) -> dict[str, memoryview]:
        """Return the members of sample ``i`` by extension, without copying them.

        Raises:
            SampleBroken: A member does not have its checksum.
            LimitExceeded: A member is larger than the limit.
            ShardDamaged: The index points outside of the shard.
        """
        members: dict[str, memoryview] = {}
        data = self._bytes()
        view = memoryview(data)
        found, most = self.index.fields(i), self._limits.sample_bytes
        if (size := sum(field.size for field in found)) > most:
            raise sample_too_large(
                size,
                most,
                shard=self.ref.name,
                key=self.index.key(i),
                offset=found[0].offset,
            )
        for extension, offset, size, crc in found:
            end = offset + size
            if end > len(data):
                raise ShardDamaged(
                    f"member .{extension} ends at byte {end} of {len(data)}",
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
            content = view[offset:end]
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
