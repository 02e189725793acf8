"""Where the XMP packet stands in a PNG, a JPEG or a WebP, and how it is put there.

Not one byte of the compressed image is touched. Sources: PNG 3rd edition, section
11.3.3.4; ISO 16684-3:2021, sections 1.1.3 and 1.1.5; RFC 9649 (WebP), section 2.7.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from fiberaug.xmp import MOST_BYTES

__all__ = ["Container", "FileBroken", "container_of"]

_MOST_PARTS = 65_536
_PNG = b"\x89PNG\r\n\x1a\n"
_KEYWORD = b"XML:com.adobe.xmp\0"
_TAIL = 1 << 14  # bytes at the end of a PNG in which a late packet is looked for
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length
_XMP_FLAG, _ALPHA_FLAG = 0x04, 0x10


class FileBroken(ValueError):
    """An image file is not built as its format says."""


class Part(NamedTuple):
    """A chunk or a segment, whole: from ``start`` to ``end``."""

    kind: bytes
    start: int
    body: int
    end: int


class Container(NamedTuple):
    """A format that can hold a packet."""

    name: str
    most: int
    """Bytes that a packet can have in it."""

    find: "Callable[[bytes], tuple[Part, bytes] | None]"
    """Return the first packet of a file, and where it stands; raises FileBroken."""

    put: "Callable[[bytes, bytes], bytes]"
    """Return the file with this packet for the one it has; raises FileBroken."""


def container_of(data: bytes | memoryview) -> Container | None:
    """Return how a file holds a packet; None where its format is none of the three."""
    start = bytes(data[:12])
    if start[:3] == b"\xff\xd8\xff":
        return _JPEG_CONTAINER
    if start[:8] == _PNG:
        return _PNG_CONTAINER
    if start[:4] == b"RIFF" and start[8:] == b"WEBP":
        return _WEBP_CONTAINER
    return None


def _png_parts(data: bytes, *, late: bool) -> Iterator[Part]:
    """Yield the chunks before the first IDAT, or all of them."""
    at, size = len(_PNG), len(data)
    for _ in range(_MOST_PARTS):
        if at + 12 > size:
            raise FileBroken("the PNG ends within its chunks")
        length = int.from_bytes(data[at : at + 4], "big")
        part = Part(bytes(data[at + 4 : at + 8]), at, at + 8, at + 12 + length)
        if part.end > size:
            raise FileBroken(f"a chunk of {length} bytes is longer than the PNG")
        yield part
        if part.kind == b"IEND" or (part.kind == b"IDAT" and not late):
            return
        at = part.end
    raise FileBroken(f"the PNG has more than {_MOST_PARTS} chunks")


def _find_png(data: bytes) -> tuple[Part, bytes] | None:
    late = _KEYWORD in bytes(data[-_TAIL:])
    for part in _png_parts(data, late=late):
        if part.kind == b"iTXt" and part.end - part.body > len(_KEYWORD) + 8:
            head = part.body + len(_KEYWORD)
            if data[part.body : head] == _KEYWORD:
                return part, _png_text(bytes(data[head : part.end - 4]))
    return None


def _png_text(rest: bytes) -> bytes:
    """Return the text of a chunk, from its compression flag on."""
    parts = rest[2:].split(b"\0", 2)
    if len(parts) != 3:
        raise FileBroken("the XMP chunk ends within its head")
    if not rest[0]:
        return parts[2]
    try:
        return zlib.decompressobj().decompress(parts[2], MOST_BYTES + 1)
    except zlib.error as error:
        raise FileBroken(f"the XMP chunk is not compressed text: {error}") from error


def _put_png(data: bytes, packet: bytes) -> bytes:
    found = _find_png(data)
    if found is not None:
        data = data[: found[0].start] + data[found[0].end :]
    first = next(_png_parts(data, late=False))
    if first.kind != b"IHDR":
        raise FileBroken("the PNG does not begin with IHDR")
    body = b"iTXt" + _KEYWORD + bytes(4) + packet
    size, check = len(body) - 4, zlib.crc32(body)
    chunk = size.to_bytes(4, "big") + body + check.to_bytes(4, "big")
    return data[: first.end] + chunk + data[first.end :]


def _jpeg_parts(data: bytes) -> Iterator[Part]:
    """Yield the segments before the frame."""
    at, size = 2, len(data)
    for _ in range(_MOST_PARTS):
        if at + 4 > size or data[at] != 0xFF:
            raise FileBroken("the JPEG has no frame")
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in _FRAMES or marker in {0xD9, 0xDA}:
            return
        length = 0 if marker in _BARE else data[at + 2] << 8 | data[at + 3]
        end = at + 2 + length
        if length == 1 or end > size:
            raise FileBroken(f"a segment of {length} bytes is longer than the JPEG")
        yield Part(bytes((marker,)), at, at + 4, end)
        at = end
    raise FileBroken(f"the JPEG has more than {_MOST_PARTS} segments")


def _find_jpeg(data: bytes) -> tuple[Part, bytes] | None:
    for part in _jpeg_parts(data):
        if part.kind == b"\xe1":
            head = part.body + len(_JPEG_XMP)
            if data[part.body : head] == _JPEG_XMP:
                return part, bytes(data[head : part.end])
    return None


def _put_jpeg(data: bytes, packet: bytes) -> bytes:
    body = _JPEG_XMP + packet
    segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    found = _find_jpeg(data)
    if found is not None:
        return data[: found[0].start] + segment + data[found[0].end :]
    at = 2
    for part in _jpeg_parts(data):
        exif = part.kind == b"\xe1" and data[part.body : part.body + 5] == b"Exif\0"
        if part.kind != b"\xe0" and not exif:
            break
        at = part.end
    return data[:at] + segment + data[at:]


def _webp_parts(data: bytes) -> tuple[list[Part], int]:
    """Return the chunks, and where the RIFF ends."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise FileBroken(f"the WebP has {len(data)} bytes and says {end}")
    parts: list[Part] = []
    at = 12
    while at + 8 <= end:
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        part = Part(bytes(data[at : at + 4]), at, at + 8, at + 8 + length)
        if part.end > end or len(parts) == _MOST_PARTS:
            raise FileBroken(f"a chunk of {length} bytes is longer than the WebP")
        parts.append(part)
        at = part.end + length % 2
    return parts, end


