"""AugMix: chains of weak operations, and the weights that blend them.

Source: AugMix, arXiv 1912.02781; semantics of torchvision's transforms v2.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fiberaug.errors import UsageError
from fiberaug.magnitudes import (
    MIXED,
    NOTHING,
    OPERATIONS,
    Numbers,
    Size,
    chosen,
    numbers_of,
)
from fiberaug.policies import COMMON, Drawn, Source
from fiberaug.policy_checks import check_whole, is_number

__all__ = ["AugMixPolicy", "Mixed"]

_CORRUPTING = numbers_of(["Brightness", "Color", "Contrast", "Sharpness"])
_CLEAN = np.setdiff1d(COMMON, [*_CORRUPTING, OPERATIONS.index("Identity")])
_BINS = 10


class Mixed(NamedTuple):
    """What AugMix does to each row."""

    chains: Drawn
    """[B, width, depth]."""

    weights: Numbers
    """float64 [B, 1 + width] with a sum of 1: of the image itself and of each chain."""


@dataclass(frozen=True, kw_only=True)
class AugMixPolicy:
    """A mean of the image and of copies, each changed by a chain of operations.

    Raises:
        UsageError: An argument is out of its bounds.
    """

    severity: int = 3
    """Of 10 bins of strength, the first ones that are drawn from; 1 to 10."""

    mixture_width: int = 3
    """Copies, 1 to 8."""

    chain_depth: int = -1
    """Operations a copy, 1 to 8; -1: 1 to 3, drawn for each copy."""

    alpha: float = 1.0
    """Of the Beta and Dirichlet distributions of weights, above 0 to 100."""

    all_ops: bool = True
    """Also brightness, colour, contrast and sharpness, which ImageNet-C tests."""

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_whole("severity", self.severity, 1, _BINS)
        check_whole("mixture_width", self.mixture_width, 1, 8)
        if self.chain_depth != -1:
            check_whole("chain_depth (or -1)", self.chain_depth, 1, 8)
        if not is_number(self.alpha) or not 0 < self.alpha <= 100:
            raise UsageError(f"alpha must be above 0 to 100, got {self.alpha!r}")
        if type(self.all_ops) is not bool:
            raise UsageError(f"all_ops must be True or False, got {self.all_ops!r}")

    def draw(self, source: Source, rows: int, size: Size) -> Mixed:
        """Return what is done to ``rows`` images of (height, width) px."""
        width, longest = self.mixture_width, max(self.chain_depth, 3)
        depth = self.chain_depth if self.chain_depth > 0 else longest
        names = np.union1d(_CLEAN, _CORRUPTING) if self.all_ops else _CLEAN
        numbers = source.uniform((rows, width, depth, 3))
        lengths = source.uniform((rows, width, 1))
        operations = names[chosen(numbers[..., 0], len(names))]
        strength = chosen(numbers[..., 1], self.severity) / (_BINS - 1)
        found = MIXED.magnitudes(operations, strength, numbers[..., 2] < 0.5, size)
        done = np.arange(depth) <= chosen(lengths, longest)
        if self.chain_depth > 0:
            done = np.ones_like(done)
        chains = Drawn(np.where(done, operations, NOTHING), np.where(done, found, 0.0))
        return Mixed(chains, self._weights(source, rows))

    def _weights(self, source: Source, rows: int) -> Numbers:
        # Shares of gamma variates are Dirichlet, and Beta where there are two. The
        # smallest number keeps a tiny alpha from dividing 0 by 0.
        drawn = source.gamma(self.alpha, (rows, self.mixture_width + 2))
        gammas = np.maximum(drawn, np.finfo(np.float64).tiny)
        own = gammas[:, :1] / gammas[:, :2].sum(axis=1, keepdims=True)
        shares = gammas[:, 2:] / gammas[:, 2:].sum(axis=1, keepdims=True)
        return np.concatenate([own, (1 - own) * shares], axis=1)
