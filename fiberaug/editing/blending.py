"""Edits laid into a photo: a ramp inside of what may change, and how well it shows.

Where the ramp is 0 the photo is not written to. Everything runs over a window in bands
of rows, so that an object as large as the photo needs no second photo.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.tiling import Window

__all__ = [
    "BAND", "Seam", "SeamMeter", "as_rgb", "blend", "grown", "lay_in", "ramp", "seam",
]  # fmt: skip

BAND = 256
"""Rows of a window that are worked on at a time."""

_LEAST = 1e-3  # levels: what a gradient is divided by at least
_LUMA = np.array([299, 587, 114], np.int32)


class Seam(NamedTuple):
    """How much the border of an edit shows, in levels of luma between neighbours.

    With Y the luma, (299 R + 587 G + 114 B) // 1000, and d the mean of |Y(p) - Y(q)|
    over pairs of pixels that share a side:
    """

    border: float
    """d of the result over pairs of which one lies on the ramp or both lie on either
    side of it."""

    inside: float
    """d of the result over pairs that are wholly of the edit."""

    before: float
    """d of the photo as it was over the pairs of ``border``."""

    ratio: float
    """``border`` over the larger of ``inside`` and ``before``: above 1 the border has
    steeper steps than the edit and than the photo had there."""

    def to_dict(self) -> dict[str, float]:
        """Return the numbers as a record has them, of three digits."""
        return {name: round(value, 3) for name, value in self._asdict().items()}


class SeamMeter:
    """Sums up a seam, band after band from the top."""

    def __init__(self) -> None:
        self._sums = {name: [0, 0] for name in ("border", "inside", "before")}
        self._last: tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None = None

    def add(
        self,
        before: NDArray[np.uint8],
        after: NDArray[np.uint8],
        alpha: NDArray[np.uint8],
    ) -> None:
        """Add the next rows.

        Args:
            before: The photo as it was, [h, w, 3].
            after: The result, [h, w, 3].
            alpha: The ramp, [h, w].
        """
        band = _luma(before), _luma(after), alpha
        self._pairs([one[:, :-1] for one in band], [one[:, 1:] for one in band])
        self._pairs([one[:-1] for one in band], [one[1:] for one in band])
        if self._last is not None:
            self._pairs(list(self._last), [one[:1] for one in band])
        self._last = tuple(one[-1:].copy() for one in band)  # type: ignore[assignment]

    def _pairs(self, here: list[NDArray[Any]], there: list[NDArray[Any]]) -> None:
        changed = (here[2] > 0) | (there[2] > 0)
        whole = (here[2] == 255) & (there[2] == 255)
        border = changed & ~whole
        steps = abs(here[1] - there[1])
        self._sum("border", steps, border)
        self._sum("inside", steps, whole)
        self._sum("before", abs(here[0] - there[0]), border)

    def _sum(self, name: str, steps: NDArray[Any], chosen: NDArray[np.bool_]) -> None:
        sums = self._sums[name]
        sums[0] += int(steps[chosen].sum())
        sums[1] += int(np.count_nonzero(chosen))

    def read(self) -> Seam:
        """Return the seam of all rows that were added."""
        means = {name: total / max(1, n) for name, (total, n) in self._sums.items()}
        steepest = max(means["inside"], means["before"], _LEAST)
        return Seam(**means, ratio=means["border"] / steepest)


def seam(
    before: NDArray[np.uint8], after: NDArray[np.uint8], mask: NDArray[np.uint8]
) -> Seam:
    """Return how much the border of an edit shows; see :class:`Seam` for the formula.

    Args:
        before: The photo as it was, uint8 [H, W, 3].
        after: The edited photo, uint8 [H, W, 3].
        mask: How much of each pixel was replaced, uint8 [H, W]; 0: nothing.
    """
    meter = SeamMeter()
    meter.add(before, after, mask)
    return meter.read()


def _luma(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    return np.asarray(pixels.astype(np.int32) @ _LUMA // 1000, np.int32)


def _distances(
    shape: NDArray[np.uint8], rows: slice, most: int, free: tuple[bool, ...]
) -> NDArray[np.float32]:
    """Return the distance of some rows to the nearest 0 of a window, px, Euclidean.

    Args:
        shape: 0 or 1, [h, w].
        rows: Of it.
        most: Distances above it are only known to be above.
        free: Whether left, top, right and bottom are ends of the photo: beyond them
            goes on what is at the end; beyond others is 0.
    """
    reach = most + 2
    top, bottom = max(0, rows.start - reach), min(len(shape), rows.stop + reach)
    part = shape[top:bottom]
    pads = (
        reach if top == 0 else 0, reach if bottom == len(shape) else 0, reach, reach,
    )  # fmt: skip
    held = [free[1], free[3], free[0], free[2]]
    for side in range(4):
        up, down, left, right = (pads[i] if i == side else 0 for i in range(4))
        way = cv2.BORDER_REPLICATE if held[side] else cv2.BORDER_CONSTANT
        wider = cv2.copyMakeBorder(part, up, down, left, right, way, value=0)
        part = np.asarray(wider, np.uint8)
    far = np.asarray(
        cv2.distanceTransform(part, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32
    )
    first = rows.start - top + pads[0]
    width = shape.shape[1]
    return far[first : first + rows.stop - rows.start, reach : reach + width]


def grown(shape: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    """Return a shape [h, w] of 0 and 1 with all within ``by`` px, Euclidean."""
    if by < 1:
        return shape
    found = np.empty_like(shape)
    outside = (shape == 0).astype(np.uint8)
    for start in range(0, len(shape), BAND):
        rows = slice(start, min(start + BAND, len(shape)))
        far = _distances(outside, rows, by, (True,) * 4)
        found[rows] = far <= by
    return found


def ramp(
    shape: NDArray[np.uint8], rows: slice, feather: int, free: tuple[bool, ...]
) -> NDArray[np.uint8]:
    """Return how much of each pixel of some rows is replaced, uint8 [h, w].

    0 outside of the shape; inside, d px from the nearest pixel outside, the integer
    next to 255 min(1, d / max(1, feather)), halves up, and at least 1.

    Args:
        shape: What may change in a window, 0 or 1.
        rows: Of it.
        feather: Width of the ramp, px.
        free: Whether left, top, right and bottom of the window are ends of the photo:
            there is no ramp towards them.
    """
    inside = shape[rows] != 0
    if not inside.any():
        return np.zeros(inside.shape, np.uint8)
    far = _distances(shape, rows, max(1, feather), free)
    share = np.minimum(1.0, far / np.float32(max(1, feather)))
    levels = np.maximum(1, np.floor(share * 255 + 0.5))
    return np.where(inside, levels, 0).astype(np.uint8)


def blend(
    before: NDArray[Any], after: NDArray[Any], alpha: NDArray[np.uint8]
) -> NDArray[Any]:
    """Return (before (255 - alpha) + after alpha + 127) // 255, in whole numbers.

    Alpha 0 gives ``before`` and 255 ``after``, bit for bit.

    Args:
        before: uint8 or uint16 [h, w, C].
        after: The same.
        alpha: [h, w].
    """
    share = alpha.astype(np.uint32)[:, :, None]
    mixed = (before * (255 - share) + after * share + 127) // 255
    return mixed.astype(before.dtype)


def lay_in(
    pixels: NDArray[Any],
    changed: NDArray[np.uint8],
    window: Window,
    shape: NDArray[np.uint8],
    rows_of: Callable[[slice], NDArray[np.uint8]],
    feather: int,
) -> Seam:
    """Lay an edit into a photo in place, and return its seam.

    Args:
        pixels: The photo [H, W, C], uint8 or uint16, C 1 to 4; alpha is kept.
        changed: How much of each pixel was replaced so far, [H, W]; the larger stays.
        window: Where.
        shape: What may change, 0 or 1, [h, w] of the window.
        rows_of: Rows of the window -> the edit there, uint8 [h, w, 3].
        feather: Width of the ramp, px.
    """
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = window
    free = x0 == 0, y0 == 0, x1 == width, y1 == height
    meter = SeamMeter()
    for start in range(0, len(shape), BAND):
        rows = slice(start, min(start + BAND, len(shape)))
        alpha = ramp(shape, rows, feather, free)
        there = slice(y0 + rows.start, y0 + rows.stop), slice(x0, x1)
        before = pixels[there].copy()
        if alpha.any():
            pixels[there] = blend(before, _like(rows_of(rows), before), alpha)
            np.maximum(changed[there], alpha, out=changed[there])
        meter.add(as_rgb(before), as_rgb(pixels[there]), alpha)
    return meter.read()


def as_rgb(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a part of a photo as RGB of 8 bits, uint8 [h, w, 3]; it may be a view."""
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.shape[2] < 3:
        return np.repeat(pixels[:, :, :1], 3, axis=2)
    return pixels[:, :, :3]


def _like(edit: NDArray[np.uint8], before: NDArray[Any]) -> NDArray[Any]:
    """Return an edit [h, w, 3] with the channels and the bits of a photo."""
    if before.shape[2] < 3:
        plain: NDArray[Any] = _luma(edit).astype(np.uint8)[:, :, None]
    else:
        plain = edit
    if before.dtype == np.uint16:
        plain = plain.astype(np.uint16) * 257
    if before.shape[2] in {2, 4}:
        return np.concatenate([plain, before[:, :, -1:]], axis=2)
    return plain
