"""One sample of the buffer as one file, which is read whole or not at all.

A file is ``FAOS``, the CRC-32 of all that follows, the image's extension, the lengths
of the three members (image, ``cls``, ``json``), and the members.

Files get their names by a rename and are not synced. What a killed process has written
stays, so no name ever stands for half a file because of a kill. A machine that loses
power may leave one: its checksum says so, it is taken for one that is not there, and
the sample is made again, the same as before.
"""

import os
import uuid
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from struct import Struct

from fiberaug.errors import StoreError

__all__ = ["PART", "pack", "read_sample", "unpack", "write_whole"]

PART = ".part"
"""Suffix of a file that has no name yet."""

_HEAD = Struct("<4sI")  # magic, CRC-32 of all behind it
_NAMES = Struct("<8s3Q")  # extension of the image, lengths of the three members


def pack(members: Mapping[str, bytes]) -> bytes:
    """Return a sample as one file.

    Args:
        members: The image by its extension, ``cls`` and ``json``.
    """
    (extension,) = set(members) - {"cls", "json"}
    parts = [members[extension], members["cls"], members["json"]]
    body = b"".join([_NAMES.pack(extension.encode(), *map(len, parts)), *parts])
    return _HEAD.pack(b"FAOS", zlib.crc32(body)) + body


def unpack(data: bytes) -> dict[str, bytes] | None:
    """Return the members of :func:`pack`; None where the file is not whole."""
    at = _HEAD.size + _NAMES.size
    if len(data) < at:
        return None
    magic, crc = _HEAD.unpack_from(data)
    if magic != b"FAOS" or zlib.crc32(memoryview(data)[_HEAD.size :]) != crc:
        return None
    extension, *lengths = _NAMES.unpack_from(data, _HEAD.size)
    names = (extension.rstrip(b"\0").decode(), "cls", "json")
    members = {}
    for name, length in zip(names, lengths, strict=True):
        members[name] = data[at : at + length]
        at += length
    return members


def read_sample(path: Path) -> dict[str, bytes] | None:
    """Return the members of a sample's file; None where it is not there whole.

    A damaged file is removed.

    Raises:
        StoreError: The disk is gone.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    members = unpack(data)
    if members is None:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return members


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a name of its own, then give it its name; see the module.

    Raises:
        StoreError: The disk is full or gone.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{PART}")
    try:
        for last in (False, False, True):
            try:
                temporary.write_bytes(data)
                os.replace(temporary, path)  # noqa: PTH105  # half the time of Path.replace
                break
            except FileNotFoundError:  # the first of its folder, or one just emptied
                if last:
                    raise
                path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StoreError(
            f"cannot write {path} ({len(data)} bytes): {error.strerror or error}",
            stage="generate",
        ) from error
