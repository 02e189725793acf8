"""Whose turn it is among several sources with weights.

Source: the earliest pseudo-deadline rule of proportionate progress, S. Baruah,
N. Cohen, C. Plaxton, D. Varvel, "Proportionate progress: a notion of fairness in
resource allocation", Algorithmica 15 (1996): of the sources that are behind what their
weight says, that one whose next turn is due first. No source is ever a whole turn off.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import lcm

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError

__all__ = ["MOST_TURNS", "turns"]

MOST_TURNS = 10_000
"""Turns of a period, at most."""


def turns(weights: Sequence[Fraction]) -> NDArray[np.int64]:
    """Return whose turn it is, one period of it, int64 [period].

    Args:
        weights: Above 0, of each source.

    Raises:
        UsageError: The period is longer than 10,000.

    >>> turns([Fraction(2), Fraction(1)]).tolist()
    [0, 0, 1]
    """
    whole = sum(weights)
    shares = [weight / whole for weight in weights]
    period = lcm(*(share.denominator for share in shares))
    if period > MOST_TURNS:
        raise UsageError(
            f"weights must be small whole numbers: these repeat after {period} turns,"
            f" at most {MOST_TURNS} may be; round them"
        )
    parts = [int(share * period) for share in shares]
    given, found = [0] * len(parts), np.empty(period, np.int64)
    for turn in range(1, period + 1):
        behind = [i for i, p in enumerate(parts) if p * turn > given[i] * period]
        due = {
            i: (Fraction((given[i] + 1) * period, parts[i]), -parts[i], i)
            for i in behind
        }
        chosen = min(behind, key=due.__getitem__)
        given[chosen] += 1
        found[turn - 1] = chosen
    return found
