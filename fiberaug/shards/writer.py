"""One shard written whole or not at all, with its index."""

import os
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
from fiberaug.shards.index import ShardIndex
from fiberaug.shards.manifest import ShardEntry, write_atomically
from fiberaug.shards.naming import split_name
from fiberaug.shards.reader import Describe, build_index, map_file
from fiberaug.shards.tar import Limits, check_name

__all__ = ["ShardFileWriter", "check_key", "check_size", "member_bytes"]

_BLOCK = 512
_MOST_BYTES = Limits().member_bytes


@overload
def member_bytes(size: int) -> int: ...
@overload
def member_bytes(size: NDArray[np.int64]) -> NDArray[np.int64]: ...
def member_bytes(size: int | NDArray[np.int64]) -> int | NDArray[np.int64]:
    """Return what a member of ``size`` bytes takes in a tar."""
    return _BLOCK + -(-size // _BLOCK) * _BLOCK


def check_key(key: str, extensions: Mapping[str, Any]) -> None:
    """Refuse a key that would not be read back as it was written.

    Raises:
        UsageError: It would not; the reason is named.
    """
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
    """

    def __init__(self, path: Path) -> None:
        from webdataset.writer import TarWriter  # noqa: PLC0415  # 1 s: it loads torch

        self.path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            self._file = self._temporary.open("wb")
        except OSError as error:
            raise StoreError(
                f"cannot write {path}: {error.strerror}", stage="write"
            ) from error
        # Time, owner and mode are fixed: the same samples give the same bytes.
        self._tar = TarWriter(
            self._file, user="", group="", mode=0o644, encoder=False, mtime=0,
            format="GNU_FORMAT",
        )  # fmt: skip
        self.bytes = 0
        self.samples = 0

    def write(self, key: str, members: Mapping[str, bytes]) -> None:
        """Append one sample.

        Raises:
            UsageError: The key cannot be read back.
            LimitExceeded: A member is larger than readers take.
            StoreError: The disk is full or gone.
        """
        check_key(key, members)
        for extension, data in members.items():
            check_size(len(data), extension, key=key)
        try:
            self._tar.write({"__key__": key, **members})
        except OSError as error:
            raise StoreError(
                f"cannot write {self.path} after {self.bytes} bytes: {error.strerror}",
                key=key,
                stage="write",
            ) from error
        self.bytes += sum(member_bytes(len(data)) for data in members.values())
        self.samples += 1

    def publish(self, describe: Describe) -> ShardEntry:
        """Read the shard back, index it, and give shard and index their names.

        Raises:
            StoreError: The disk is full or gone; nothing is left.
        """
        try:
            self._tar.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
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
        for file in (self._tar, self._file):
            with suppress(OSError, ValueError):  # closing writes; the disk may be full
                file.close()
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
