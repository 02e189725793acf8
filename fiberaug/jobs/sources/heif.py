"""HEIC and AVIF files, which shards do not hold, as PNG without loss."""

import io

import numpy as np
from PIL import Image, ImageOps, features

from fiberaug.decode.header import ImageHeader, ImageLimits
from fiberaug.decode.refusing import Refusing
from fiberaug.errors import SampleBroken
from fiberaug.jobs.encoding import encode_image

__all__ = ["HEIF", "as_png", "is_heif"]

HEIF = frozenset({"heic", "heif", "avif"})
"""Their extensions."""

_AVIF = frozenset({b"avif", b"avis"})
_BRANDS = _AVIF | {b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"}


def is_heif(data: bytes) -> bool:
    """Return whether a file is HEIC, HEIF or AVIF, by its first bytes."""
    return data[4:8] == b"ftyp" and data[8:12] in _BRANDS


def _brands(data: bytes) -> set[bytes]:
    """Return what a file says it can be read as."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    return {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}


def as_png(data: bytes) -> bytes:
    """Return the primary image of a HEIC or AVIF file as PNG: upright, RGB, 8 bits.

    The container says how it is turned; an EXIF orientation beside that is none.

    Raises:
        SampleBroken: It cannot be decoded, or nothing that is installed can.
        LimitExceeded: It is too large.
    """
    with Refusing("the HEIC or AVIF cannot be decoded"):
        image = _avif(data) if _brands(data) & _AVIF else _heic(data)
        width, height = image.size
        ImageLimits().check(ImageHeader("heif", width, height, 1))
        pixels = ImageOps.exif_transpose(image).convert("RGB")
    return encode_image(np.asarray(pixels), "png")


def _avif(data: bytes) -> Image.Image:
    """Open an AVIF; Pillow gives the container's turn as the orientation."""
    if not features.check("avif"):
        raise SampleBroken("AVIF needs Pillow 11.3 or newer, with AVIF", stage="decode")
    return Image.open(io.BytesIO(data), formats=("AVIF",))


def _heic(data: bytes) -> Image.Image:
    """Open a HEIC, turned as the container says."""
    try:
        import pillow_heif  # noqa: PLC0415  # the extra heic
    except ImportError as error:
        raise SampleBroken(
            'HEIC needs pip install "fiberaug[heic]"', stage="decode"
        ) from error
    found = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
    width, height = found.size
    ImageLimits().check(ImageHeader("heif", width, height, 1))
    pixels: Image.Image = found.to_pillow()
    pixels.getexif().pop(0x0112, None)
    return pixels
