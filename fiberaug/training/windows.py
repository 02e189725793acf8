"""Which part of a photo is trained on: its largest middle, or a window at some scale.

A window has the aspect of the wanted size. Its scale is photo px per px of what the
network sees: at 1 nothing is lost, at the largest that the photo allows the window is
as much of the photo as its aspect takes in.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError

__all__ = ["NUMBERS", "Crop", "Window", "largest_scale", "place_of", "resized"]

NUMBERS = 4
"""Numbers in [0, 1) that a window is drawn from."""

Size = tuple[int, int]
"""(height, width), px."""


class Window(NamedTuple):
    """A part of a photo, px, and whether it is mirrored."""

    x_min: int
    y_min: int
    x_max: int
    y_max: int
    flipped: bool = False

    @classmethod
    def of(cls, box: Sequence[int], *, flipped: bool) -> "Window":
        """Return the window of (x_min, y_min, x_max, y_max), px."""
        x_min, y_min, x_max, y_max = box
        return cls(x_min, y_min, x_max, y_max, flipped)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x_min, y_min, x_max, y_max), px."""
        return self[:4]


@dataclass(frozen=True, kw_only=True, slots=True)
class Crop:
    """How windows are drawn."""

    size: Size
    """(height, width) to which a window is resized, px, >= 1."""

    scales: tuple[float, float | None] | None = None
    """Smallest and largest scale, photo px per px, > 0, log-uniform between; a largest
    of None is what the photo allows. None: always the largest, so that whole photos are
    seen but for what their aspect has too much."""

    centred: bool = False
    """Whether windows lie in the middle; else anywhere."""

    flip: bool = False
    """Whether every second window is mirrored, left to right."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: A size or a scale is out of range.
        """
        if min(self.size) < 1:
            raise UsageError(
                f"size must be (height, width) in px, both >= 1, got {self.size!r}"
            )
        if self.scales is not None:
            check_scales(self.scales)

    def for_figures(self) -> "Crop":
        """Return how photos are cut that figures are taken against.

        Whole ones in the middle and never mirrored; windows as in training.
        """
        if self.scales is not None:
            return self
        return Crop(size=self.size, centred=True)

    def draw(self, photo: Size, numbers: Sequence[float]) -> Window:
        """Return a window of a photo.

        Args:
            photo: (height, width) of the photo, px.
            numbers: :data:`NUMBERS` numbers in [0, 1): of scale, row, column, mirror.
        """
        most = largest_scale(photo, self.size)
        scale = most
        if self.scales is not None:
            low, high = self.scales
            high = most if high is None else min(high, most)
            low = min(low, high)
            scale = low * (high / low) ** numbers[0]
        height, width = (
            max(1, min(side, round(scale * want)))
            for side, want in zip(photo, self.size, strict=True)
        )
        down, right = photo[0] - height, photo[1] - width
        if self.centred:
            top, left = down // 2, right // 2
        else:
            top, left = int(numbers[1] * (down + 1)), int(numbers[2] * (right + 1))
        flipped = self.flip and numbers[3] < 0.5
        return Window(left, top, left + width, top + height, flipped)

    def cut(self, photo: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
        """Return the pixels of a window, uint8 [h, w, C] of :attr:`size`."""
        x_min, y_min, x_max, y_max = window.box
        pixels = resized(photo[y_min:y_max, x_min:x_max], self.size)
        return np.ascontiguousarray(pixels[:, ::-1]) if window.flipped else pixels


def check_scales(scales: tuple[float, float | None]) -> None:
    """Check a smallest and a largest scale.

    Raises:
        UsageError: They are not two, not above 0, or the wrong way round.
    """
    try:
        low, high = scales
        sound = 0 < low < math.inf and (high is None or low <= high < math.inf)
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise UsageError(
            "scales must be the smallest and the largest number of photo px per px,"
            f" such as (1, 8) or (1, None), got {scales!r}"
        )


def largest_scale(photo: Sequence[float], size: Size) -> float:
    """Return the photo px per px of the largest window of the aspect of ``size``."""
    return min(photo[0] / size[0], photo[1] / size[1])


def place_of(window: Window, photo: Size, size: Size) -> tuple[float, float, float]:
    """Return where a window lies, see :class:`fiberaug.training.contracts.RealBatch`.

    A mirrored window is one of the mirrored photo, and lies on its other side.

    Args:
        window: The window.
        photo: (height, width) of the photo, px.
        size: (height, width) to which the window is resized, px.
    """
    height, width = window.y_max - window.y_min, window.x_max - window.x_min
    down = (window.y_min + window.y_max) / photo[0] - 1
    right = (window.x_min + window.x_max) / photo[1] - 1
    scale = math.sqrt(height * width / (size[0] * size[1]))
    return down, -right if window.flipped else right, math.log2(scale)


def resized(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Return pixels at a size, uint8 [h, w, C]: means of areas, or bilinear if larger.

    Args:
        pixels: uint8 [H, W, C].
        size: (height, width), px.
    """
    height, width, channels = pixels.shape
    if (height, width) == tuple(size):
        return np.ascontiguousarray(pixels)
    smaller = height >= size[0] and width >= size[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    made = cv2.resize(np.ascontiguousarray(pixels), size[::-1], interpolation=how)
    kept: NDArray[Any] = made.reshape(*size, channels)  # cv2 drops an axis of one
    return kept
