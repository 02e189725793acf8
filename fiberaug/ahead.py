"""Which shards the lanes of an epoch touch, window by window, and how many bytes.

A lane reads its places in order, window after window, and a window touches the shards
that its places lie in. All lanes move side by side, so at one time an epoch touches the
shards of V windows: that is what a cache of remote shards has to hold.

Pure functions of (plan, epoch) over :class:`fiberaug.order.EpochOrder`: what comes next
is known without reading anything.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fiberaug.order import EpochOrder
from fiberaug.plan import Plan, lane_start

__all__ = ["Lanes", "live_bytes", "shard_row"]


def _starts(plan: Plan) -> list[int]:
    """Return the first place of each lane, and the end; unshuffled it is one lane."""
    if not plan.shuffle:
        return [0, plan.dealt]
    return [lane_start(plan, lane) for lane in range((plan.lanes or 1) + 1)]


def _width(plan: Plan, length: int) -> int:
    """Return the samples of a window: even windows, as ``order`` cuts them."""
    if not plan.shuffle:
        return plan.window
    return max(1, -(-length // max(1, round(length / plan.window))))


class Lanes:
    """The lanes of one pass over the set, as shards.

    Args:
        order: The order of the pass.
    """

    def __init__(self, order: EpochOrder) -> None:
        plan = order._plan  # noqa: SLF001  # the other half of one law
        self._ends, self._shards = order._ends, order._shards  # noqa: SLF001  # not twice in memory
        self._shuffle, self._window, self._unit = plan.shuffle, plan.window, plan.unit
        self._starts = _starts(plan)
        self._widths = [_width(plan, b - a) for a, b in pairwise(self._starts)]

    def where(self, position: int) -> tuple[int, int]:
        """Return (lane, window of the lane) of a position."""
        if not self._shuffle:
            return 0, position // self._window
        unit, column = divmod(position, self._unit)
        row, lane = divmod(unit, len(self._widths))
        return lane, (row * self._unit + column) // self._widths[lane]

    def shards(self, lane: int, window: int) -> list[int]:
        """Return the shards that a window touches; none behind the lane's last one.

        >>> plan = Plan(counts=(3, 2, 4), shuffle=False, window=4)
        >>> lanes = Lanes(EpochOrder(plan, 0))
        >>> [lanes.shards(0, window) for window in range(4)]
        [[0, 1], [1, 2], [2], []]
        """
        low = self._starts[lane] + window * self._widths[lane]
        high = min(low + self._widths[lane], self._starts[lane + 1])
        if low >= high:
            return []
        first, last = np.searchsorted(self._ends, [low, high - 1], side="right")
        row = slice(int(first), int(last) + 1)
        found = self._shards[row][np.diff(self._ends[row], prepend=low) > 0]
        return [int(shard) for shard in found]


def shard_row(plan: Plan, epoch: int, shards: int) -> list[int]:
    """Return the shards of an epoch as they are laid end to end, without counts.

    Args:
        plan: The plan.
        epoch: Epoch, from 0.
        shards: Number of shards.

    >>> shard_row(Plan(counts=None, shuffle=False), 0, 3)
    [0, 1, 2]
    """
    single = Plan(
        counts=(1,) * shards, seed=plan.seed, shuffle=plan.shuffle, lanes=1, unit=1,
        window=1,
    )  # fmt: skip
    order = EpochOrder(single, epoch)
    return [order.locate(place)[0] for place in range(shards)]


def live_bytes(plan: Plan, shard_bytes: Sequence[int], *, windows: int = 1) -> int:
    """Return how many bytes of shards all lanes touch at one time.

    V x (window + two shards at its ends), and never more than the set. The windows of
    all lanes have a known number of samples; the shards inside of them are counted as
    if the largest for their samples were dealt first, those at their ends as the
    largest of all. No order of the shards touches more. With a balance the counts are
    those of epoch 0, and other epochs can touch a little more.

    Args:
        plan: The plan. Without counts the two largest shards are counted.
        shard_bytes: Size of each shard in the data set's order, bytes.
        windows: Windows of each lane that are held: 1 the current one, 2 also the next.
    """
    sizes = np.asarray(shard_bytes, np.int64)
    if plan.counts is None:
        return _largest(sizes, 2)
    counts = np.asarray(plan.counts, np.int64)
    if plan.balance is not None:
        counts = plan.balance.counts(0)
    sizes, counts = sizes[counts > 0], counts[counts > 0]
    lengths = [b - a for a, b in pairwise(_starts(plan)) if b > a]
    spans = [min(windows * _width(plan, n), n) for n in lengths]
    inner = counts <= max(spans, default=0) - 2
    bound = _largest(sizes, 2 * len(spans))
    bound += _densest(sizes[inner], counts[inner], sum(max(0, s - 2) for s in spans))
    return min(bound, int(sizes.sum()))


def _largest(sizes: NDArray[np.int64], count: int) -> int:
    return int(np.sort(sizes)[::-1][:count].sum())


def _densest(sizes: NDArray[np.int64], counts: NDArray[np.int64], samples: int) -> int:
    """Return the most bytes that so many samples have, parts of shards included."""
    order = np.argsort(-sizes / counts, kind="stable")
    ends = np.cumsum(counts[order])
    whole = int(np.searchsorted(ends, samples, side="right"))
    total = int(sizes[order[:whole]].sum())
    if whole < len(order):
        left = samples - (int(ends[whole - 1]) if whole else 0)
        last = order[whole]
        total += -(-int(sizes[last]) * left // int(counts[last]))
    return total
