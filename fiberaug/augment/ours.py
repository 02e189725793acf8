"""The transforms that this package adds to Albumentations."""

from fiberaug.augment.augmix import AugMix
from fiberaug.augment.erasing import RandomErasing
from fiberaug.augment.policies import AutoAugment, RandAugment, TrivialAugmentWide

__all__ = ["OURS"]

OURS: tuple[type, ...] = (
    AugMix,
    AutoAugment,
    RandAugment,
    RandomErasing,
    TrivialAugmentWide,
)
"""Known to recipes by their names; their signatures say what arguments can be."""
