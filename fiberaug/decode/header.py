"""The size and orientation of an image from its first bytes, before it is decoded."""

import io
import struct
from dataclasses import dataclass
from typing import NamedTuple

from fiberaug.decode.refusing import Refusing
from fiberaug.errors import LimitExceeded, SampleBroken, UsageError

__all__ = ["PILLOW_FORMATS", "ImageHeader", "ImageLimits", "read_header"]

PILLOW_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow may open: a closed table, since its EPS plugin would run a program."""

_SOF = frozenset(
    {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
)
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
_ORIENTATION_TAG = 0x0112


class ImageHeader(NamedTuple):
    """What the header of an image file says."""

    format: str
    """``jpeg``, ``png``, ``webp``, ``bmp``, ``gif``, ``ppm`` or ``tiff``."""

    width: int
    """Stored width in px, before the orientation is applied."""

    height: int
    """Stored height in px."""

    orientation: int
    """EXIF orientation, 1 to 8; 1 where the file has none."""

    @property
    def upright(self) -> tuple[int, int]:
        """(width, height) in px of the image as it is looked at."""
        return (
            (self.height, self.width)
            if self.orientation >= 5
            else (self.width, self.height)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """Largest image that is decoded; a small file can name a huge one."""

    pixels: int = 64 * 10**6
    """Width times height, px."""

    side: int = 16_384
    """Width or height, px."""

    def __post_init__(self) -> None:
        """Check the limits.

        Raises:
            UsageError: A limit is not positive.
        """
        if self.pixels < 1 or self.side < 1:
            raise UsageError(f"image limits must be >= 1, got {self}")

    def check(self, header: ImageHeader) -> None:
        """Refuse an image that is too large.

        Raises:
            LimitExceeded: It is.
        """
        width, height = header.width, header.height
        if width * height > self.pixels or max(width, height) > self.side:
            raise LimitExceeded(
                f"the image is {width}x{height} px; the limits are {self.pixels} px in"
                f" all and {self.side} px a side",
                stage="decode",
            )


def read_header(data: bytes | memoryview) -> ImageHeader:
    """Return what the header of an image file says.

    Raises:
        SampleBroken: The bytes are no image, or the header is cut or absurd.
        LimitExceeded: A BMP, GIF, PPM or TIFF has twice Pillow's MAX_IMAGE_PIXELS.
    """
    try:
        header = _dispatch(data)
    except (IndexError, struct.error) as error:
        raise SampleBroken("the image's header is cut", stage="decode") from error
    if header.width < 1 or header.height < 1:
        raise SampleBroken(
            f"the image's header says {header.width}x{header.height} px", stage="decode"
        )
    return header


def _dispatch(data: bytes | memoryview) -> ImageHeader:
    start = bytes(data[:16])
    if start[:3] == b"\xff\xd8\xff":
        return _jpeg(data)
    if start[:8] == b"\x89PNG\r\n\x1a\n":
        return _png(data)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return _webp(data)
    return _pillow(data)


def _jpeg(data: bytes | memoryview) -> ImageHeader:
    at, orientation = 2, 1
    while True:
        if data[at] != 0xFF:
            raise SampleBroken(f"byte {at} of the JPEG is no marker", stage="decode")
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _BARE:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _SOF:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return ImageHeader("jpeg", width, height, orientation)
        if marker in {0xD9, 0xDA}:
            raise SampleBroken("the JPEG has no frame header", stage="decode")
        if marker == 0xE1 and bytes(data[at + 4 : at + 10]) == b"Exif\0\0":
            orientation = _exif_orientation(bytes(data[at + 10 : at + 2 + length]))
        at += 2 + length


def _png(data: bytes | memoryview) -> ImageHeader:
    if bytes(data[12:16]) != b"IHDR":
        raise SampleBroken("the PNG has no header, or it is cut", stage="decode")
    width, height = struct.unpack_from(">II", data, 16)
    at, orientation = 33, 1
    while at + 8 <= len(data):  # exiftool writes eXIf behind the pixels
        (length,) = struct.unpack_from(">I", data, at)
        kind = bytes(data[at + 4 : at + 8])
        if kind == b"eXIf":
            exif = bytes(data[at + 8 : at + 8 + length]).removeprefix(b"Exif\0\0")
            orientation = _exif_orientation(exif)
        if kind in {b"eXIf", b"IEND"}:
            break
        at += 12 + length
    return ImageHeader("png", width, height, orientation)


def _webp(data: bytes | memoryview) -> ImageHeader:
    kind = bytes(data[12:16])
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return ImageHeader("webp", width & 0x3FFF, height & 0x3FFF, 1)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return ImageHeader("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, 1)
    if kind != b"VP8X" or len(data) < 30:
        raise SampleBroken("the WebP has no frame header", stage="decode")
    width = int.from_bytes(bytes(data[24:27]), "little") + 1
    height = int.from_bytes(bytes(data[27:30]), "little") + 1
    at, orientation = 12, 1
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        if bytes(data[at : at + 4]) == b"EXIF":
            exif = bytes(data[at + 8 : at + 8 + length]).removeprefix(b"Exif\0\0")
            orientation = _exif_orientation(exif)
        at += 8 + length + (length & 1)
    return ImageHeader("webp", width, height, orientation)


def _exif_orientation(tiff: bytes) -> int:
    """Return the orientation of a TIFF block; 1 where it is absent or absurd."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (first,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, first)
        for i in range(entries):
            at = first + 2 + 12 * i
            tag, kind = struct.unpack_from(order + "HH", tiff, at)
            if tag == _ORIENTATION_TAG and kind == 3:
                (value,) = struct.unpack_from(order + "H", tiff, at + 8)
                return value if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


def _pillow(data: bytes | memoryview) -> ImageHeader:
    # Only for formats that are rare in shards.
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415

    with Refusing("the bytes are no image"):
        try:
            with Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as image:
                orientation = image.getexif().get(_ORIENTATION_TAG, 1)
                if orientation not in range(1, 9):
                    orientation = 1
                width, height = image.size
                name = (image.format or "unknown").lower()
        except UnidentifiedImageError:
            raise SampleBroken(
                f"the bytes are no image: none of {', '.join(PILLOW_FORMATS)}",
                stage="decode",
            ) from None
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise LimitExceeded(
                f"the image is above Pillow's own limit: {error}", stage="decode"
            ) from error
    if name == "tiff" and orientation >= 5:  # Pillow gives the upright size
        width, height = height, width
    return ImageHeader(name, width, height, orientation)
