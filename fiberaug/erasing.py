"""Random erasing: a rectangle of random size, shape and place.

Source: Random Erasing, arXiv 1708.04896; semantics of torchvision's transforms v2.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fiberaug.magnitudes import Size, Whole, chosen
from fiberaug.policies import Source
from fiberaug.policy_checks import check_pair

__all__ = ["Erased", "ErasingPolicy"]

_TRIES = 10


class Erased(NamedTuple):
    """What is erased of each row."""

    boxes: Whole
    """int64 [B, 4]: top, left, height, width in px; all 0 where no try fitted."""

    seeds: Whole
    """int64 [B], in [0, 2**32): of the noise."""


@dataclass(frozen=True, kw_only=True)
class ErasingPolicy:
    """A rectangle of random size, shape and place.

    Raises:
        UsageError: An argument is out of its bounds.
    """

    scale: tuple[float, float] = (0.02, 0.33)
    """Smallest and largest area, shares of the image, 0 to 1."""

    ratio: tuple[float, float] = (0.3, 3.3)
    """Smallest and largest height / width, 0.01 to 100; logarithms are uniform."""

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_pair("scale", self.scale, 0, 1)
        check_pair("ratio", self.ratio, 0.01, 100)

    def draw(self, source: Source, rows: int, size: Size) -> Erased:
        """Return what is erased of ``rows`` images of (height, width) px.

        Ten rectangles are drawn; the first that is lower and narrower than the image is
        taken.
        """
        numbers = source.uniform((rows, _TRIES, 4))
        seeds = chosen(source.uniform((rows,)), 2**32)
        least, most = self.scale
        area = (least + (most - least) * numbers[..., 0]) * size[0] * size[1]
        low, high = (math.log(side) for side in self.ratio)
        ratio = np.exp(low + (high - low) * numbers[..., 1])
        height, width = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
        fits = (height < size[0]) & (width < size[1])
        top = np.floor(numbers[..., 2] * (size[0] - height + 1))
        left = np.floor(numbers[..., 3] * (size[1] - width + 1))
        boxes = np.stack([top, left, height, width], axis=-1).astype(np.int64)
        first = boxes[np.arange(rows), fits.argmax(axis=1)]
        return Erased(np.where(fits.any(axis=1, keepdims=True), first, 0), seeds)
