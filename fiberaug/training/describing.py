"""What the kernel distance of a judge compares: what images show, and their grain.

A classifier's features tell little of blur and noise, and a few of their directions
outweigh all others. So directions are brought to about the same spread, and the energy
of detail at each octave is put beside them.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.evaluate.extracting import features
from fiberaug.evaluate.feeding import batches

__all__ = ["Description", "Seen", "batch_of", "see"]

_NUMBERS = 1 << 22  # of a batch that is looked at at a time
_LEAST_SIDE = 8  # of an octave, px
_FLOOR = (2 / 255) ** 2  # energy that rounding may have
_RIDGE = 0.3  # of the mean spread: directions far below it are not blown up to it
_GRAIN = 0.1  # weight of the grain, as a share of that of the features
_MOST = 2.0  # standard deviations towards which grain saturates


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What is seen in images."""

    features: NDArray[np.float32]
    """Of the classifier, float32 [N, D]."""

    grain: NDArray[np.float32]
    """Logarithms of the energy of detail by octave and channel, float32 [N, G]."""


def batch_of(pixels: int) -> int:
    """Return how many images of so many numbers are looked at at a time."""
    return max(1, min(256, _NUMBERS // pixels))


def see(classifier: nn.Module, images: NDArray[np.uint8]) -> Seen:
    """Return what is seen in images.

    Args:
        classifier: Of images in [0, 1].
        images: uint8 [N, H, W, C], N >= 1.

    Raises:
        UsageError: The classifier cannot look at such images.
    """
    rows = batch_of(images[0].size)
    try:
        found = features(classifier, images, batch_size=rows, progress=False)
    except RuntimeError as error:
        raise UsageError(
            f"the judge's classifier cannot look at images {list(images.shape[1:])},"
            f" given as floats [B, C, H, W] in [0, 1]: {error}; give another"
            " classifier=, or none"
        ) from error
    grain = [_energies(batch.images) for batch in batches(images, batch_size=rows)]
    return Seen(found.values, torch.cat(grain).numpy())


def _energies(images: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of the energy of each octave, float32 [B, G]."""
    found = [images.new_zeros(len(images), 0)]
    while min(images.shape[2:]) >= _LEAST_SIDE:
        coarse = nn.functional.avg_pool2d(images, 2, ceil_mode=True)
        wide = nn.functional.interpolate(coarse, scale_factor=2.0)
        detail = images - wide[:, :, : images.shape[2], : images.shape[3]]
        found.append(torch.log((detail**2).mean((2, 3)) + _FLOOR))
        images = coarse
    return torch.cat(found, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Description:
    """How what is seen becomes one vector, whose unit is that of training photos."""

    middle: NDArray[np.float64]
    turn: NDArray[np.float64]
    """[D, D]: to principal directions of about the same spread."""

    grain_middle: NDArray[np.float64]
    grain_spread: NDArray[np.float64]

    @classmethod
    def of(cls, photos: Seen) -> Self:
        """Return one under which photos of the training have mean 0, mean square 1.

        Directions are divided by the root of their variance and a ridge.

        Raises:
            UsageError: All features are equal.
        """
        middle = photos.features.mean(0, dtype=np.float64)
        moved = photos.features - middle
        variance, directions = np.linalg.eigh(moved.T @ moved / len(moved))
        variance = variance.clip(0)
        if not variance.max() > 0:
            raise UsageError(
                "the classifier sees no difference between photos: all features are"
                " equal; give another classifier="
            )
        held = variance + _RIDGE * variance.mean()
        turn = directions / np.sqrt(held * (variance / held).mean())
        spread = photos.grain.std(0, dtype=np.float64)
        return cls(
            middle, turn, photos.grain.mean(0, dtype=np.float64),
            np.maximum(spread, 1e-3),
        )  # fmt: skip

    def __call__(self, seen: Seen) -> NDArray[np.float64]:
        """Return vectors, float64 [N, D + G]."""
        shown = (seen.features - self.middle) @ self.turn
        grain = (seen.grain - self.grain_middle) / self.grain_spread
        if not grain.shape[1]:
            return shown
        weight = np.sqrt(_GRAIN * shown.shape[1] / grain.shape[1])
        return np.hstack([shown, weight * _MOST * np.tanh(grain / _MOST)])
