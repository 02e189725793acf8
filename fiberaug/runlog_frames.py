"""Lines in a file of zstd frames, each of which is there whole or not at all.

One write is one frame with a checksum. A frame (RFC 8878, section 3.1.1) is a header,
blocks that say how long they are, and the checksum; it counts when the checksum is
right. Behind a damage the next frame is looked for, because a length can be wrong, too.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import zstandard

from fiberaug.errors import DataRefused, StoreError

__all__ = ["Frame", "frames", "mend", "pack_lines", "read_lines"]

_LEVEL = 3
_MAGIC = b"\x28\xb5\x2f\xfd"
_MOST_HEADER = 18
_MOST_BLOCK = 2**17
_RLE, _RESERVED = 1, 3
_CHUNK = 2**20
_TAIL = 2**22
_log = logging.getLogger("fiberaug")


class Frame(NamedTuple):
    """Bytes ``start`` to ``end`` of a file."""

    start: int
    end: int
    state: str
    """``whole``; ``cut``: the last one, of a write that did not end; ``damaged``."""


def pack_lines(lines: str) -> bytes:
    """Return a frame of lines, each of which ends with a line feed."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    return compressor.compress(lines.encode())


def frames(file: BinaryIO, size: int, start: int = 0) -> Iterator[Frame]:
    """Yield the frames of bytes ``start`` to ``size``, which they cover without gap."""
    while start < size:
        end, trouble = start, None
        try:
            for end in _ends(file, start, size):  # noqa: B007  # the last one counts
                pass
            for _ in _texts(file, start, end):
                pass
        except (EOFError, ValueError, zstandard.ZstdError) as error:
            trouble = error
        if trouble is None:
            yield Frame(start, end, "whole")
        elif (following := _next_frame(file, start + 1, size)) is not None:
            yield Frame(start, following, "damaged")
            end = following
        else:
            # A machine that lost power leaves zeros where nothing was written yet.
            rest = max(start, min(end, size - 4))
            is_cut = isinstance(trouble, EOFError) or _is_zero(file, rest, size)
            yield Frame(start, size, "cut" if is_cut else "damaged")
            return
        start = end


def _ends(file: BinaryIO, start: int, size: int) -> Iterator[int]:
    """Yield where the header, each block and the checksum of a frame end.

    Raises:
        EOFError: The frame goes on behind ``size``.
        ValueError: This is no frame, or none any more.
    """
    file.seek(start)
    header = file.read(min(_MOST_HEADER, size - start))
    if header[:4] != _MAGIC[: len(header)]:
        raise ValueError("no magic number")
    try:
        at = start + zstandard.frame_header_size(header)
        has_checksum = zstandard.get_frame_parameters(header).has_checksum
    except zstandard.ZstdError as error:
        if len(header) < _MOST_HEADER:
            raise EOFError from error
        raise ValueError("no header") from error
    yield at
    is_last = False
    while not is_last:
        if at + 3 > size:
            raise EOFError
        file.seek(at)
        head = int.from_bytes(file.read(3), "little")
        is_last, kind, length = bool(head & 1), head >> 1 & 3, head >> 3
        if kind == _RESERVED or length > _MOST_BLOCK:
            raise ValueError("no block")
        at += 3 + (1 if kind == _RLE else length)
        if at > size:
            raise EOFError
        yield at
    if has_checksum:
        if at + 4 > size:
            raise EOFError
        yield at + 4


def _next_frame(file: BinaryIO, start: int, size: int) -> int | None:
    """Return where the next frame begins whose first block holds lines of JSON."""
    at = start
    while at < size:
        file.seek(at)
        chunk = file.read(min(_CHUNK, size - at))
        found = chunk.find(_MAGIC)
        while found >= 0:
            if _begins_with_json(file, at + found, size):
                return at + found
            found = chunk.find(_MAGIC, found + 1)
        at += max(1, len(chunk) - len(_MAGIC) + 1)
    return None


def _begins_with_json(file: BinaryIO, start: int, size: int) -> bool:
    try:
        text = next(filter(None, _texts(file, start, size)), b"")
    except (EOFError, ValueError, zstandard.ZstdError):
        return False
    return text.startswith(b"{")


def _is_zero(file: BinaryIO, start: int, size: int) -> bool:
    file.seek(start)
    for at in range(start, size, _CHUNK):
        if file.read(min(_CHUNK, size - at)).strip(b"\0"):
            return False
    return True


def _texts(file: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    """Yield the text of each block of a frame.

    Raises:
        zstandard.ZstdError: A block or the checksum is damaged.
        EOFError, ValueError: See :func:`_ends`.
    """
    decoder = zstandard.ZstdDecompressor().decompressobj()
    for end in _ends(file, start, size):
        file.seek(start)
        yield decoder.decompress(file.read(end - start))
        start = end


def _lines(texts: Iterator[bytes]) -> Iterator[bytes]:
    """Yield whole lines; what stands behind the last line feed is left out."""
    rest = b""
    for text in texts:
        *whole, rest = (rest + text).split(b"\n")
        yield from whole


def read_lines(
    path: Path, *, skip_damaged: bool = False
) -> Iterator[tuple[int, bytes]]:
    """Yield (byte at which its frame begins, line) of each line of a file.

    Memory is that of a block and a line. A frame is checked before its first line is
    given; one that was cut at the end of the file is left out.

    Args:
        path: The file.
        skip_damaged: Go on behind a damaged frame and log a warning.

    Raises:
        DataRefused: A frame is damaged; with the byte at which it begins.
        StoreError: The file cannot be read.
    """
    with _opened(path) as file:
        for frame in frames(file, os.fstat(file.fileno()).st_size):
            if frame.state == "whole":
                for line in _lines(_texts(file, frame.start, frame.end)):
                    yield frame.start, line
            elif frame.state == "damaged":
                refused = DataRefused(
                    f"{path} is damaged in bytes {frame.start} to {frame.end};"
                    " RecordLog(..., skip_damaged=True) reads the rest",
                    offset=frame.start,
                )
                if not skip_damaged:
                    raise refused
                _log.warning("left out: %s", refused)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error


def mend(path: Path) -> None:
    """Cut off what is no whole frame at the end, so that the file can be appended to.

    Damage in the middle stays, and is said when the file is read. Only the last 4 MiB
    are looked at, unless there is no frame in them.

    Raises:
        OSError: The file cannot be read or written.
    """
    if not path.exists():
        return
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        start = _next_frame(file, max(0, size - _TAIL), size) or 0
        for frame in frames(file, size, start):
            if frame.end == size and frame.state != "whole":
                if frame.state == "damaged":
                    _log.warning(
                        "%s: bytes %d to %d are no records and are cut off",
                        path, frame.start, size,
                    )  # fmt: skip
                file.truncate(frame.start)
