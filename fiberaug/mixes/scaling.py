"""Pixels brought to another size, of images and of class ids."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["nearest", "resized"]

_CHANNELS = 4  # OpenCV's means of areas take no more


def resized(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return an image of another size: linear, or means of areas below the half.

    Args:
        image: [H, W, C].
        size: Height and width to reach, px.
    """
    if image.shape[:2] == size:
        return image
    if image.shape[2] > _CHANNELS:
        parts = range(0, image.shape[2], _CHANNELS)
        return np.dstack([resized(image[..., i : i + _CHANNELS], size) for i in parts])
    # Linear interpolation skips pixels only where more than two become one.
    skips = 2 * size[0] < image.shape[0] or 2 * size[1] < image.shape[1]
    how = cv2.INTER_AREA if skips else cv2.INTER_LINEAR
    return cv2.resize(image, size[::-1], interpolation=how).reshape(*size, -1)


def nearest(planes: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return planes of another size: each pixel is that in which its centre lies.

    Args:
        planes: [..., H, W], of any dtype.
        size: Height and width to reach, px.

    >>> nearest(np.array([[1, 2, 3, 4, 5]]), (1, 2)).tolist()
    [[2, 4]]
    """
    if planes.shape[-2:] == size:
        return planes
    rows, columns = (
        ((2 * np.arange(length) + 1) * source) // (2 * length)
        for length, source in zip(size, planes.shape[-2:], strict=True)
    )
    made: NDArray[Any] = planes.take(rows, axis=-2).take(columns, axis=-1)
    return made
