"""Intervals of shares: how far a count can be trusted.

Sources: E. B. Wilson, Probable Inference, the Law of Succession, and Statistical
Inference (JASA 1927); R. G. Newcombe, Interval Estimation for the Difference between
Independent Proportions, method 10 (1998), here for the mean of two instead.
"""

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

from fiberaug.errors import UsageError

__all__ = ["Share", "check_confidence", "mean_share", "wilson"]


class Share(NamedTuple):
    """A share and the interval that holds the true one with the confidence asked."""

    value: float
    """In [0, 1]."""

    low: float
    """Lower bound, in [0, 1]."""

    high: float
    """Upper bound, in [0, 1]."""


def check_confidence(confidence: float) -> float:
    """Return ``confidence`` when it is one.

    Raises:
        UsageError: It is not in (0, 1).
    """
    if not 0 < confidence < 1:
        raise UsageError(f"confidence must be in (0, 1), got {confidence}")
    return confidence


def wilson(hits: float, trials: float, confidence: float = 0.95) -> Share:
    """Return a share with Wilson's score interval.

    Args:
        hits: Successes; halves are allowed.
        trials: Independent trials, above 0; an effective number need not be whole.
        confidence: Of the two-sided interval, in (0, 1).

    >>> round(wilson(5, 10).low, 4)
    0.2366
    """
    z = NormalDist().inv_cdf(0.5 + check_confidence(confidence) / 2)
    share, weight = hits / trials, z * z / trials
    middle = (share + weight / 2) / (1 + weight)
    half = sqrt(share * (1 - share) * weight + weight * weight / 4) / (1 + weight)
    return Share(share, max(0.0, middle - half), min(1.0, middle + half))


def mean_share(parts: Sequence[tuple[float, int]], confidence: float = 0.95) -> Share:
    """Return the mean of independent shares, each weighing the same.

    Args:
        parts: (hits, trials) of each.
        confidence: Of the two-sided interval, in (0, 1).
    """
    found = [wilson(hits, trials, confidence) for hits, trials in parts]
    mean = sum(share.value for share in found) / len(found)
    down = sqrt(sum((share.value - share.low) ** 2 for share in found)) / len(found)
    up = sqrt(sum((share.high - share.value) ** 2 for share in found)) / len(found)
    return Share(mean, max(0.0, mean - down), min(1.0, mean + up))
