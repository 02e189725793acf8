"""Generated pixels to the bytes of an image file."""

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fiberaug.errors import UsageError
from fiberaug.jobs.encoding import ENCODINGS, encode_image

__all__ = ["QUALITY", "check_encoding", "encode_generated"]

QUALITY = 95
"""Of JPEGs, 1 to 100."""

_HOLDS = {"png": (1, 3, 4), "webp": (3,), "jpeg": (1, 3)}


def check_encoding(encoding: str) -> str:
    """Return an encoding that is known.

    Raises:
        UsageError: It is not.
    """
    if encoding not in ENCODINGS:
        raise UsageError(
            f"encoding must be one of {sorted(ENCODINGS)}, got {encoding!r}"
        )
    return encoding


def encode_generated(
    pixels: NDArray[np.uint8], encoding: str, name: str
) -> tuple[str, bytes]:
    """Return (extension, bytes) of an image.

    Args:
        pixels: uint8 [H, W, C], C 1, 3 or 4.
        encoding: ``png`` or ``webp``, without loss, or ``jpeg``.
        name: Of the sample, for errors.

    Raises:
        UsageError: Such a file cannot hold the pixels.
    """
    channels = pixels.shape[2]
    if channels not in _HOLDS[encoding]:
        raise UsageError(
            f"{encoding} does not hold images of {channels} channels; png does",
            key=name,
        )
    try:
        if encoding == "webp":
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "WEBP", lossless=True, method=0)
            return "webp", file.getvalue()
        if channels == 4:
            flipped = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA)
            return "png", cv2.imencode(".png", flipped)[1].tobytes()
        plain = pixels[:, :, 0] if channels == 1 else pixels
        data = encode_image(plain, encoding, quality=QUALITY)
    except (cv2.error, ValueError, OSError) as error:
        raise UsageError(
            f"{list(pixels.shape)} cannot be written as {encoding}: {error}", key=name
        ) from error
    return ENCODINGS[encoding], data
