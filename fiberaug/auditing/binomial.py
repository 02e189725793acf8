"""Exact confidence bounds of a share, and the band of a distribution function."""

import math

__all__ = ["band", "beta_share", "bounds"]

_TINY = 1e-300
_PRECISION = 1e-15
_STEPS = 60


def beta_share(a: float, b: float, x: float) -> float:
    """Return I_x(a, b), the distribution function of Beta(a, b), in [0, 1].

    Args:
        a: First parameter, > 0.
        b: Second parameter, > 0.
        x: Any number; 0 below 0, 1 above 1.

    Source: NIST Digital Library of Mathematical Functions, 8.17.22 (continued fraction)
    and 8.17.4 (symmetry), evaluated as in W. J. Lentz, Applied Optics 15 (1976) 668.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_share(b, a, 1 - x)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front += a * math.log(x) + b * math.log1p(-x)
    return min(1.0, math.exp(front) / a * _fraction(a, b, x))


def _fraction(a: float, b: float, x: float) -> float:
    upper, lower = 1.0, 1 - (a + b) * x / (a + 1)
    lower = 1 / (lower if abs(lower) > _TINY else _TINY)
    value = lower
    most = 1000 + 10 * int(math.sqrt(max(a, b)))
    for m in range(1, most):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        change = 1.0
        for part in (even, odd):
            lower = 1 + part * lower
            lower = 1 / (lower if abs(lower) > _TINY else _TINY)
            upper = 1 + part / upper
            upper = upper if abs(upper) > _TINY else _TINY
            change = upper * lower
            value *= change
        if abs(change - 1) < _PRECISION:
            break
    return value


def bounds(hits: int, trials: int, alpha: float) -> tuple[float, float]:
    """Return the least and the most probability that ``hits`` of ``trials`` agree with.

    Two-sided and exact: whatever the probability is, it lies outside with a probability
    of at most ``alpha``.

    Args:
        hits: Trials that hit, 0 to ``trials``.
        trials: Independent trials.
        alpha: Probability of an error, in (0, 1).

    Source: C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404, through quantiles of
    beta distributions.

    >>> [round(p, 4) for p in bounds(0, 10, 0.05)]
    [0.0, 0.3085]
    """
    if not trials:
        return 0.0, 1.0
    low = 0.0 if not hits else _quantile(hits, trials - hits + 1, alpha / 2)
    high = 1.0
    if hits < trials:
        high = 1 - _quantile(trials - hits, hits + 1, alpha / 2)
    return low, high


def _quantile(a: float, b: float, share: float) -> float:
    """Return x with I_x(a, b) = share, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if beta_share(a, b, middle) < share:
            low = middle
        else:
            high = middle
        if high - low < 1e-12 * high:
            break
    return (low + high) / 2


def band(values: int, alpha: float) -> float:
    """Return how far a distribution function can be from that of so many values.

    The largest distance between the two is above it with a probability of at most
    ``alpha``.

    Source: P. Massart, Annals of Probability 18 (1990) 1269, corollary 1.
    """
    return math.sqrt(math.log(2 / alpha) / (2 * values)) if values else 1.0
