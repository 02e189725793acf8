"""Signs that the training of a GAN goes wrong, found in figures and in images."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Balance", "Variety", "runaway", "variety_of"]

_MOST = 1e8  # a loss beyond it comes back no more
_SURE = 0.99  # share of pairs told apart, from which a critic has all but won
_HALF_LIFE, _LEAST = 0.01, 2_000  # of the averages: share of a run, images
_WARN, _STOP = (0.05, 10_000), (0.15, 50_000)  # the same: how long it has won
_GROWN = 1.5  # times the gap has become since


def runaway(figures: Mapping[str, float]) -> str:
    """Return which figure of a step is no number any more; empty: none.

    Those that watchers found, with a ``/`` in the name, are not looked at.

    >>> runaway({"loss_critic": 0.7, "gap": float("nan")})
    'gap is nan'
    """
    for name, value in figures.items():
        if "/" in name:
            continue
        if not math.isfinite(value):
            return f"{name} is {value}"
        if abs(value) > _MOST:
            return f"{name} has grown to {value:.3g}"
    return ""


@dataclass(slots=True)
class Balance:
    """How far the critic is ahead, over the last hundredth of a run."""

    right: float = 0.5
    """Share of pairs of a real and a generated image that it tells apart."""

    gap: float = 0.0
    """Difference of their logits."""

    since: int | None = None
    """Images after which it told nearly all apart; None: it does not."""

    gap_then: float = 0.0
    """Difference of the logits at that time."""

    before: int = 0
    """Images shown at the step before."""

    def see(self, figures: Mapping[str, float], nimg: int, total: int) -> None:
        """Take in the figures of a step, where it has ``right`` and ``gap``."""
        shown, self.before = nimg - self.before, nimg
        if not {"right", "gap"} <= figures.keys() or shown <= 0:
            return
        weight = 0.5 ** (shown / max(_LEAST, total * _HALF_LIFE))
        self.right = weight * self.right + (1 - weight) * figures["right"]
        self.gap = weight * self.gap + (1 - weight) * figures["gap"]
        if self.right < _SURE:
            self.since = None
        elif self.since is None:
            self.since, self.gap_then = nimg, self.gap

    def lost(self, total: int) -> str:
        """Return ``warn`` or ``stop`` where the critic has won for long, else nothing.

        Nothing, too, as long as its lead does not grow: a Wasserstein critic always
        tells pairs apart, and the generator learns from it.
        """
        if self.since is None or self.gap < _GROWN * max(self.gap_then, 1e-6):
            return ""
        lasted = self.before - self.since
        for word, (share, images) in (("stop", _STOP), ("warn", _WARN)):
            if lasted >= max(share * total, images):
                return word
        return ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {name: getattr(self, name) for name in self.__slots__}


class Variety(NamedTuple):
    """How much images differ, in levels of 255."""

    between: float
    """From each other: standard deviation of a pixel, mean over pixels and classes."""

    within: float
    """In themselves: standard deviation of an image's pixels, mean over images."""


def variety_of(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Variety:
    """Return how much images differ from those of the same label, and in themselves.

    Args:
        images: uint8 [N, H, W, C].
        labels: int64 [N]; a label of which there is one image is left out in the first.
    """
    levels = images.astype(np.float32)
    each = [levels[labels == label] for label in np.unique(labels)]
    between = [float(some.std(0).mean()) for some in each if len(some) > 1]
    within = float(levels.std((1, 2, 3)).mean())
    return Variety(float(np.mean(between)) if between else 0.0, within)
