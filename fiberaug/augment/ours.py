"""The transforms that this package adds to Albumentations."""

from typing import TypeVar

from fiberaug.augment.augmix import AugMix
from fiberaug.augment.erasing import RandomErasing
from fiberaug.augment.policies import AutoAugment, RandAugment, TrivialAugmentWide

__all__ = ["OURS", "SIZED_CROPS", "sized_crop"]

OURS: tuple[type, ...] = (
    AugMix,
    AutoAugment,
    RandAugment,
    RandomErasing,
    TrivialAugmentWide,
)
"""Known to recipes by their names; their signatures say what arguments can be."""

SIZED_CROPS: set[type] = set()
"""Crops of other floors that resize what they cut; see :func:`sized_crop`."""

_Crop = TypeVar("_Crop", bound=type)


def sized_crop(kind: _Crop) -> _Crop:
    """Return a class of transforms that is now known to crop, then resize.

    It is the library's own code from then on: it draws from the shape of the image
    alone, as ``crop_coords`` (x_min, y_min, x_max, y_max), holds (height, width) in
    px as ``size``, and gives the same pixels when it gets those of the window alone,
    with the window moved to their corner. So only the window need be decoded.
    """
    SIZED_CROPS.add(kind)
    return kind
