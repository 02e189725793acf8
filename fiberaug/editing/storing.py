"""Edited pixels to an image file with what the parent's said beside its pixels.

EXIF, colour profile and XMP come along, and the pixels are turned back to the frame
that the camera stored: a photo with EXIF orientation 6 comes back with orientation 6.
"""

import io
import struct
import zlib
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from fiberaug.decode.header import PILLOW_FORMATS, ImageHeader, read_header
from fiberaug.editing.relabelling import stored_plane
from fiberaug.embedding import FileBroken, container_of
from fiberaug.errors import SampleBroken
from fiberaug.marking import COMPOSITE, mark

__all__ = ["encode_plane", "store"]

_FAST = (
    cv2.IMWRITE_PNG_COMPRESSION, 1,
    cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE,
    cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB,
)  # fmt: skip
_TO_BGR = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
_SPACES = {1: b"GRAY", 2: b"GRAY", 3: b"RGB ", 4: b"RGB "}  # of a profile
_WEBP_SIDE = 16_383
_RGB = [82, 71, 66]  # what the components of such a JPEG are called
_PNG_HEAD = 8 + 25  # signature and IHDR
_MOST_EXIF = 65_533 - 6


class _Beside(NamedTuple):
    """What a file says beside its pixels."""

    exif: bytes
    """A TIFF block, without the name that JPEGs put before it."""

    profile: bytes
    tables: dict[int, list[int]] | None = None
    """Quantisation tables of a JPEG."""

    sampling: int = -1
    """Chroma subsampling of a JPEG as Pillow numbers it; -1: it has another."""

    progressive: bool = False
    plain: bool = False
    """Whether a JPEG holds R, G and B as they are, without luma and chroma."""


def store(
    pixels: NDArray[Any], parent: bytes, header: ImageHeader, encode: str
) -> tuple[str, bytes]:
    """Return (extension, bytes) of an edited photo, marked as a composite.

    Args:
        pixels: The photo, upright [H, W, C], uint8 or uint16.
        parent: The file of the photo that was edited.
        header: Of the parent.
        encode: ``png`` or ``webp``, without loss, or ``keep``: a JPEG for a JPEG, with
            the parent's quantisation tables and subsampling; else without loss. What
            lossless WebP cannot hold becomes PNG.

    Raises:
        SampleBroken: The parent cannot be read.
    """
    beside = _beside(parent, header, pixels.shape[2])
    plain = np.ascontiguousarray(stored_plane(pixels, header.orientation))
    kind = _kind(plain, header, encode)
    data = _encoded(kind, plain, beside)
    if read_header(data).orientation != header.orientation:
        # The parent's EXIF says it in a way that only the parent's format has.
        only = beside._replace(exif=_orientation_only(header.orientation))
        data = _encoded(kind, plain, only)
    return {"jpeg": "jpg"}.get(kind, kind), mark(_with_xmp(data, parent), COMPOSITE)


def _kind(plain: NDArray[Any], header: ImageHeader, encode: str) -> str:
    colour = plain.dtype == np.uint8 and plain.shape[2] == 3
    if encode == "keep" and header.format == "jpeg":
        return "jpeg"
    webp = encode == "webp" or (encode == "keep" and header.format == "webp")
    return "webp" if webp and colour and max(plain.shape) <= _WEBP_SIDE else "png"


def _encoded(kind: str, plain: NDArray[Any], beside: _Beside) -> bytes:
    if kind == "png":
        return _with_chunks(encode_plane(plain), beside)
    exif = b"Exif\0\0" + beside.exif if beside.exif else b""
    more: dict[str, Any] = {"exif": exif} if exif else {}
    if beside.profile:
        more["icc_profile"] = beside.profile
    if kind == "webp":
        return _pillow(plain, "WEBP", lossless=True, quality=20, method=0, **more)
    if len(beside.exif) > _MOST_EXIF:
        more.pop("exif")
    if beside.tables is not None:
        more["qtables"] = beside.tables
    if beside.sampling >= 0 and plain.shape[2] == 3:
        more["subsampling"] = beside.sampling
    if beside.plain and plain.shape[2] == 3:
        more["keep_rgb"] = True
    return _pillow(plain, "JPEG", optimize=True, progressive=beside.progressive, **more)


def encode_plane(pixels: NDArray[Any]) -> bytes:
    """Return pixels [H, W] or [H, W, C] as a PNG without anything beside them."""
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        return _pillow(pixels, "PNG", compress_level=1)
    code = _TO_BGR.get(pixels.shape[2]) if pixels.ndim == 3 else None
    flipped = pixels if code is None else cv2.cvtColor(pixels, code)
    done, data = cv2.imencode(".png", flipped, _FAST)
    if not done:
        raise SampleBroken(
            f"OpenCV cannot write {list(pixels.shape)} as PNG", stage="encode"
        )
    return bytes(data.tobytes())


def _pillow(pixels: NDArray[Any], kind: str, **options: Any) -> bytes:  # noqa: ANN401  # of the format
    plain = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(plain)).save(file, kind, **options)
    return file.getvalue()


def _with_chunks(data: bytes, beside: _Beside) -> bytes:
    """Return a PNG with EXIF and profile, behind its header."""
    chunks = b""
    if beside.profile:
        chunks += _chunk(b"iCCP", b"ICC\0\0" + zlib.compress(beside.profile))
    if beside.exif:
        chunks += _chunk(b"eXIf", beside.exif)
    return data[:_PNG_HEAD] + chunks + data[_PNG_HEAD:]


def _chunk(kind: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(body, zlib.crc32(kind))
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def _with_xmp(data: bytes, parent: bytes) -> bytes:
    """Return a file with the XMP of its parent; one that is not sound stays there."""
    source, target = container_of(parent), container_of(data)
    try:
        found = None if source is None else source.find(parent)
        if found is None or target is None:
            return data
        packet = found[1].rstrip(b"\0")
        return data if len(packet) > target.most else target.put(data, packet)
    except FileBroken:
        return data


def _beside(parent: bytes, header: ImageHeader, channels: int) -> _Beside:
    """Return what a file says beside its pixels, as far as it can be read."""
    orientation = _orientation_only(header.orientation)
    try:
        with Image.open(io.BytesIO(parent), formats=PILLOW_FORMATS) as image:
            exif = _bytes(image.info.get("exif")).removeprefix(b"Exif\0\0")
            profile = _bytes(image.info.get("icc_profile"))
            tables, sampling, plain = None, -1, False
            if isinstance(image, JpegImagePlugin.JpegImageFile):
                tables = dict(image.quantization)
                sampling = JpegImagePlugin.get_sampling(image)
                plain = [layer[0] for layer in image.layer] == _RGB
            progressive = bool(image.info.get("progressive"))
    except Exception:  # noqa: BLE001  # of any plugin: the pixels are there all the same
        return _Beside(orientation, b"")
    if header.format == "png":
        exif = _late_exif(parent) or exif
    if profile[16:20] != _SPACES[channels]:
        profile = b""  # of inks, while the pixels are RGB
    return _Beside(exif or orientation, profile, tables, sampling, progressive, plain)


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _late_exif(data: bytes) -> bytes:
    """Return the EXIF of a PNG, also where it stands behind the pixels."""
    at = 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"eXIf":
            return data[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0")
        at += 12 + length
    return b""


def _orientation_only(orientation: int) -> bytes:
    """Return an EXIF block that says nothing but an orientation; empty for 1."""
    if orientation == 1:
        return b""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
