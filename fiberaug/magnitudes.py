"""Operations of augmentation policies, and how strong they can be.

Ranges, signs and roundings are those of torchvision's transforms v2.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MIXED",
    "NOTHING",
    "OPERATIONS",
    "SEARCHED",
    "WIDE",
    "Numbers",
    "Ranges",
    "Size",
    "Whole",
    "chosen",
    "numbers_of",
]

OPERATIONS = (
    "Identity",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
    "Invert",
)
"""Names of the operations; a number stands for the name at that place."""

NOTHING = -1
"""Stands for no operation, where a row has fewer than others."""

Size = tuple[int, int]
Numbers = NDArray[np.float64]
Whole = NDArray[np.int64]


class _Range(NamedTuple):
    """How a magnitude goes from its weakest to its strongest bin."""

    start: float
    end: float
    signed: bool = False
    unit: str = ""
    """``px``; ``width`` or ``height``: a share of that side, in px; ``bits``."""


class Ranges:
    """The magnitudes of a policy's operations.

    Args:
        shear: Largest slope.
        shift: Largest shift, a share of the side; None: 32 px.
        turn: Largest angle, degrees.
        factor: Most that a factor of colours differs from 1.
        bits: Bits that posterizing leaves, at its weakest and at its strongest.
    """

    def __init__(
        self,
        *,
        shear: float,
        shift: float | None,
        turn: float,
        factor: float,
        bits: tuple[int, int],
    ) -> None:
        across, down = (
            _Range(0, 32, signed=True, unit="px")
            if shift is None
            else _Range(0, shift, signed=True, unit=side)
            for side in ("width", "height")
        )
        factors = _Range(0, factor, signed=True)
        table = {
            "ShearX": _Range(0, shear, signed=True),
            "ShearY": _Range(0, shear, signed=True),
            "TranslateX": across,
            "TranslateY": down,
            "Rotate": _Range(0, turn, signed=True),
            "Brightness": factors,
            "Color": factors,
            "Contrast": factors,
            "Sharpness": factors,
            "Posterize": _Range(*bits, unit="bits"),
            "Solarize": _Range(1, 0),
        }
        ranges = [table.get(name, _Range(0, 0)) for name in OPERATIONS]
        self._start = np.array([r.start for r in ranges], np.float64)
        self._end = np.array([r.end for r in ranges], np.float64)
        self._signed = np.array([r.signed for r in ranges])
        self._bits = np.array([r.unit == "bits" for r in ranges])
        self._shifts = np.array([r.unit not in {"", "bits"} for r in ranges])
        self._units = [r.unit for r in ranges]

    def magnitudes(
        self, operations: Whole, strength: Numbers, minus: NDArray[np.bool_], size: Size
    ) -> Numbers:
        """Return float64 signed magnitudes of the shape of ``operations``.

        Args:
            operations: Places in :data:`OPERATIONS`.
            strength: From 0, the weakest, to 1, the strongest.
            minus: Where the sign is negative, for operations that have one.
            size: (height, width) of the images, px.
        """
        sides = {"height": size[0], "width": size[1]}
        units = np.array([sides.get(unit, 1) for unit in self._units], np.float64)
        start, end = self._start[operations], self._end[operations]
        found: Numbers = (start + (end - start) * strength) * units[operations]
        # A hair more, or 150/331 of 331 px would be 149.
        found = np.where(self._shifts[operations], np.floor(found + 1e-6), found)
        found = np.where(self._bits[operations], np.rint(found), found)
        negative = minus & self._signed[operations] & (found != 0)
        return np.where(negative, -found, found)


SEARCHED = Ranges(shear=0.3, shift=150 / 331, turn=30, factor=0.9, bits=(8, 4))
"""Of AutoAugment and RandAugment; they were searched on images of 331 px."""

WIDE = Ranges(shear=0.99, shift=None, turn=135, factor=0.99, bits=(8, 2))
"""Of TrivialAugment's wide space."""

MIXED = Ranges(shear=0.3, shift=1 / 3, turn=30, factor=0.9, bits=(4, 0))
"""Of AugMix."""


def numbers_of(names: Iterable[str]) -> Whole:
    """Return the places of names in :data:`OPERATIONS`."""
    return np.array([OPERATIONS.index(name) for name in names], np.int64)


def chosen(uniform: Numbers, count: int) -> Whole:
    """Return whole numbers from 0 to ``count`` - 1 of uniform ones in [0, 1)."""
    return np.floor(uniform * count).astype(np.int64)
