"""Records of a TFRecord file: where they lie, and whether they are whole.

A record is its length (u64), a checksum of the length, the data, and a checksum of the
data; numbers are little-endian, checksums masked CRC-32C.

Source: TensorFlow, "TFRecord and tf.train.Example", section "TFRecords format details".
"""

import os
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from fiberaug.errors import DataRefused, LimitExceeded, SampleBroken, UsageError
from fiberaug.shards.limits import Limits

__all__ = ["Record", "read_record", "records", "the_extra"]

_HEAD, _CRC = struct.Struct("<QI"), struct.Struct("<I")
_PACKED = {b"\x1f\x8b": "GZIP", b"\x78\x01": "ZLIB", b"\x78\x9c": "ZLIB"}
_MOST_BYTES = Limits().sample_bytes


class Record(NamedTuple):
    """One record of a file."""

    offset: int
    """First byte of the record in the file."""

    size: int
    """Bytes of its data."""

    crc: int
    """Masked CRC-32C of the data, as the file states it."""

    data: bytes | None
    """The data; None where it has another checksum, or is larger than a sample."""


def the_extra() -> UsageError:
    """Return the error of an installation that lacks the libraries for this source."""
    return UsageError(
        "this source needs protobuf and google-crc32c: pip install 'fiberaug[tfrecord]'"
    )


def _crc32c() -> Callable[[bytes], int]:
    try:
        from google_crc32c import value  # noqa: PLC0415  # an extra
    except ImportError:
        raise the_extra() from None
    found: Callable[[bytes], int] = value
    return found


def _masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(path: str) -> Iterator[Record]:
    """Yield the records of a file, each read once.

    Raises:
        UsageError: The library of checksums is not installed.
        DataRefused: The file is cut, compressed, or none; the byte is named.
        OSError: It cannot be read.
    """
    crc32c = _crc32c()
    with open(path, "rb") as file:
        total, at = os.fstat(file.fileno()).st_size, 0
        while at < total:
            size = _size(file.read(_HEAD.size), path, at, crc32c)
            end = at + _HEAD.size + size + _CRC.size
            if end > total:
                raise DataRefused(
                    f"{path} is cut: its record at byte {at} ends at {end}, the file"
                    f" has {total} bytes"
                )
            data = None
            if size > _MOST_BYTES:
                file.seek(size, os.SEEK_CUR)
            else:
                data = file.read(size)
            (crc,) = _CRC.unpack(file.read(_CRC.size))
            if data is not None and _masked(crc32c(data)) != crc:
                data = None
            yield Record(at, size, crc, data)
            at = end


def _size(head: bytes, path: str, at: int, crc32c: Callable[[bytes], int]) -> int:
    """Return the length that the head of a record states."""
    size = crc = -1
    if len(head) == _HEAD.size:
        size, crc = _HEAD.unpack(head)
    if size >= 0 and _masked(crc32c(head[:8])) == crc:
        return size
    packed = _PACKED.get(head[:2]) if at == 0 else None
    if packed is not None:
        raise DataRefused(
            f"{path} is compressed ({packed}), so that no record can be found in it"
            " alone; unpack it first"
        )
    raise DataRefused(
        f"{path} is no TFRecord file, or damaged: at byte {at} stands no length with"
        " its checksum"
    )


def read_record(path: str, offset: int) -> bytes:
    """Return the data of the record that begins at a byte.

    Raises:
        UsageError: The library of checksums is not installed.
        LimitExceeded: It is larger than a sample may be.
        SampleBroken: It does not have its checksum, or is not there any more.
        OSError: The file cannot be read.
    """
    crc32c = _crc32c()
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        head = file.read(_HEAD.size)
        size, crc = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, -1)
        if _masked(crc32c(head[:8])) != crc:
            raise SampleBroken(f"no record stands at byte {offset} any more")
        if size > _MOST_BYTES:
            raise LimitExceeded(
                f"the record at byte {offset} has {size} bytes, the limit is"
                f" {_MOST_BYTES}"
            )
        data = _whole(file, size + _CRC.size)
    body = data[:size]
    if (
        len(data) < size + _CRC.size
        or _masked(crc32c(body)) != _CRC.unpack(data[size:])[0]
    ):
        raise SampleBroken(
            f"the record at byte {offset} does not have its checksum: the file is"
            " damaged"
        )
    return body


def _whole(file: "BinaryIO", size: int) -> bytes:
    """Return so many bytes, or those up to the end of the file."""
    parts = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
