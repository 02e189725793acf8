"""One shard made seekable in place: written beside it, noted, then renamed.

The note is written when the new shard and its index are whole and synced. Without a
note the shard is the old one, and it is begun again; with one, what is left is to
rename. So whatever is killed when, shard and index become those of a run that was not.
"""

import json
import os
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from io import BufferedWriter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fiberaug.decode.header import read_header
from fiberaug.decode.opencv import decode_rgb
from fiberaug.decode.restarts import segment_lengths
from fiberaug.errors import DataRefused, StoreError
from fiberaug.files import write_atomically
from fiberaug.jobs.crew import check_wanted, count
from fiberaug.jobs.describing import image_extension
from fiberaug.jobs.restarting import Marked, State, mark
from fiberaug.shards.index import DECODES, Facts, Field, IndexBuilder, ShardIndex
from fiberaug.shards.manifest import SEEKING
from fiberaug.shards.naming import split_name
from fiberaug.shards.reader import check_bytes, map_file
from fiberaug.shards.resolve import SIDE_CAR
from fiberaug.shards.tar import Member, scan
from fiberaug.shards.tarheader import BLOCK, end_of_archive

__all__ = ["ShardNote", "make_shard_seekable"]

_CHUNK = 2**22
_JPEGS = frozenset({"jpg", "jpeg"})


@dataclass(kw_only=True)
class ShardNote:
    """What became of a shard."""

    name: str
    """Its file name."""

    bytes_before: int
    bytes_after: int = 0
    marked: int = 0
    """JPEGs that got restart markers."""

    already: int = 0
    """JPEGs that had them."""

    left: list[dict[str, str]] = field(default_factory=list)
    """JPEGs that stay as they were: shard, member and reason."""

    sha256: str | None = None
    """Of the new shard; None: it stays."""

    index_crc32: str | None = None
    """Of the new index; None: it stays, or there is none."""


class _Moved(NamedTuple):
    """A member in the new shard."""

    offset: int
    size: int
    old_size: int
    crc32: int | None
    """None: as it was."""

    segments: bytes | None
    """None: as they were."""

    sound: bool


def make_shard_seekable(path: Path) -> ShardNote:
    """Give the JPEGs of a local shard restart markers, and its index their offsets.

    Everything else in the shard stays: members, their order, names, times and owners.

    Raises:
        ShardDamaged: The shard is broken, or its index does not fit.
        StoreError: It cannot be read, or the disk is full.
    """
    folder = path.parent / SEEKING
    place = folder / f"{path.name}.json"
    note = _noted(place)
    if note is not None:
        _rename(path, folder)
        if path.stat().st_size == note.bytes_after:
            count(note.marked + note.already + len(note.left), 0, 0)
            return note
    try:
        note = _written(path, folder)
        write_atomically(place, json.dumps(asdict(note)).encode())
        _rename(path, folder)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(
            f"cannot make {path} seekable: {error.strerror}", shard=path.name,
            stage="write",
        ) from error  # fmt: skip
    return note


