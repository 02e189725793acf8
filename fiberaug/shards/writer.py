"""One shard written whole or not at all, with its index."""

import os
import re
import zlib
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import (
    FiberAugError,
    LimitExceeded,
    SecurityRefused,
    StoreError,
    UsageError,
)
from fiberaug.files import write_atomically
from fiberaug.shards.index import Field, IndexBuilder, ShardIndex
from fiberaug.shards.manifest import ShardEntry
from fiberaug.shards.naming import sample_too_large, split_name
from fiberaug.shards.reader import Describe, build_index, map_file
from fiberaug.shards.tar import Limits, check_name
from fiberaug.shards.tarheader import BLOCK, end_of_archive, member_header

__all__ = ["ShardFileWriter", "check_key", "check_size", "member_bytes"]

_MOST_BYTES = Limits().member_bytes
_MOST_SAMPLE_BYTES = Limits().sample_bytes
_BUFFER = 2**20
# What no rule refuses, and most names are: each part begins with a letter or a digit.
_PLAIN_KEY = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]*(?:/[0-9A-Za-z][0-9A-Za-z_-]*)*")
_PLAIN_CHARS = 500
_PLAIN_EXTENSION = re.compile(r"[0-9a-z]{1,20}(?:\.[0-9a-z]{1,20}){0,9}")


