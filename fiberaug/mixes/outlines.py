"""Which pixels an object has: by its mask, its outline, or its box."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.mixes.objects import is_linked
from fiberaug.tiling import Window

__all__ = ["Shape", "covered_area", "drawn_shape", "filled", "hull", "shape_of"]


_NONE = np.zeros((0, 2), np.float32)


class Shape(NamedTuple):
    """Where an object is, and which pixels there are its own."""

    window: Window
    """Where, px of the image."""

    inside: NDArray[np.bool_]
    """Which pixels of the window, [height, width]."""


def shape_of(fields: Mapping[str, Any], row: int) -> Shape | None:
    """Return the pixels of an object: those of its box where nothing else says them.

    Args:
        fields: Of the sample.
        row: Of the object. None: it has no pixels.
    """
    drawn = drawn_shape(fields, row)
    box = fields["bboxes"][row]
    if drawn is not None or (box[2:] <= box[:2]).any():
        return drawn
    window = _around(box[:2], box[2:], fields["image"].shape)
    return window and Shape(window, np.ones(_sides(window), bool))


def drawn_shape(fields: Mapping[str, Any], row: int) -> Shape | None:
    """Return the pixels of an object by its mask, else by its outline, else None.

    Args:
        fields: Of the sample. Masks and outlines count where there are as many as
            boxes.
        row: Of the object.
    """
    if is_linked(fields, "masks"):
        plane = fields["masks"][row] > 0
        window = hull(plane)
        if window is not None:
            return Shape(window, plane[_pixels(window)])
    outline = fields["polygons"][row] if is_linked(fields, "polygons") else _NONE
    if len(outline):
        low, high = outline.min(axis=0), outline.max(axis=0)
        window = _around(low, high, fields["image"].shape)
        inside = None if window is None else filled(outline, window)
        if window is not None and inside is not None and inside.any():
            return Shape(window, inside)
    return None


def hull(plane: NDArray[np.bool_]) -> Window | None:
    """Return the smallest window that holds all pixels of a mask; None: it has none.

    Args:
        plane: [H, W].
    """
    rows, columns = (np.flatnonzero(plane.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    y, x = rows[[0, -1]].tolist(), columns[[0, -1]].tolist()
    return Window(x[0], y[0], x[1] + 1, y[1] + 1)


def filled(outline: NDArray[np.floating], window: Window) -> NDArray[np.bool_]:
    """Return which pixels of a window have their centre inside of an outline, [H, W].

    What an outline that meets itself holds an even number of times is outside.

    Args:
        outline: Corners (x, y), [K, 2], px.
        window: The window, in the same px.
    """
    height, width = _sides(window)
    start = outline.astype(np.float64) - window[:2]
    end = np.roll(start, -1, axis=0)
    centres = np.arange(height) + 0.5
    crossed = (start[:, 1:] <= centres) != (end[:, 1:] <= centres)
    edges, rows = np.nonzero(crossed)
    start, step = start[edges], (end - start)[edges]
    at = start[:, 0] + (centres[rows] - start[:, 1]) / step[:, 1] * step[:, 0]
    turns = np.zeros((height, width + 1), np.int64)  # inside and outside change there
    columns = np.clip(np.ceil(at - 0.5), 0, width).astype(np.int64)
    np.add.at(turns, (rows, columns), 1)
    return np.asarray(turns[:, :width].cumsum(axis=1) % 2 == 1)


def covered_area(box: NDArray[np.floating], cover: NDArray[np.bool_]) -> float:
    """Return the area of a box that lies on the pixels of a mask, px².

    Args:
        box: (x_min, y_min, x_max, y_max), px.
        cover: [H, W].
    """
    window = _around(box[:2], box[2:], cover.shape)
    if window is None:
        return 0.0
    down = _shares(box[1], box[3], window.y_min, window.y_max)
    across = _shares(box[0], box[2], window.x_min, window.x_max)
    return float(down @ cover[_pixels(window)] @ across)


def _shares(low: float, high: float, start: int, stop: int) -> NDArray[np.float64]:
    """Return of each pixel along a side the part that lies between two borders."""
    pixels = np.arange(start, stop, dtype=np.float64)
    return np.minimum(high, pixels + 1) - np.maximum(low, pixels)


def _around(
    low: NDArray[np.floating], high: NDArray[np.floating], shape: tuple[int, ...]
) -> Window | None:
    """Return the pixels that a box touches; None: it touches none of the image."""
    x0, y0 = (max(0, math.floor(value)) for value in low)
    x1, y1 = (
        min(most, math.ceil(value))
        for value, most in zip(high, shape[1::-1], strict=True)
    )
    return Window(x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _sides(window: Window) -> tuple[int, int]:
    return window.y_max - window.y_min, window.x_max - window.x_min


def _pixels(window: Window) -> tuple[slice, slice]:
    return slice(window.y_min, window.y_max), slice(window.x_min, window.x_max)
