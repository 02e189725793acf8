"""Image bytes to pixels: one decoder, one error, limits before memory is taken."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.header import (
    PILLOW_FORMATS,
    ImageHeader,
    ImageLimits,
    read_header,
)
from fiberaug.decode.orientation import upright
from fiberaug.errors import SampleBroken, StoreError

__all__ = ["DECODER", "decode_image", "decode_mask", "save_image"]

DECODER = "opencv"
"""Identity of the decoder, part of the recipe's hash."""

_OPENCV = frozenset({"jpeg", "png", "webp", "bmp", "ppm"})
_DEEP = ("I", "F")  # Pillow's modes of more than 8 bits: its conversion clips them
_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


def decode_image(
    data: bytes | memoryview, *, limits: ImageLimits
) -> tuple[NDArray[np.uint8], ImageHeader]:
    """Return upright RGB pixels, uint8 [H, W, 3], and the file's header.

    Gray becomes three equal channels, alpha is dropped, CMYK is converted without a
    profile, and of 16 bits the upper 8 are kept.

    Args:
        data: JPEG, PNG, WebP or another format that OpenCV or Pillow reads.
        limits: Refuses images that would take too much memory.

    Raises:
        SampleBroken: The bytes are no image or are cut.
        LimitExceeded: The image is too large.
    """
    header = read_header(data)
    limits.check(header)
    if header.format in _OPENCV:
        pixels = upright(_opencv(data, header), header.orientation)
    else:
        pixels = _pillow_rgb(data, header)
    if pixels.shape[1::-1] != header.upright:
        raise SampleBroken(
            f"the image is {pixels.shape[1]}x{pixels.shape[0]} px, its header says"
            f" {header.upright[0]}x{header.upright[1]}",
            stage="decode",
        )
    return pixels, header


def _opencv(data: bytes | memoryview, header: ImageHeader) -> NDArray[Any]:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
    except cv2.error as error:
        raise SampleBroken(
            f"OpenCV refuses the image: {error}", stage="decode"
        ) from error
    if pixels is None:
        raise SampleBroken(
            f"the {header.format.upper()} of {len(data)} bytes cannot be decoded: it is"
            " cut or damaged",
            stage="decode",
        )
    return pixels


def _pillow_rgb(data: bytes | memoryview, header: ImageHeader) -> NDArray[Any]:
    """Return GIF and TIFF as RGB; both decoders turn a TIFF upright by themselves."""
    pixels, mode = _pillow(data, "RGB")
    if mode.startswith(_DEEP):
        return _opencv(data, header)
    return pixels if header.format == "tiff" else upright(pixels, header.orientation)


def decode_mask(data: bytes | memoryview, *, limits: ImageLimits) -> NDArray[Any]:
    """Return class ids [H, W] in the stored frame: uint8, or int32 for 16-bit files.

    A palette image gives its indices, a one-bit image 0 and 1. WebP has no gray: there
    three equal channels count as one.

    Raises:
        SampleBroken: The bytes are no image with one channel.
        LimitExceeded: The mask is too large.
    """
    header = read_header(data)
    limits.check(header)
    mask, mode = _pillow(data, None)
    if header.format == "webp" and mode == "RGB" and not np.ptp(mask, axis=2).any():
        mask = mask[:, :, 0]
    if mask.ndim != 2 or mask.dtype.kind not in "bui":
        raise SampleBroken(
            f"a mask has one channel of class ids, this one is {mode} with shape"
            f" {mask.shape}",
            stage="decode",
        )
    return mask.astype(np.uint8 if mask.dtype.itemsize == 1 else np.int32)


def _pillow(
    data: bytes | memoryview, convert_to: str | None
) -> tuple[NDArray[Any], str]:
    """Return the pixels, and Pillow's mode of the file."""
    from PIL import Image  # noqa: PLC0415  # masks and rare formats only

    try:
        with Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as image:
            mode = image.mode
            return np.array(image.convert(convert_to) if convert_to else image), mode
    except Exception as error:  # Pillow's plugins raise what they like
        raise SampleBroken(
            f"the image cannot be decoded: {error}", stage="decode"
        ) from error


def save_image(path: Path, pixels: NDArray[Any]) -> None:
    """Write RGB pixels [H, W, C], uint8 or float in [0, 1], as the file's suffix says.

    Raises:
        StoreError: The file cannot be written, or the suffix names no format.
    """
    if pixels.dtype != np.uint8:
        pixels = (np.clip(pixels, 0, 1) * 255).round().astype(np.uint8)
    flipped = (
        cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.shape[2] == 3 else pixels
    )
    try:
        if not cv2.imwrite(str(path), flipped):
            raise StoreError(f"cannot write {path}")
    except cv2.error as error:
        raise StoreError(f"cannot write {path}: use .png or .jpg") from error