@overload
def member_bytes(size: int) -> int: ...
@overload
def member_bytes(size: NDArray[np.int64]) -> NDArray[np.int64]: ...
def member_bytes(size: int | NDArray[np.int64]) -> int | NDArray[np.int64]:
    """Return what a member of ``size`` bytes takes in a tar."""
    return BLOCK + -(-size // BLOCK) * BLOCK


def check_key(key: str, extensions: Mapping[str, Any]) -> None:
    """Refuse a key that would not be read back as it was written.

    Raises:
        UsageError: It would not; the reason is named.
    """
    plain = len(key) <= _PLAIN_CHARS and _PLAIN_KEY.fullmatch(key)
    if plain and all(map(_PLAIN_EXTENSION.fullmatch, extensions)):
        return
    for extension in extensions:
        name = f"{key}.{extension}"
        try:
            check_name(name)
            parts = split_name(name, shard="the new shard", offset=0)
        except SecurityRefused as error:
            raise UsageError(
                f"key {key!r} with extension {extension!r} cannot be stored:"
                f" {error.message}"
            ) from None
        if parts != (key, extension):
            raise UsageError(
                f"key {key!r} with extension {extension!r} would be read back as"
                f" {parts}: a key is not empty, has no dot in its last part, and"
                " extensions are in lower case"
            )


def check_size(size: int, extension: str, *, key: str | None = None) -> None:
    """Refuse a member that readers would refuse.

    Raises:
        LimitExceeded: It is too large.
    """
    if size > _MOST_BYTES:
        raise LimitExceeded(
            f"member .{extension} has {size} bytes, the limit is {_MOST_BYTES}",
            key=key,
            stage="write",
        )


class ShardFileWriter:
    """Writes one shard under a temporary name; :meth:`publish` gives it its own.

    Args:
        path: Final path of the tar.
        describe: What the index says of a sample. The index is then made, and the shard
            hashed, while samples are written. None: :meth:`publish` is told.

    Raises:
        StoreError: The file cannot be made.
    """

    def __init__(self, path: Path, *, describe: Describe | None = None) -> None:
        self.path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            self._file = self._temporary.open("wb", buffering=_BUFFER)
        except OSError as error:
            raise StoreError(
                f"cannot write {path}: {error.strerror}", stage="write"
            ) from error
        self._describe, self._builder = describe, IndexBuilder(path.name)
        self._digest, self._at = sha256(), 0
        self.bytes = 0
        """What the members take, without what long names add."""

        self.samples = 0

    def write(self, key: str, members: Mapping[str, bytes]) -> None:
        """Append one sample, its members in the order of their extensions.

        Raises:
            UsageError: The key cannot be read back, or there is no member.
            LimitExceeded: A member, or all together, are larger than readers take.
            StoreError: The disk is full or gone.
        """
        if not members:
            raise UsageError(f"the sample {key!r} has no member")
        check_key(key, members)
        for extension, data in members.items():
            check_size(len(data), extension, key=key)
        fields, parts, at = list[Field](), list[bytes](), self._at
        described = self._describe is not None
        for extension in sorted(members):
            data = members[extension]
            header = member_header(f"{key}.{extension}", len(data))
            at += len(header)
            crc = zlib.crc32(data) if described else None
            fields.append(Field(extension, at, len(data), crc))
            padding = bytes(-len(data) % BLOCK)
            parts += header, data, padding
            at += len(data) + len(padding)
        if self._describe is not None:
            self._index(key, fields, self._describe, members)
            for part in parts:
                self._digest.update(part)
        try:
            self._file.writelines(parts)
        except OSError as error:
            raise StoreError(
                f"cannot write {self.path} after {self.bytes} bytes: {error.strerror}",
                key=key,
                stage="write",
            ) from error
        self._at = at
        self.bytes += sum(member_bytes(len(data)) for data in members.values())
        self.samples += 1

    def _index(
        self,
        key: str,
        fields: list[Field],
        describe: Describe,
        members: Mapping[str, bytes],
    ) -> None:
        size = sum(field.size for field in fields)
        if size > _MOST_SAMPLE_BYTES:
            raise sample_too_large(
                size, _MOST_SAMPLE_BYTES, shard=self.path.name, key=key,
                offset=fields[0].offset,
            )  # fmt: skip
        facts = describe(key, {one.extension: members[one.extension] for one in fields})
        self._builder.add(key, fields, facts)

    def publish(self, describe: Describe | None = None) -> ShardEntry:
        """Give the shard and its index their names.

        Args:
            describe: What the index says of a sample, of a writer that was not told:
                the shard is read back for it, by the strict reader.

        Raises:
            StoreError: The disk is full or gone; nothing is left.
        """
        try:
            end = end_of_archive(self._at)
            self._digest.update(end)
            self._file.write(end)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            if describe is None and self._describe is not None:
                size = self._at + len(end)
                index = self._builder.finish(shard_bytes=size, checksums=True)
                digest = self._digest.hexdigest()
            else:
                data = map_file(self._temporary, shard=self.path.name)
                index = build_index(data, shard=self.path.name, describe=describe)
                digest = sha256(data).hexdigest()
            content = index.to_bytes()
            # The index first: whoever sees the shard sees its index, too.
            write_atomically(self.path.with_name(self.path.name + ".idx"), content)
            self._temporary.replace(self.path)
        except BaseException as error:
            self.discard()
            if isinstance(error, OSError) and not isinstance(error, FiberAugError):
                raise StoreError(
                    f"cannot write {self.path}: {error.strerror}", stage="write"
                ) from error
            raise
        return entry_of(self.path.name, index, digest, content)

    def discard(self) -> None:
        """Remove what was written so far."""
        with suppress(OSError):  # closing writes; the disk may be full
            self._file.close()
        self._temporary.unlink(missing_ok=True)


def entry_of(name: str, index: ShardIndex, digest: str, content: bytes) -> ShardEntry:
    """Return a shard's line of ``dataset.json``.

    Args:
        name: File name of the shard.
        index: Its index.
        digest: SHA-256 of the shard, hexadecimal.
        content: The side-car's bytes.
    """
    labels: dict[str, int] = {}
    for label in index.columns["label"].tolist():
        if label >= 0:
            labels[str(label)] = labels.get(str(label), 0) + 1
    return ShardEntry(
        name=name,
        bytes=index.shard_bytes,
        samples=len(index),
        sha256=digest,
        index_crc32=f"{zlib.crc32(content[64:]):08x}",
        counts=dict(sorted(labels.items(), key=lambda item: int(item[0]))),
    )
