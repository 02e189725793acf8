"""Native pixels to the channels and the depth that were asked for."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import SampleBroken

__all__ = ["to_color", "to_depth"]

_EXACT = 2**24  # float32 holds all whole numbers up to here


def to_depth(pixels: NDArray[Any], depth: str) -> NDArray[Any]:
    """Return pixels of the depth that is asked for.

    Args:
        pixels: Any whole numbers or floats.
        depth: ``uint8``: of uint16 the upper 8 bits; ``keep``: uint8, uint16 or
            float32, to which signed and 32-bit numbers are turned.

    Raises:
        SampleBroken: The pixels have no known range to take 8 bits of, or float32
            cannot hold their whole numbers exactly.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if depth == "uint8":
        if pixels.dtype != np.uint16:
            raise SampleBroken(
                f"the image has {pixels.dtype} pixels, whose range nobody says: 8 bits"
                " cannot be taken of them; decode={'depth': 'keep'} keeps them",
                stage="decode",
            )
        return (pixels >> 8).astype(np.uint8)
    if pixels.dtype in {np.dtype(np.uint16), np.dtype(np.float32)}:
        return pixels
    if pixels.dtype.kind in "iu" and np.abs(pixels.astype(np.int64)).max() > _EXACT:
        raise SampleBroken(
            f"the image has {pixels.dtype} pixels above {_EXACT}, which float32 cannot"
            " hold exactly; give a decoder of your own",
            stage="decode",
        )
    return pixels.astype(np.float32)


def to_color(pixels: NDArray[Any], color: str) -> NDArray[Any]:
    """Return pixels [H, W, C] with the channels that are asked for.

    Args:
        pixels: Gray [H, W, 1], gray and alpha [H, W, 2], RGB [H, W, 3] or RGBA
            [H, W, 4], uint8, uint16 or float32.
        color: ``rgb``: 3 channels; ``gray``: 1 channel, of colours the luma of ITU-R
            BT.601; ``keep``: as it is. Alpha is dropped from the first two.
    """
    if color == "keep":
        return np.ascontiguousarray(pixels)
    channels = pixels.shape[2]
    pixels = np.ascontiguousarray(pixels[:, :, : 1 if channels < 3 else 3])
    if color == "rgb":
        return pixels if channels >= 3 else pixels.repeat(3, axis=2)
    if channels >= 3:
        luma: NDArray[Any] = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
        return luma[:, :, None]
    return pixels
