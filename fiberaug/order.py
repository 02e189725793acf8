"""The order of samples: a closed form from (plan, epoch, position) to (shard, index).

Per epoch the shards are permuted, laid end to end, cut into V lanes in whole units and
shuffled inside equal windows of a lane. Unit u, the positions [u b0, (u + 1) b0), is
row u // V of lane u mod V. The positions 0 .. N-1 and the samples are a bijection.

Batch size, workers and ranks do not appear: a global batch is a contiguous range of
positions, a rank's part a contiguous range of that, and a worker's share every W-th
batch. There is no random state; the position is the whole state.

Source of the mixing function: splitmix64, G. Steele, D. Lea, C. Flood, "Fast
Splittable Pseudorandom Number Generators", OOPSLA 2014.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.plan import Plan, lane_start

__all__ = [
    "DiscoveredOrder",
    "EpochOrder",
    "Order",
    "VirtualOrder",
    "hash64",
    "keyed_permutation",
    "locate",
    "open_order",
]

_SHARDS, _WINDOW, _STAND_IN = 1, 2, 3  # what a hash is for


def hash64(*words: int) -> int:
    """Return a 64-bit hash of 64-bit words."""
    data = b"".join(word.to_bytes(8, "little") for word in words)
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def _hashes(count: int, *words: int) -> NDArray[np.uint64]:
    """Return ``hash64(*words, i)`` of i = 0 .. count - 1, in a third of the time."""
    start = blake2b(
        b"".join(word.to_bytes(8, "little") for word in words), digest_size=8
    )
    last = np.arange(count, dtype="<u8").tobytes()
    digests = bytearray()
    for at in range(0, len(last), 8):
        digest = start.copy()
        digest.update(last[at : at + 8])
        digests += digest.digest()
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def _mix(x: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    x = x + np.uint64(key)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def keyed_permutation(size: int, *words: int) -> NDArray[np.int64]:
    """Return a permutation of [0, size) that follows from 64-bit words alone."""
    keys = _mix(np.arange(size, dtype=np.uint64), hash64(*words))
    return np.argsort(keys, kind="stable")


def _shard_permutation(plan: Plan, epoch: int, shards: int) -> NDArray[np.int64]:
    if not plan.shuffle:
        return np.arange(shards, dtype=np.int64)
    return np.argsort(_hashes(shards, _SHARDS, plan.seed, epoch), kind="stable")


class _Windows:
    """Permutations of windows, the most recent kept."""

    def __init__(self, plan: Plan, epoch: int) -> None:
        self._seed, self._epoch = plan.seed, epoch
        self._most = 2 * (plan.lanes or 1) + 2
        self._kept: OrderedDict[tuple[int, int, int], NDArray[np.int64]] = OrderedDict()

    def permutation(self, lane: int, start: int, size: int) -> NDArray[np.int64]:
        name = (lane, start, size)
        order = self._kept.get(name)
        if order is None:
            words = (_WINDOW, self._seed, self._epoch, lane, start)
            order = self._kept[name] = keyed_permutation(size, *words)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(name)
        return order


def _draw(plan: Plan, epoch: int, position: int, attempt: int, count: int) -> int:
    return hash64(_STAND_IN, plan.seed, epoch, position, attempt) % count


class EpochOrder:
    """The order of one epoch where the number of samples is known.

    It deals the rows of a shard: its samples, its chosen samples where there is a
    subset, or these repeated where there is a balance.
    """

    def __init__(self, plan: Plan, epoch: int) -> None:
        if plan.counts is None:
            raise UsageError("EpochOrder needs a plan with counts")
        self._plan, self._epoch, self.end = plan, epoch, plan.dealt
        self._shards = _shard_permutation(plan, epoch, len(plan.counts))
        counts = np.asarray(plan.counts, np.int64)
        if plan.balance is not None:
            counts = plan.balance.counts(epoch)
        self._ends = np.cumsum(counts[self._shards])
        self._starts = [lane_start(plan, v) for v in range((plan.lanes or 1) + 1)]
        self._windows = _Windows(plan, epoch)

    def reach(self, position: int) -> int:
        """Return ``min(position, samples of the epoch)``."""
        return min(position, self.end)

    def locate(self, position: int) -> tuple[int, int]:
        """Return (shard, row in shard) of a position.

        Raises:
            IndexError: The position is not in [0, N).
        """
        if not 0 <= position < self.end:
            raise IndexError(f"position must be in [0, {self.end}), got {position}")
        return self._shard_of(self._place(position))

    def span(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (shard, row in shard) of every position, int64 [N] each."""
        places = np.arange(self.end, dtype=np.int64)
        if self._plan.shuffle:
            lanes, unit = len(self._starts) - 1, self._plan.unit
            for lane in range(lanes):
                size = self._starts[lane + 1] - self._starts[lane]
                row, column = np.divmod(np.arange(size), unit)
                dealt = [
                    place + self._windows.permutation(lane, start, most)
                    for start, most, place in self._cuts(lane)
                ]
                where = (row * lanes + lane) * unit + column
                places[where] = np.concatenate([np.zeros(0, np.int64), *dealt])
        k = np.searchsorted(self._ends, places, side="right")
        starts = np.concatenate([[0], self._ends])
        return self._shards[k], places - starts[k]

    def visit(self, _position: int) -> int:
        """Return 0: every row has one turn."""
        return 0

    def stand_in(self, position: int, attempt: int) -> tuple[int, int]:
        """Return the sample that stands in for a broken one: any of the set."""
        return self.locate(_draw(self._plan, self._epoch, position, attempt, self.end))

    def _place(self, position: int) -> int:
        plan = self._plan
        if not plan.shuffle:
            return position
        unit, column = divmod(position, plan.unit)
        row, lane = divmod(unit, len(self._starts) - 1)
        low, high = self._starts[lane], self._starts[lane + 1]
        i = row * plan.unit + column
        start = i - i % self._width(lane)
        size = min(self._width(lane), high - low - start)
        order = self._windows.permutation(lane, start, size)
        return low + start + int(order[i - start])

    def _width(self, lane: int) -> int:
        size = self._starts[lane + 1] - self._starts[lane]
        windows = max(1, round(size / self._plan.window))
        return -(-size // windows)  # even windows: no sliver at a lane's end

    def _cuts(self, lane: int) -> Iterator[tuple[int, int, int]]:
        """Yield (start in the lane, samples, start in the set) of a lane's windows."""
        low, high = self._starts[lane], self._starts[lane + 1]
        width = max(1, self._width(lane))
        for start in range(0, high - low, width):
            yield start, min(width, high - low - start), low + start

    def _shard_of(self, place: int) -> tuple[int, int]:
        k = int(np.searchsorted(self._ends, place, side="right"))
        return int(self._shards[k]), place - (int(self._ends[k - 1]) if k else 0)


class DiscoveredOrder:
    """The order of one epoch of shards without an index: counts are read on the way.

    It is one lane with windows of ``plan.window`` samples. Every reader finds the same
    order, since a count is asked of the shard itself, never of what was read before.
    """

    def __init__(
        self, plan: Plan, epoch: int, shards: int, count: Callable[[int], int]
    ) -> None:
        self._plan, self._epoch, self._count = plan, epoch, count
        self._shards = _shard_permutation(plan, epoch, shards)
        self._ends: list[int] = []
        self._windows = _Windows(plan, epoch)

    def reach(self, position: int) -> int:
        """Return ``min(position, samples of the epoch)``, reading counts as needed."""
        while len(self._ends) < len(self._shards) and self._known < position:
            count = self._count(int(self._shards[len(self._ends)]))
            self._ends.append(self._known + count)
        return min(position, self._known)

    @property
    def _known(self) -> int:
        return self._ends[-1] if self._ends else 0

    def locate(self, position: int) -> tuple[int, int]:
        """Return (shard, index in shard) of a position.

        Raises:
            IndexError: The epoch ends before the position.
        """
        if position < 0 or self.reach(position + 1) <= position:
            raise IndexError(f"position {position} is outside of the epoch")
        place = position
        if self._plan.shuffle:
            start, size = self._window(position)
            order = self._windows.permutation(0, start, size)
            place = start + int(order[position - start])
        k = int(np.searchsorted(self._ends, place, side="right"))
        return int(self._shards[k]), place - (self._ends[k - 1] if k else 0)

    def visit(self, _position: int) -> int:
        """Return 0: every row has one turn."""
        return 0

    def stand_in(self, position: int, attempt: int) -> tuple[int, int]:
        """Return the sample that stands in for a broken one: any of the same window."""
        start, size = self._window(position)
        return self.locate(
            start + _draw(self._plan, self._epoch, position, attempt, size)
        )

    def _window(self, position: int) -> tuple[int, int]:
        start = position - position % self._plan.window
        return start, self.reach(start + self._plan.window) - start


class VirtualOrder:
    """The order of one epoch of ``plan.epoch_size`` positions.

    Epoch e is positions [eE, (e + 1)E) of the endless row of the set's own passes, so
    every sample comes once in each pass, however E and N fit.

    Args:
        plan: The plan.
        epoch: Epoch, from 0.
    """

    def __init__(self, plan: Plan, epoch: int) -> None:
        self._plan = replace(plan, epoch_size=None)
        self.end = plan.n
        self._pass_size = plan.dealt
        self._first = epoch * plan.n
        self._passes: dict[int, EpochOrder] = {}

    def reach(self, position: int) -> int:
        """Return ``min(position, positions of the epoch)``."""
        return min(position, self.end)

    def locate(self, position: int) -> tuple[int, int]:
        """Return (shard, row in shard) of a position.

        Raises:
            IndexError: The position is not in the epoch.
        """
        order, place, _ = self._pass(position)
        return order.locate(place)

    def visit(self, position: int) -> int:
        """Return which pass of the set a position is in, counted in this epoch."""
        return self._pass(position)[2]

    def stand_in(self, position: int, attempt: int) -> tuple[int, int]:
        """Return the sample that stands in for a broken one: any of the set."""
        order, place, _ = self._pass(position)
        return order.stand_in(place, attempt)

    def span(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (shard, row in shard) of every position, int64 [E] each."""
        parts, position = [], 0
        while position < self.end:
            order, place, _ = self._pass(position)
            size = min(self.end - position, order.end - place)
            parts.append(tuple(one[place : place + size] for one in order.span()))
            position += size
        shards, rows = zip(*parts, strict=True)
        return np.concatenate(shards), np.concatenate(rows)

    def pass_of(self, position: int) -> tuple[EpochOrder, int]:
        """Return the pass of the set at a position, and the position in it."""
        return self._pass(position)[:2]

    def _pass(self, position: int) -> tuple[EpochOrder, int, int]:
        if not 0 <= position < self.end:
            raise IndexError(f"position must be in [0, {self.end}), got {position}")
        number, place = divmod(self._first + position, self._pass_size)
        order = self._passes.get(number)
        if order is None:
            while len(self._passes) > 1:
                self._passes.pop(next(iter(self._passes)))
            order = self._passes[number] = EpochOrder(self._plan, number)
        return order, place, number - self._first // self._pass_size


Order = EpochOrder | VirtualOrder | DiscoveredOrder


def open_order(
    plan: Plan, epoch: int, shards: int, count: Callable[[int], int]
) -> Order:
    """Return the order of an epoch, closed-form where the plan knows the counts.

    Args:
        plan: The plan.
        epoch: Epoch, from 0.
        shards: Number of shards.
        count: Samples of shard i; called only where ``plan.counts`` is None.
    """
    if plan.counts is None:
        return DiscoveredOrder(plan, epoch, shards, count)
    if plan.epoch_size is not None and plan.balance is None:
        return VirtualOrder(plan, epoch)
    return EpochOrder(plan, epoch)


@lru_cache(maxsize=4)
def _cached_order(plan: Plan, epoch: int) -> Order:
    if plan.counts is None:
        raise UsageError("locate needs a plan with counts")
    return open_order(plan, epoch, len(plan.counts), plan.counts.__getitem__)


def locate(plan: Plan, epoch: int, position: int) -> tuple[int, int]:
    """Return (shard, row in shard) of a position of an epoch.

    Pure: the same arguments give the same answer on every machine. The row is the
    sample's number in the shard, unless the plan has a subset or a balance.

    Raises:
        IndexError: The position is not in [0, N).
        UsageError: The plan has no counts.

    >>> plan = Plan(counts=(3, 2), shuffle=False)
    >>> [locate(plan, 0, position) for position in range(5)]
    [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    """
    return _cached_order(plan, epoch).locate(position)
