"""Augmentation policies for a ``Compose``, drawn for each image and recorded.

They are Albumentations transforms: ``A.Compose([fiberaug.transforms.RandAugment()])``.
Given to a loader as ``gpu_transform`` they run on batches, with the same arguments.
Each name is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiberaug.augment.augmix import AugMix
    from fiberaug.augment.erasing import RandomErasing
    from fiberaug.augment.policies import AutoAugment, RandAugment, TrivialAugmentWide

__all__ = [
    "AugMix",
    "AutoAugment",
    "RandAugment",
    "RandomErasing",
    "TrivialAugmentWide",
]

_HOMES = {"AugMix": "augmix", "RandomErasing": "erasing"}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # a class
    if name not in __all__:
        raise AttributeError(f"module 'fiberaug.transforms' has no attribute {name!r}")
    home = f"fiberaug.augment.{_HOMES.get(name, 'policies')}"
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
