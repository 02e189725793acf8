"""Tar shards made byte by byte, honest and hostile ones."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

__all__ = ["END", "block", "entry", "header_bytes", "pax", "record", "shard"]

END = bytes(1024)


def block(
    name: bytes = b"a.jpg",
    size: bytes = b"00000000003\0",
    kind: bytes = b"0",
    magic: bytes = b"ustar\x0000",
) -> bytes:
    """A header of any fields whose checksum is right."""
    head = name.ljust(100, b"\0") + bytes(24) + size.ljust(12, b"\0") + bytes(12)
    tail = (kind + bytes(100) + magic.ljust(8, b"\0")).ljust(356, b"\0")
    return head + b"%06o\0 " % sum(head + b" " * 8 + tail) + tail


def entry(name: str, data: bytes = b"abc", kind: bytes = b"0") -> bytes:
    """A header with its data, padded to whole blocks; long names as pax records."""
    raw = name.encode("utf-8", "surrogatepass")
    ahead = pax((b"path", raw)) if len(raw) > 100 else b""
    padding = bytes(-len(data) % 512)
    return ahead + block(raw[:100], b"%011o\0" % len(data), kind) + data + padding


def record(key: bytes, value: bytes) -> bytes:
    """One pax record."""
    rest = b" %s=%s\n" % (key, value)
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length += 1
    return b"%d" % length + rest


def pax(*records: tuple[bytes, bytes]) -> bytes:
    """A pax header."""
    body = b"".join(record(*pair) for pair in records)
    size = b"%011o\0" % len(body)
    return block(b"pax", size, b"x") + body + bytes(-len(body) % 512)


def shard(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    """A shard with exactly these members, in this order."""
    path.write_bytes(b"".join(entry(*member) for member in members) + END)
    return path


def header_bytes(*infos: tarfile.TarInfo) -> bytes:
    """A tar of members without data, as the standard library writes it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info in infos:
            tar.addfile(info)
    return buffer.getvalue()
