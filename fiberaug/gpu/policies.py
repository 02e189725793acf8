"""Augmentation policies on batches: each row has operations of its own.

Arguments, draws and what records say are those of the transforms of single images in
:mod:`fiberaug.transforms`. Pixels differ by less than one level an operation: here they
are not rounded to whole levels.
"""

from inspect import signature
from typing import Any

from fiberaug.errors import UsageError
from fiberaug.gpu.augmix import AugMix
from fiberaug.gpu.erasing import RandomErasing
from fiberaug.gpu.operation import Operation
from fiberaug.gpu.policy import Policy, Steps
from fiberaug.policies import (
    AutoAugmentPolicy,
    RandAugmentPolicy,
    TrivialAugmentPolicy,
)
from fiberaug.policy_checks import Fill

__all__ = [
    "OPERATIONS",
    "AugMix",
    "AutoAugment",
    "RandAugment",
    "RandomErasing",
    "TrivialAugmentWide",
    "from_cpu",
]


class RandAugment(Steps):
    """Some operations for each row; :class:`fiberaug.transforms.RandAugment`."""

    def __init__(
        self,
        num_ops: int = 2,
        magnitude: int = 9,
        num_magnitude_bins: int = 31,
        *,
        interpolation: str = "nearest",
        fill: Fill = 0,
        fill_mask: float = 0,
        p: float = 1.0,
    ) -> None:
        policy = RandAugmentPolicy(
            num_ops=num_ops,
            magnitude=magnitude,
            num_magnitude_bins=num_magnitude_bins,
        )
        super().__init__(
            policy, interpolation=interpolation, fill=fill, fill_mask=fill_mask, p=p
        )


class TrivialAugmentWide(Steps):
    """An operation for each row; :class:`fiberaug.transforms.TrivialAugmentWide`."""

    def __init__(
        self,
        num_magnitude_bins: int = 31,
        *,
        interpolation: str = "nearest",
        fill: Fill = 0,
        fill_mask: float = 0,
        p: float = 1.0,
    ) -> None:
        policy = TrivialAugmentPolicy(num_magnitude_bins=num_magnitude_bins)
        super().__init__(
            policy, interpolation=interpolation, fill=fill, fill_mask=fill_mask, p=p
        )


class AutoAugment(Steps):
    """A pair of operations for each row; :class:`fiberaug.transforms.AutoAugment`."""

    def __init__(
        self,
        *,
        interpolation: str = "nearest",
        fill: Fill = 0,
        fill_mask: float = 0,
        p: float = 1.0,
    ) -> None:
        super().__init__(
            AutoAugmentPolicy(),
            interpolation=interpolation,
            fill=fill,
            fill_mask=fill_mask,
            p=p,
        )


OPERATIONS: dict[str, type[Policy]] = {
    kind.__name__: kind
    for kind in (AugMix, AutoAugment, RandAugment, RandomErasing, TrivialAugmentWide)
}
"""Classes by name, as a recipe's ``gpu`` section gives them."""


def from_cpu(transform: Any) -> Operation:  # noqa: ANN401  # known by its name
    """Return the operation on batches that a transform of single images stands for.

    Args:
        transform: A policy of :mod:`fiberaug.transforms`.

    Raises:
        UsageError: It is none.
    """
    name = type(transform).__name__
    kind = OPERATIONS.get(name)
    names = list(signature(kind).parameters) if kind is not None else []
    if kind is None or not all(hasattr(transform, argument) for argument in names):
        raise UsageError(
            f"{name} does not run on batches: give an augmentation of Kornia, or one of"
            f" {', '.join(OPERATIONS)}"
        )
    return kind(**{argument: getattr(transform, argument) for argument in names})