def _find_webp(data: bytes) -> tuple[Part, bytes] | None:
    if data[12:16] != b"VP8X" or not len(data) > 20 or not data[20] & _XMP_FLAG:
        return None
    for part in _webp_parts(data)[0]:
        if part.kind == b"XMP ":
            return part, bytes(data[part.body : part.end])
    return None


def _put_webp(data: bytes, packet: bytes) -> bytes:
    parts, end = _webp_parts(data)
    if not parts:
        raise FileBroken("the WebP has no chunk")
    first = parts[0]
    if first.kind == b"VP8X":
        if first.end - first.body < 10:
            raise FileBroken("the head of the WebP is too short")
        head = bytearray(data[first.start : first.end])
        head[8] |= _XMP_FLAG
        rest = parts[1:]
    else:
        head = bytearray(_webp_head(bytes(data[first.body : first.end]), first.kind))
        rest = parts
    chunks = [_padded(head)]
    chunks += [
        _padded(data[part.start : part.end]) for part in rest if part.kind != b"XMP "
    ]
    chunks.append(_padded(b"XMP " + len(packet).to_bytes(4, "little") + packet))
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + len(body).to_bytes(4, "little") + body + bytes(data[end:])


def _padded(chunk: bytes | bytearray | memoryview) -> bytes:
    return bytes(chunk) + bytes(len(chunk) % 2)


def _webp_head(image: bytes, kind: bytes) -> bytes:
    """Return the VP8X chunk for a file that has none."""
    flags = _XMP_FLAG
    if kind == b"VP8 " and image[3:6] == b"\x9d\x01\x2a" and len(image) >= 10:
        width = int.from_bytes(image[6:8], "little") & 0x3FFF
        height = int.from_bytes(image[8:10], "little") & 0x3FFF
    elif kind == b"VP8L" and image[:1] == b"\x2f" and len(image) >= 5:
        bits = int.from_bytes(image[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        flags |= _ALPHA_FLAG * (bits >> 28 & 1)
    else:
        raise FileBroken("the WebP does not begin with an image")
    if not width or not height:
        raise FileBroken(f"the WebP is {width} x {height} px")
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X" + struct.pack("<IB3x", 10, flags) + sides


_PNG_CONTAINER = Container("png", MOST_BYTES, _find_png, _put_png)
_JPEG_CONTAINER = Container("jpeg", 65_533 - len(_JPEG_XMP), _find_jpeg, _put_jpeg)
_WEBP_CONTAINER = Container("webp", MOST_BYTES, _find_webp, _put_webp)
