"""A virtual shard: samples of a plain set, made as they would stand in a tar."""

import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fiberaug.errors import (
    DataRefused,
    LimitExceeded,
    SampleBroken,
    ShardDamaged,
    StoreError,
    UsageError,
)
from fiberaug.jobs.items import Item, Raw
from fiberaug.jobs.plain_rows import PlainRow, PlainRows
from fiberaug.jobs.preparing import Options, prepare
from fiberaug.shards.index import ShardIndex
from fiberaug.shards.naming import sample_too_large
from fiberaug.shards.opening import check_digest
from fiberaug.shards.reader import ShardFile, ShardRef
from fiberaug.shards.tar import Limits

__all__ = [
    "HEAD",
    "OPTIONS",
    "ROWS",
    "TAIL",
    "PlainShard",
    "PlainSource",
    "changed_ns",
    "crc_of",
    "image_crc",
    "place_of",
]

OPTIONS = Options()
"""A plain set is what ``fiberaug convert`` without options would write."""

ROWS = ".rows"
"""Ends the name of the file of rows, beside ``.idx``."""

HEAD, TAIL = 2**16, 2**12
"""Bytes at both ends of an image file that its checksum covers."""


def image_crc(head: bytes, tail: bytes = b"") -> int:
    """Return the checksum of an image file: CRC-32 of its first and last bytes.

    A JPEG's pixels follow from its first bytes on and PNG has a checksum at its end, so
    that other pixels of the very same size are seen, and nobody reads a file in full.

    Args:
        head: The whole file where it has at most ``HEAD + TAIL`` bytes, else as many of
            its first ones as there are, at least ``HEAD``.
        tail: Else its last ``TAIL`` bytes.
    """
    return zlib.crc32(tail, zlib.crc32(head[:HEAD])) if tail else zlib.crc32(head)


def crc_of(extension: str, data: bytes, image: str) -> int:
    """Return the checksum of a member in the index of a virtual shard."""
    if extension != image or len(data) <= HEAD + TAIL:
        return zlib.crc32(data)
    return image_crc(data, data[-TAIL:])


def place_of(root: str, item: Item) -> str:
    """Return the path of a sample's image, for errors and to look at the file."""
    return os.path.join(root, item.place)  # noqa: PTH118  # a Path for each of a million photos is slow


@dataclass(frozen=True, kw_only=True)
class PlainSource:
    """Where a plain set lies and how a sample of it is read; it opens its shards.

    It is pickled with the shards of a set, and small: what was listed lies in files.
    """

    kind: str
    """As ``--from`` names it: ``folder``, ``coco``, ``voc``, ``yolo``, ..."""

    root: str
    """Absolute folder (or file) that the places of items begin at."""

    reader: Callable[[Item], Raw]
    """Reads one, as a conversion does."""

    home: str
    """Folder with the index and the rows of each shard."""

    def __call__(
        self, ref: ShardRef, *, verify: bool = True, limits: Limits | None = None
    ) -> "PlainShard":
        """Return an open shard.

        Raises:
            StoreError: Its index cannot be read.
            ShardDamaged: Its index is damaged.
        """
        return PlainShard(ref, self, verify=verify, limits=limits)


