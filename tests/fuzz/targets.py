"""What the fuzzers call: parsers of bytes that strangers wrote, and what holds of them.

Each target takes any bytes and returns, or raises ``Violation``: an exception that is
not of FiberAug's tree, a result that contradicts itself, or one that ``tarfile`` reads
otherwise.
"""

import contextlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from fiberaug.decode.text import parse_json
from fiberaug.errors import FiberAugError
from fiberaug.recipe import Recipe
from fiberaug.record import Record
from fiberaug.shards.index import ShardIndex, read_head
from fiberaug.shards.manifest import FILE, Manifest
from fiberaug.shards.reader import build_index
from fiberaug.shards.tar import scan

__all__ = ["TARGETS", "Violation"]


class Violation(Exception):
    """A law of a parser does not hold for these bytes."""


def fuzz_tar(data: bytes) -> None:
    """Scan a shard, index it, and compare with ``tarfile`` where both accept it.

    Then once more with the sums of the headers right, which no fuzzer would guess.
    """
    for content in (data, _with_sums(data)):
        _read_tar(content)


def _with_sums(data: bytes) -> bytes:
    content, at = bytearray(data), 0
    while at + 512 <= len(content) and any(content[at : at + 512]):
        content[at + 148 : at + 156] = b" " * 8
        content[at + 148 : at + 156] = b"%06o\0 " % sum(content[at : at + 512])
        digits = bytes(content[at + 124 : at + 135])
        size = int(digits, 8) if not digits.strip(b"01234567") and digits else 0
        at += 512 + (size + 511 & -512)
    return bytes(content)


def _read_tar(data: bytes) -> None:
    try:
        members = list(scan(data, shard="s.tar"))
    except FiberAugError as error:
        _check_place(error, len(data))
        return
    end = 0
    for member in members:
        if not end <= member.header_offset < member.offset <= len(data) - member.size:
            raise Violation(f"{member} lies wrongly in {len(data)} bytes")
        end = member.offset + member.size
    _compare(data, members)
    with contextlib.suppress(FiberAugError):
        index = build_index(data, shard="s.tar")  # type: ignore[arg-type]
        for i in range(len(index)):
            if index.find(index.key(i)) is None:
                raise Violation(f"sample {i} is not found by its key")
            index.fields(i)


def _check_place(error: FiberAugError, size: int) -> None:
    text = str(error)
    if error.shard != "s.tar" or not 0 <= (error.offset or 0) <= size:
        raise Violation(f"the error is nowhere: {text!r}")
    if not text.isprintable() or not text.isascii():
        raise Violation(f"the error is not one line of ASCII: {text!r}")


def _compare(data: bytes, members: list) -> None:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            theirs = [m for m in tar if m.isreg()]
    except (tarfile.TarError, ValueError, UnicodeError, OverflowError, EOFError):
        return
    ours = [(m.name, m.offset, m.size) for m in members]
    other = [(m.name, m.offset_data, m.size) for m in theirs]
    if ours[: len(other)] == other and len(other) < len(ours):
        # tarfile ends quietly at a header with, say, a mode that is no octal number
        at = ours[len(other)][1] - 512
        try:
            tarfile.TarInfo.frombuf(data[at : at + 512], "utf-8", "surrogateescape")
        except (tarfile.TarError, ValueError):
            return
    if ours != other:
        raise Violation(f"tarfile reads {other}, we {ours}")


def fuzz_index(data: bytes) -> None:
    """Open a side-car and read all that it says; then once more with checksums right.

    Without the second time a fuzzer would never get past the first CRC-32.
    """
    path = Path(_folder(), "s.tar.idx")
    for content in (data, _with_checksums(data)):
        path.write_bytes(content)
        try:
            read_head(path, shard="s.tar")
            index = ShardIndex.open(path, shard="s.tar")
        except FiberAugError:
            continue
        for i in range(min(len(index), 1000)):
            index.key(i)
            for field in index.fields(i):
                if field.offset < 0 or field.size < 0:
                    raise Violation(f"{field} is negative")
        index.find("k")
        if ShardIndex.open(path, shard="s.tar").to_bytes() != index.to_bytes():
            raise Violation("it is read differently the second time")


def _with_checksums(data: bytes) -> bytes:
    import struct
    import zlib

    if len(data) < 64:
        return data
    head, body = bytearray(data[:64]), data[64:]
    head[:12] = b"FBAUGIDX" + (1).to_bytes(4, "little")
    struct.pack_into("<QI", head, 40, len(data), zlib.crc32(body))
    struct.pack_into("<I8x", head, 52, zlib.crc32(bytes(head[:52])))
    return bytes(head) + body


def fuzz_record(data: bytes) -> None:
    """Read bytes as JSON of a sample, as a record, a recipe or a list of shards."""
    if not data:
        return
    kind, body = data[0] % 4, data[1:]
    if kind == 0:
        with contextlib.suppress(FiberAugError):
            value = parse_json(body)
            if parse_json(json.dumps(value).encode()) != value:
                raise Violation(f"{value!r} does not come back")
        return
    if kind == 1:
        with contextlib.suppress(FiberAugError):
            record = Record.from_json(body.decode("utf-8", "replace"))
            with contextlib.suppress(ValueError):  # NaN in parameters: never written
                if Record.from_json(record.to_json()) != record:
                    raise Violation(f"{record} does not come back")
        return
    if kind == 2:
        with contextlib.suppress(FiberAugError):
            recipe = Recipe.parse(body.decode("utf-8", "replace"))
            if Recipe.from_dict(recipe.to_dict()).to_dict() != recipe.to_dict():
                raise Violation(f"{recipe} does not come back")
        return
    folder = _folder()
    Path(folder, FILE).write_bytes(body)
    with contextlib.suppress(FiberAugError):
        manifest = Manifest.read(Path(folder))
        if any("/" in entry.name for entry in manifest.shards):
            raise Violation("a shard's name is a path")
        manifest.to_bytes()


_kept: list[tempfile.TemporaryDirectory] = []


def _folder() -> str:
    """Return a folder of this process, in memory where there is such a disk."""
    if not _kept:
        home = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
        _kept.append(tempfile.TemporaryDirectory(dir=home))
    return _kept[0].name


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "tar": fuzz_tar,
    "index": fuzz_index,
    "record": fuzz_record,
}
