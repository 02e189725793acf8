"""Where the pixels of augmentation policies go, with the arithmetic of Pillow."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from fiberaug.magnitudes import Numbers, Size, Whole

__all__ = ["Affine", "composed", "fixed_point", "inverse", "source_pixels"]

Affine = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f): a pixel at (x, y) comes from (ax + by + c, dx + ey + f)."""

_ONE = 2**16  # Pillow's fixed point for nearest pixels: 16 bits behind the point


def inverse(name: str, magnitude: float, size: Size) -> Affine | None:
    """Return where the pixels of an operation come from; None: it moves none.

    Coordinates are px from the top left corner of the image. Shears leave that corner
    in its place, rotations the middle of the image.

    Args:
        name: One of :data:`OPERATIONS`.
        magnitude: Slope; px to the right or down; degrees counterclockwise.
        size: (height, width) of the image, px.
    """
    match name:
        case "ShearX":
            return 1, magnitude, 0, 0, 1, 0
        case "ShearY":
            return 1, 0, 0, magnitude, 1, 0
        case "TranslateX":
            return 1, 0, -magnitude, 0, 1, 0
        case "TranslateY":
            return 1, 0, 0, 0, 1, -magnitude
        case "Rotate":
            # 15 digits: a right angle has a cosine of 0
            cos = round(math.cos(math.radians(magnitude)), 15)
            sin = round(math.sin(math.radians(magnitude)), 15)
            x, y = size[1] / 2, size[0] / 2
            return cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y
    return None


def composed(steps: Iterable[tuple[str, float]], size: Size) -> Numbers | None:
    """Return float64 [3, 3] of where operations one behind the other put pixels.

    It maps (x, y, 1) before to after, px from the top left corner. None: nothing moves.

    Args:
        steps: (name, magnitude) in order.
        size: (height, width) of the image, px.
    """
    found = None
    for name, magnitude in steps:
        back = inverse(name, magnitude, size)
        if back is not None:
            one = np.linalg.inv(np.array([back[:3], back[3:], (0, 0, 1)], np.float64))
            found = one if found is None else one @ found
    return found


def fixed_point(back: Sequence[float]) -> list[int]:
    """Return an :data:`Affine` in whole 65536ths, for the middles of pixels.

    Pixel (x, y), counted from 0, comes from pixel ((ax + by + c) >> 16, (dx + ey + f)
    >> 16): Pillow's arithmetic, with the same result on every device.
    """
    a, b, c, d, e, f = back
    moved = (a, b, c + (a + b) / 2, d, e, f + (d + e) / 2)
    return [math.floor(value * _ONE + 0.5) for value in moved]


def source_pixels(back: Sequence[float], size: Size) -> tuple[Whole, NDArray[np.bool_]]:
    """Return which pixel each pixel comes from, int64 [H, W], and bool [H, W]: any.

    Args:
        back: See :func:`inverse`.
        size: (height, width) of the image, px; pixels are counted along its rows.
    """
    height, width = size
    a, b, c, d, e, f = fixed_point(back)
    x = np.arange(width, dtype=np.int64)
    y = np.arange(height, dtype=np.int64)[:, None]
    from_x, from_y = (a * x + b * y + c) >> 16, (d * x + e * y + f) >> 16
    inside = (from_x >= 0) & (from_x < width) & (from_y >= 0) & (from_y < height)
    return np.where(inside, from_y * width + from_x, 0), inside
