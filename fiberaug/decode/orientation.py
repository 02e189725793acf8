"""EXIF orientation: pixels and annotations from the stored to the upright frame.

Source: CIPA DC-008 (Exif 2.32), tag 0x0112.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["points_upright", "upright", "window_stored"]

_INVERSE = {6: 8, 8: 6}  # of an orientation, where it is not its own


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return pixels [H, W, ...] as they are looked at.

    Args:
        pixels: Pixels in the stored frame.
        orientation: EXIF orientation, 1 to 8.
    """
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def points_upright(
    points: NDArray[np.float32], orientation: int, width: int, height: int
) -> NDArray[np.float32]:
    """Return points [N, 2] (x, y; px, pixel edges) in the upright frame.

    Args:
        points: Points in the stored frame.
        orientation: EXIF orientation, 1 to 8.
        width: Stored width, px.
        height: Stored height, px.
    """
    if orientation == 1:
        return points
    x, y = points[:, 0], points[:, 1]
    if orientation >= 5:
        x, y, width, height = y, x, height, width
    if orientation in {2, 3, 6, 7}:
        x = width - x
    if orientation in {3, 4, 7, 8}:
        y = height - y
    return np.stack([x, y], axis=1).astype(np.float32)


def window_stored(
    window: tuple[int, int, int, int], orientation: int, width: int, height: int
) -> tuple[int, int, int, int]:
    """Return a window (x_min, y_min, x_max, y_max) of the upright image as stored, px.

    Args:
        window: The window in the upright frame.
        orientation: EXIF orientation, 1 to 8.
        width: Of the upright image, px.
        height: Of the upright image, px.
    """
    if orientation == 1:
        return window
    turn = _INVERSE.get(orientation, orientation)
    corners = np.asarray(window, np.float32).reshape(2, 2)
    ends = points_upright(corners, turn, width, height)
    low, high = ends.min(axis=0), ends.max(axis=0)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