def _noted(place: Path) -> ShardNote | None:
    try:
        return ShardNote(**json.loads(place.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _rename(path: Path, folder: Path) -> None:
    """Give what was written its name; what has it already is not there any more."""
    for name in (path.name, path.name + SIDE_CAR):
        if (folder / name).exists():
            (folder / name).replace(path.with_name(name))


def _written(path: Path, folder: Path) -> ShardNote:
    """Write the new shard and its index into a folder, as far as they are new."""
    data = map_file(path, shard=path.name)
    side_car = path.with_name(path.name + SIDE_CAR)
    index = None
    if side_car.is_file():
        index = ShardIndex.open(side_car, shard=path.name)
        check_bytes(len(data), index)
    note = ShardNote(name=path.name, bytes_before=len(data), bytes_after=len(data))
    new = folder / path.name
    (folder / side_car.name).unlink(missing_ok=True)  # of a run that wrote no note
    with new.open("wb") as file:
        copy = _Copy(data, index, note, file)
        moved = copy.run()
        file.flush()
        os.fsync(file.fileno())
    if note.marked:
        note.bytes_after, note.sha256 = copy.written, copy.digest.hexdigest()
        shutil.copymode(path, new)
    else:
        new.unlink()
    if index is not None:
        content = _index(index, moved, note.bytes_after).to_bytes()
        if zlib.crc32(content) != zlib.crc32(side_car.read_bytes()):
            note.index_crc32 = f"{zlib.crc32(content[64:]):08x}"
            write_atomically(folder / side_car.name, content)
    return note


class _Copy:
    """A shard on its way into another file."""

    def __init__(
        self,
        data: Any,  # noqa: ANN401  # an mmap, which has no buffer type
        index: ShardIndex | None,
        note: ShardNote,
        file: BufferedWriter,
    ) -> None:
        self._data, self._note, self._file = data, note, file
        self._crcs = dict(_checksums(index)) if index is not None else {}
        self.written, self.digest = 0, sha256()

    def run(self) -> dict[int, _Moved]:
        """Write all of it; return where the members are, by their old offsets."""
        found: dict[int, _Moved] = {}
        at = end = 0  # of the old file: what is copied, and the last member's end
        for member in scan(self._data, shard=self._note.name):
            check_wanted()
            end = (member.offset + member.size + BLOCK - 1) // BLOCK * BLOCK
            marked = self._mark(member)
            place = self.written + member.offset - at
            if marked is None or marked.state is not State.MARKED:
                found[member.offset] = _kept(member, place, marked)
                continue
            header = self._data[member.offset - BLOCK : member.offset]
            size = len(marked.data)
            self._copy(at, member.offset - BLOCK)
            self._write(_sized(header, size))
            self._write(marked.data + bytes(-size % BLOCK))
            found[member.offset] = _Moved(
                place, size, member.size, zlib.crc32(marked.data),
                segment_lengths(marked.data), sound=marked.sound,
            )  # fmt: skip
            at = end
        if self._note.marked:
            self._copy(at, end)
            self._write(end_of_archive(self.written))
        return found

    def _copy(self, start: int, stop: int) -> None:
        """Write bytes of the old shard as they are."""
        for at in range(start, stop, _CHUNK):
            self._write(self._data[at : min(stop, at + _CHUNK)])

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self.digest.update(data)
        self.written += len(data)

    def _mark(self, member: Member) -> Marked | None:
        """Return what becomes of a member; None: it is none of a sample's JPEGs."""
        name = self._note.name
        parts = split_name(member.name, shard=name, offset=member.header_offset)
        if parts is None or parts[1].rpartition(".")[2] not in _JPEGS:
            return None
        data = self._data[member.offset : member.offset + member.size]
        marked = mark(data)
        if marked.state is State.MARKED:
            reason = self._refused(member, data, marked.data)
            if reason:
                marked = Marked(data, State.LEFT, reason=reason)
        count(1, member.size, int(marked.state is State.LEFT))
        self._note.marked += marked.state is State.MARKED
        self._note.already += marked.state is State.ALREADY
        if marked.state is State.LEFT:
            self._note.left.append(
                {"shard": name, "member": member.name, "reason": marked.reason}
            )
        return marked

    def _refused(self, member: Member, old: bytes, new: bytes) -> str:
        """Say why a new photo must not stand for the old one; empty: it may."""
        if self._crcs.get(member.offset, zlib.crc32(old)) != zlib.crc32(old):
            return "it has not the checksum that its index says"
        ahead = self._data[member.header_offset : member.offset - BLOCK]
        if b" size=" in ahead:
            return "its size stands in a pax header"
        try:
            header = read_header(old)
            same = np.array_equal(decode_rgb(old, header), decode_rgb(new, header))
        except DataRefused as error:
            return error.message
        return "" if same else "it would not decode to the same pixels"


def _checksums(index: ShardIndex) -> Iterator[tuple[int, int]]:
    if "crc32" in index.columns:
        columns = index.columns
        yield from zip(
            columns["offset"].tolist(), columns["crc32"].tolist(), strict=True
        )


def _kept(member: Member, place: int, marked: Marked | None) -> _Moved:
    already = marked is not None and marked.state is State.ALREADY
    size = member.size
    if marked is None or not already:
        return _Moved(place, size, size, None, None, sound=False)
    lengths = segment_lengths(marked.data)
    return _Moved(place, size, size, None, lengths, sound=marked.sound)


def _sized(header: bytes, size: int) -> bytes:
    """Return the header block of a member with another size."""
    blank = header[:124] + b"%011o\0" % size + header[136:148] + b" " * 8 + header[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


def _index(old: ShardIndex, moved: dict[int, _Moved], size: int) -> ShardIndex:
    """Return the index of the new shard: what the old one says, and what is new."""
    builder = IndexBuilder(old.shard)
    columns = old.columns
    known = [name for name in Facts._fields if name != "segments"]
    offsets, lengths = columns.get("segment_offset"), columns.get("segments")
    for i in range(len(old)):
        fields, there = old.fields(i), dict[str, _Moved]()
        for one in fields:
            new = moved.get(one.offset)
            if new is None or new.old_size != one.size:
                raise DataRefused(
                    f"the index says that .{one.extension} begins at byte {one.offset}"
                    " of the shard, where no such member is; make it again with"
                    " `fiberaug index`",
                    shard=old.shard, key=old.key(i), stage="index",
                )  # fmt: skip
            there[one.extension] = new
        facts = Facts(**{name: columns[name][i].item() for name in known})
        if offsets is not None and lengths is not None:
            part = lengths[int(offsets[i]) : int(offsets[i + 1])]
            facts = facts._replace(segments=part.tobytes())
        image = there.get(image_extension(there) or "")
        if image is not None and image.segments is not None:
            flags = facts.flags | DECODES * image.sound
            facts = facts._replace(segments=image.segments, flags=flags)
        builder.add(old.key(i), [_field(one, there) for one in fields], facts)
    return builder.finish(shard_bytes=size, checksums="crc32" in columns)


def _field(old: Field, moved: dict[str, _Moved]) -> Field:
    new = moved[old.extension]
    crc32 = old.crc32 if new.crc32 is None else new.crc32
    return Field(old.extension, new.offset, new.size, crc32)
