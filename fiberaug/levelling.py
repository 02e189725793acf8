"""Exact shares of classes at given positions, by exchanging a few real samples.

The positions of mixed-in samples are fixed, and a stand-in has the class of the real
sample whose place it takes. So that each class has its share within one, some places
are given to other real samples: a sample of a class that has too many places changes
its place with the nearest one of a class that has too few. All others stay.

Source of the rounding: systematic sampling, W. Madow, "On the theory of systematic
sampling II", Annals of Mathematical Statistics 20 (1949).
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.order import hash64, keyed_permutation

__all__ = ["exchanges", "rounded"]

_ORDER, _START, _CHOICE, _PAIRS = 31, 32, 33, 34  # what a hash is for
_WORD = 2.0**64


def rounded(shares: NDArray[Any], total: int, *words: int) -> NDArray[np.int64]:
    """Return whole numbers within one of ``shares`` that sum up to ``total``.

    In the mean over keys each is its share, so that small ones are not always 0.

    Args:
        shares: Numbers >= 0, float64 [K]; their sum is within one of ``total``.
        total: The sum of what is returned.
        words: What the drawing follows from.
    """
    low: NDArray[np.int64] = np.floor(shares).astype(np.int64)
    order = keyed_permutation(len(shares), _ORDER, *words)
    rest = np.cumsum((shares - low)[order])
    missing = total - int(low.sum())
    whole = rest[-1] if len(rest) else 0.0
    start = hash64(_START, *words) / _WORD
    # The start is drawn where exactly so many are rounded up.
    least, most = max(0.0, missing - whole), min(1.0, missing + 1 - whole)
    start = least + start * max(0.0, most - least)
    steps = np.floor(start + np.concatenate([[0.0], rest]))
    up = np.diff(np.minimum(steps, missing)).astype(np.int64)
    for i in np.flatnonzero(up == 0)[: missing - int(up.sum())]:
        up[i] = 1  # a last place of a float
    found = low.copy()
    found[order] += up
    return found


def exchanges(
    labels: NDArray[np.int64],
    mixed: NDArray[np.int64],
    wanted: Sequence[int],
    *words: int,
) -> NDArray[np.int64]:
    """Return pairs of positions whose real samples change places, int64 [X, 2].

    The first of a pair is a mixed-in position, the second is none; no position is in
    two pairs.

    Args:
        labels: Class of each position, in [0, K), [N].
        mixed: Positions of mixed-in samples, ascending.
        wanted: How many of these each class is to have, [K].
        words: What the drawing follows from.
    """
    kinds = len(wanted)
    have = np.bincount(labels[mixed], minlength=kinds)
    free = np.ones(len(labels), np.bool_)
    free[mixed] = False
    rest = np.flatnonzero(free)
    by_class = rest[np.argsort(labels[rest], kind="stable")]
    ends = np.cumsum(np.bincount(labels[rest], minlength=kinds)).tolist()
    over: list[int] = []
    under: list[int] = []
    own = mixed[np.argsort(labels[mixed], kind="stable")]
    own_ends = np.cumsum(have).tolist()
    for label, (has, want) in enumerate(zip(have.tolist(), wanted, strict=True)):
        if has > want:
            places = own[own_ends[label] - has : own_ends[label]]
            drawn = keyed_permutation(has, _CHOICE, *words, label)
            over += places[drawn[: has - want]].tolist()
        under += [label] * (want - has)
    drawn = keyed_permutation(len(under), _PAIRS, *words)
    pairs, taken = [], set[int]()
    for position, which in zip(sorted(over), drawn.tolist(), strict=False):
        label = under[which]
        first = ends[label - 1] if label else 0
        others = by_class[first : ends[label]].data
        other = _nearest(others, position, taken)
        if other is not None:
            taken.add(other)
            pairs.append((position, other))
    return np.asarray(pairs, np.int64).reshape(-1, 2)


def _nearest(places: memoryview, position: int, taken: set[int]) -> int | None:
    """Return the place that is nearest to a position and not taken."""
    high = bisect_left(places, position)
    low = high - 1
    while low >= 0 or high < len(places):
        above = places[high] if high < len(places) else None
        below = places[low] if low >= 0 else None
        if below is None or (above is not None and above - position < position - below):
            found, high = above, high + 1
        else:
            found, low = below, low - 1
        if found not in taken:
            return found
    return None
