"""Pixels to files: in the format that the photo or the mask came in."""

import io
from pathlib import PurePath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fiberaug.errors import SampleBroken, UsageError
from fiberaug.jobs.members import mask_member
from fiberaug.jobs.sources.heif import HEIF

__all__ = [
    "ENCODINGS", "encode_mask", "encode_picture", "extension_of", "is_lossless",
    "mask_name",
]  # fmt: skip

ENCODINGS = {"jpeg": "jpg", "png": "png", "webp": "webp"}
"""What ``encode`` can ask for, and the extension of each."""

_WRITTEN = frozenset({"jpg", "png", "webp", "bmp", "tif", "ppm"})
_TO_PNG = HEIF | {"gif"}  # extensions of formats that are read and not written
_MASKS = frozenset({".png", ".bmp", ".tif", ".tiff"})
_DEEP = frozenset({"png", "tif"})
_LOSSLESS_WEBP = 101  # above 100 OpenCV writes WebP without loss
_CHANNELS = (1, 3, 4)


def extension_of(name: str, encode: str) -> str:
    """Return the extension, with its dot, of what is written for a file.

    >>> extension_of("a.JPG", "keep"), extension_of("a.gif", "keep")
    ('.JPG', '.png')
    """
    suffix = PurePath(name).suffix
    if encode != "keep":
        return f".{ENCODINGS[encode]}"
    return ".png" if suffix[1:].lower() in _TO_PNG else suffix


def is_lossless(kind: str, data: bytes | memoryview) -> bool:
    """Return whether a file of a format keeps pixels as they are.

    Args:
        kind: Extension of the member, such as ``jpg``.
        data: The file.
    """
    return kind not in {"jpg", "webp"} or bytes(data[12:16]) == b"VP8L"


def encode_picture(
    pixels: NDArray[Any], kind: str, *, quality: int, lossless: bool = False
) -> bytes:
    """Return pixels [H, W, C], R, G, B, alpha, as a file.

    Args:
        pixels: uint8; of PNG and TIFF also uint16. C is 1, 3 or 4.
        kind: ``jpg``, ``png``, ``webp``, ``bmp``, ``tif`` or ``ppm``; any other is PNG.
        quality: Of JPEG and lossy WebP, 1 to 100.
        lossless: Write WebP without loss.

    Raises:
        UsageError: The pixels are no picture, or the format cannot hold them.
    """
    kind = kind if kind in _WRITTEN else "png"
    _check(pixels, kind)
    options = {
        "jpg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        "webp": [cv2.IMWRITE_WEBP_QUALITY, _LOSSLESS_WEBP if lossless else quality],
    }.get(kind, [])
    channels = pixels.shape[2]
    if channels == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    elif channels == 4:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA)
    kind = "pgm" if kind == "ppm" and channels == 1 else kind
    try:
        done, data = cv2.imencode(f".{kind}", pixels, options)
    except cv2.error:
        done = False
    if not done:
        raise UsageError(
            f"{list(pixels.shape)} px cannot be written as {kind}; encode=png (--encode"
            " png) takes other sizes"
        )
    return data.tobytes()


def _check(pixels: NDArray[Any], kind: str) -> None:
    shape = list(pixels.shape)
    if pixels.dtype not in {np.dtype(np.uint8), np.dtype(np.uint16)}:
        raise UsageError(
            f"the recipe makes {pixels.dtype} of a photo, which no image file holds:"
            " leave out Normalize, ToFloat and ToTensorV2 that do not stand at its end,"
            " or put FromFloat behind them"
        )
    if pixels.dtype == np.uint16 and kind not in _DEEP:
        raise UsageError(
            f"the photo has 16 bits, {kind} holds 8: use encode=png (--encode png), or"
            " decode: {depth: uint8} in the recipe"
        )
    if pixels.ndim != 3 or shape[2] not in _CHANNELS or not pixels.size:
        raise UsageError(
            f"the recipe makes an image {shape}; a file holds [H, W, 1, 3 or 4]"
        )


def encode_mask(
    mask: NDArray[Any], name: str, original: bytes, *, levels: int | None = None
) -> bytes:
    """Return class ids [H, W] as a file like the one that they came from.

    A palette, and the one bit a pixel of black and white, stay.

    Args:
        mask: Whole numbers, 0 to 65,535.
        name: The file's, for its extension: ``.png``, ``.bmp`` or ``.tif``.
        original: The mask as the source has it.
        levels: Level in the file of what is 1 here; None: ids are written as they are.

    Raises:
        SampleBroken: A class id is none that a file holds.
    """
    if levels is not None:
        mask = (mask != 0).astype(np.uint8) * np.uint8(levels)
    with Image.open(io.BytesIO(original)) as picture:
        mode, palette = picture.mode, picture.getpalette()
    suffix = PurePath(name).suffix.lower()
    top = int(mask.max(initial=0))
    if mode == "P" and palette and int(mask.min(initial=0)) >= 0 and top < 256:
        again = Image.fromarray(mask.astype(np.uint8), "L")
        again.putpalette(palette)
        return _saved(again, suffix)
    if mode == "1" and int(mask.min(initial=0)) >= 0 and top < 2:
        return _saved(Image.fromarray(mask.astype(bool)), suffix)
    try:
        data = mask_member(mask)
    except UsageError as error:
        raise SampleBroken(f"the mask cannot be written: {error.message}") from error
    if suffix == ".png":
        return data
    kind = np.uint8 if top < 256 else np.uint16
    return cv2.imencode(suffix, mask.astype(kind))[1].tobytes()


def _saved(picture: Image.Image, suffix: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, {".png": "PNG", ".bmp": "BMP"}.get(suffix, "TIFF"))
    return file.getvalue()


def mask_name(name: str) -> str:
    """Return the name of a mask that is written for one: of other formats PNG."""
    path = PurePath(name)
    return name if path.suffix.lower() in _MASKS else str(path.with_suffix(".png"))
