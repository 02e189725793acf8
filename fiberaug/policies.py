"""Augmentation policies: which operations are done to an image, and how strong.

A policy turns random numbers into operations and signed magnitudes, for many rows at
once. It knows no pixels: the engine of single images and that of batches share it and
bring the numbers. Semantics are those of torchvision's transforms v2.

Sources: RandAugment, arXiv 1909.13719; TrivialAugment, arXiv 2103.10158; AutoAugment,
arXiv 1805.09501.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from fiberaug.magnitudes import (
    NOTHING,
    OPERATIONS,
    SEARCHED,
    WIDE,
    Numbers,
    Size,
    Whole,
    chosen,
    numbers_of,
)
from fiberaug.policy_checks import check_whole

__all__ = [
    "COMMON",
    "AutoAugmentPolicy",
    "Drawn",
    "RandAugmentPolicy",
    "Source",
    "TrivialAugmentPolicy",
]

COMMON = numbers_of(name for name in OPERATIONS if name != "Invert")
"""What is drawn from but in AutoAugment, int64."""

# Table 9 of the paper, ImageNet: (operation, probability, bin of 10), twice.
_IMAGENET = (
    (("Posterize", 0.4, 8), ("Rotate", 0.6, 9)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.8, 0), ("Equalize", 0.6, 0)),
    (("Posterize", 0.6, 7), ("Posterize", 0.6, 6)),
    (("Equalize", 0.4, 0), ("Solarize", 0.2, 4)),
    (("Equalize", 0.4, 0), ("Rotate", 0.8, 8)),
    (("Solarize", 0.6, 3), ("Equalize", 0.6, 0)),
    (("Posterize", 0.8, 5), ("Equalize", 1.0, 0)),
    (("Rotate", 0.2, 3), ("Solarize", 0.6, 8)),
    (("Equalize", 0.6, 0), ("Posterize", 0.4, 6)),
    (("Rotate", 0.8, 8), ("Color", 0.4, 0)),
    (("Rotate", 0.4, 9), ("Equalize", 0.6, 0)),
    (("Equalize", 0.0, 0), ("Equalize", 0.8, 0)),
    (("Invert", 0.6, 0), ("Equalize", 1.0, 0)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Rotate", 0.8, 8), ("Color", 1.0, 2)),
    (("Color", 0.8, 8), ("Solarize", 0.8, 7)),
    (("Sharpness", 0.4, 7), ("Invert", 0.6, 0)),
    (("ShearX", 0.6, 5), ("Equalize", 1.0, 0)),
    (("Color", 0.4, 0), ("Equalize", 0.6, 0)),
    (("Equalize", 0.4, 0), ("Solarize", 0.2, 4)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 0)),
    (("Invert", 0.6, 0), ("Equalize", 1.0, 0)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Equalize", 0.8, 0), ("Equalize", 0.6, 0)),
)
_PAIRS = np.array([numbers_of(name for name, *_ in pair) for pair in _IMAGENET])
_CHANCES = np.array([[chance for _, chance, _ in pair] for pair in _IMAGENET])
_BINS = np.array([[number for *_, number in pair] for pair in _IMAGENET])


class Source(Protocol):
    """Where a policy's random numbers come from."""

    def uniform(self, shape: tuple[int, ...]) -> Numbers:
        """Return float64 in [0, 1)."""
        ...

    def gamma(self, alpha: float, shape: tuple[int, ...]) -> Numbers:
        """Return float64, gamma distributed with shape ``alpha`` and scale 1."""
        ...


class Drawn(NamedTuple):
    """What is done to each row, one step behind the other."""

    operations: Whole
    """int64 [B, ..., steps]: places in ``OPERATIONS``, or ``NOTHING``."""

    magnitudes: Numbers
    """float64 [B, ..., steps]: slope of a shear; px to the right or down; degrees
    counterclockwise; what a factor is above 1; bits; a share of the highest level."""


@dataclass(frozen=True, kw_only=True)
class RandAugmentPolicy:
    """Some operations, each one of 14, all at one strength.

    Raises:
        UsageError: An argument is out of its bounds.
    """

    num_ops: int = 2
    """Operations an image, 1 to 16."""

    magnitude: int = 9
    """Bin of the strength, 0 to ``num_magnitude_bins`` - 1."""

    num_magnitude_bins: int = 31
    """Bins from the weakest to the strongest, 2 to 1,000."""

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_whole("num_ops", self.num_ops, 1, 16)
        check_whole("num_magnitude_bins", self.num_magnitude_bins, 2, 1000)
        check_whole("magnitude", self.magnitude, 0, self.num_magnitude_bins - 1)

    def draw(self, source: Source, rows: int, size: Size) -> Drawn:
        """Return what is done to ``rows`` images of (height, width) px."""
        numbers = source.uniform((rows, self.num_ops, 2))
        operations = COMMON[chosen(numbers[..., 0], len(COMMON))]
        share = self.magnitude / (self.num_magnitude_bins - 1)
        strength = np.full(operations.shape, share)
        minus = numbers[..., 1] < 0.5
        found = SEARCHED.magnitudes(operations, strength, minus, size)
        return Drawn(operations, found)


@dataclass(frozen=True, kw_only=True)
class TrivialAugmentPolicy:
    """One operation of 14 at any strength of a wide range.

    Raises:
        UsageError: An argument is out of its bounds.
    """

    num_magnitude_bins: int = 31
    """Bins from the weakest to the strongest, 2 to 1,000."""

    def __post_init__(self) -> None:
        """Check the argument."""
        check_whole("num_magnitude_bins", self.num_magnitude_bins, 2, 1000)

    def draw(self, source: Source, rows: int, size: Size) -> Drawn:
        """Return what is done to ``rows`` images of (height, width) px."""
        numbers = source.uniform((rows, 1, 3))
        operations = COMMON[chosen(numbers[..., 0], len(COMMON))]
        bins = self.num_magnitude_bins
        strength = chosen(numbers[..., 1], bins) / (bins - 1)
        minus = numbers[..., 2] < 0.5
        return Drawn(operations, WIDE.magnitudes(operations, strength, minus, size))


@dataclass(frozen=True, kw_only=True)
class AutoAugmentPolicy:
    """One of the 25 pairs of operations that were found on ImageNet."""

    def draw(self, source: Source, rows: int, size: Size) -> Drawn:
        """Return what is done to ``rows`` images of (height, width) px."""
        numbers = source.uniform((rows, 5))
        pairs = chosen(numbers[:, 0], len(_PAIRS))
        operations, minus = _PAIRS[pairs], numbers[:, 3:] < 0.5
        strength = _BINS[pairs] / 9
        found = SEARCHED.magnitudes(operations, strength, minus, size)
        done = numbers[:, 1:3] < _CHANCES[pairs]
        return Drawn(np.where(done, operations, NOTHING), np.where(done, found, 0.0))