class PlainShard(ShardFile):
    """One virtual shard: a range of the samples of a plain set.

    ``open_shard(ref)`` gives it, as the loader does for its own reading.

    Args:
        ref: The shard.
        source: The set.
        verify: Refuse a sample whose files were changed after they were indexed.
        limits: Limits of the reader.
    """

    def __init__(
        self,
        ref: ShardRef,
        source: PlainSource,
        *,
        verify: bool = True,
        limits: Limits | None = None,
    ) -> None:
        self.source = source
        """The set: its root and its reader."""
        super().__init__(ref, verify=verify, limits=limits)

    def _open(self) -> ShardIndex:
        name, home = self.ref.name, Path(self.source.home)
        try:
            index = ShardIndex.open(home / f"{name}.idx", shard=name)
            check_digest(index, self.ref)
            self._rows = PlainRows(home / (name + ROWS), len(index), shard=name)
        except (ShardDamaged, StoreError) as error:
            raise type(error)(
                f"the index of the plain set is gone or damaged ({error.message});"
                f" open the set again, after deleting {home} where it is still there",
                shard=name,
                stage="index",
            ) from error
        return index

    def row(self, i: int) -> PlainRow:
        """Return what is known of sample ``i``: its item and its number in the source.

        ``row(i).number`` is its place in the order in which the source lists itself:
        a folder by path, an annotation file as it is written.
        """
        return self._rows.row(i, self.index.key(i))

    def item(self, i: int) -> Item:
        """Return sample ``i`` as its source lists it.

        ``item(i).place`` is the path of its image below ``source.root``, for all kinds
        in which each image is a file of its own.
        """
        return self.row(i).item

    def raw(self, i: int) -> Raw:
        """Return sample ``i`` as its source has it: image file, annotations, masks.

        Raises:
            DataRefused: It cannot be read.
            OSError: A file of it cannot be read.
        """
        return self.source.reader(self.item(i))

    def read(self, i: int) -> dict[str, memoryview]:
        """Return the members of sample ``i`` as ``fiberaug convert`` would write them.

        Raises:
            SampleBroken: A file of it is gone, is broken, or was changed after it was
                indexed.
            LimitExceeded: It is larger than the limits.
            StoreError: The whole set is gone.
        """
        row = self.row(i)
        item, most = row.item, self._limits.sample_bytes
        if item.size > most:
            raise sample_too_large(
                item.size, most, shard=self.ref.name, key=item.key, offset=0
            )
        try:
            members = prepare(self.source.reader(item), item, OPTIONS).members
            self._check_sizes(members)
            if self._verify and row.sound:
                self._check_changed(i, row, members)
        except UsageError as error:  # of a frame: the file was another one
            raise SampleBroken(
                f"{place_of(self.source.root, item)}: {error.message}",
                shard=self.ref.name, key=item.key, stage="read",
            ) from error  # fmt: skip
        except DataRefused as error:
            raise error.located(
                shard=self.ref.name, key=item.key, stage="read"
            ) from None
        except OSError as error:
            raise self._unreadable(item, error) from error
        return {name: memoryview(members[name]) for name in sorted(members)}

    def _check_sizes(self, members: Mapping[str, bytes]) -> None:
        for name, data in members.items():
            if len(data) > self._limits.member_bytes:
                raise LimitExceeded(
                    f"member .{name} has {len(data)} bytes, the limit is"
                    f" {self._limits.member_bytes}"
                )

    def _check_changed(
        self, i: int, row: PlainRow, members: Mapping[str, bytes]
    ) -> None:
        """Refuse a sample whose files are not those that were indexed."""
        image = next(iter(members))
        now = {
            name: (len(data), crc_of(name, data, image))
            for name, data in members.items()
        }
        then = {f.extension: (f.size, f.crc32) for f in self.index.fields(i)}
        path = place_of(self.source.root, row.item)
        if now == then and (not row.changed or changed_ns(path) == row.changed):
            return
        raise SampleBroken(
            f"{path}, or an annotation of it, was changed after the set was indexed;"
            " open the set again: it is then indexed anew, and is another set"
        )

    def _unreadable(self, item: Item, error: OSError) -> StoreError | SampleBroken:
        root, reason = self.source.root, error.strerror or error
        if not os.path.exists(root):  # noqa: PTH110  # as in place_of
            return StoreError(
                f"{root} is gone: {reason}",
                shard=self.ref.name, key=item.key, stage="read",
            )  # fmt: skip
        return SampleBroken(
            f"cannot read {error.filename or place_of(root, item)}: {reason}",
            shard=self.ref.name, key=item.key, stage="read",
        )  # fmt: skip


def changed_ns(path: str) -> int:
    """Return when a file was changed, ns since 1970; 0 where there is none."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116  # as in place_of
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return 0
