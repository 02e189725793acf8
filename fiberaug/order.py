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
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.seeding import check_seed

__all__ = [
    "VERSION",
    "DiscoveredOrder",
    "EpochOrder",
    "Plan",
    "default_lanes",
    "lane_start",
    "locate",
    "open_order",
    "rank_range",
    "steps",
    "worker_batches",
]

VERSION = 1
MOST_LANES = 64
_SHARDS, _WINDOW, _STAND_IN = 1, 2, 3  # what a hash is for


def _h64(*words: int) -> int:
    data = b"".join(word.to_bytes(8, "little") for word in words)
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def _mix(x: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    x = x + np.uint64(key)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def default_lanes(samples: int, window: int = 4096) -> int:
    """Return V: as many lanes as there are full windows, at least 1, at most 64.

    A lane shorter than a window would leave a small, class-sorted set unshuffled.
    """
    return max(1, min(MOST_LANES, samples // window))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the order depends on, beside the epoch; it stands in the state."""

    counts: tuple[int, ...] | None
    """Samples of each shard, in the data set's order. None: not known (no index)."""

    seed: int = 0
    """Seed of the order, in [0, 2**64)."""

    shuffle: bool = True
    """False: positions are the samples in the data set's order."""

    lanes: int | None = None
    """V, places of the set that are read side by side. None: :func:`default_lanes`."""

    unit: int = 16
    """b0, positions dealt in a row from one lane."""

    window: int = 4096
    """Samples of a lane that are shuffled among themselves."""

    version: int = VERSION
    """Version of the law of order."""

    def __post_init__(self) -> None:
        """Check the values and fill in the lanes.

        Raises:
            UsageError: A value is out of range.
        """
        check_seed(self.seed)
        if self.version != VERSION:
            raise UsageError(f"plan version must be {VERSION}, got {self.version}")
        for name in ("unit", "window"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.counts is not None and any(count < 0 for count in self.counts):
            raise UsageError(f"samples of a shard must be >= 0, got {min(self.counts)}")
        if self.counts is None and self.lanes not in (None, 1):
            raise UsageError(
                f"lanes must be 1 where the shards have no index, got {self.lanes};"
                " run `fiberaug index` to use more"
            )
        if self.lanes is None:
            lanes = 1 if self.counts is None else default_lanes(self.n, self.window)
            object.__setattr__(self, "lanes", lanes)
        elif self.lanes < 1:
            raise UsageError(f"lanes must be >= 1, got {self.lanes}")

    @property
    def n(self) -> int:
        """Samples of the whole set.

        Raises:
            TypeError: The set has no index.
        """
        if self.counts is None:
            raise TypeError(
                "the number of samples is not known: the shards have no index;"
                " run `fiberaug index SHARDS`"
            )
        return sum(self.counts)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as it stands in a state: under 400 bytes, counts hashed."""
        counts = None
        if self.counts is not None:
            data = np.asarray(self.counts, "<i8").tobytes()
            counts = blake2b(data, digest_size=8).hexdigest()
        return {
            "version": self.version,
            "seed": self.seed,
            "shuffle": self.shuffle,
            "lanes": self.lanes,
            "unit": self.unit,
            "window": self.window,
            "shards": None if self.counts is None else len(self.counts),
            "samples": None if self.counts is None else self.n,
            "counts": counts,
        }


def lane_start(plan: Plan, lane: int) -> int:
    """Return the first sample of ``lane`` in the row of shards laid end to end.

    Lanes are cut in whole units. The one short unit, if there is one, belongs to the
    lane that is dealt last, (U - 1) mod V, so that only the last unit of an epoch is
    short.
    """
    lanes = plan.lanes or 1
    units, short = -(-plan.n // plan.unit), -plan.n % plan.unit
    whole, rest = divmod(units, lanes)
    last = (units - 1) % lanes
    return plan.unit * (lane * whole + min(lane, rest)) - (short if lane > last else 0)


def _shard_permutation(plan: Plan, epoch: int, shards: int) -> NDArray[np.int64]:
    if not plan.shuffle:
        return np.arange(shards, dtype=np.int64)
    keys = [_h64(_SHARDS, plan.seed, epoch, shard) for shard in range(shards)]
    return np.argsort(np.asarray(keys, np.uint64), kind="stable")


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
            key = _h64(_WINDOW, self._seed, self._epoch, lane, start)
            keys = _mix(np.arange(size, dtype=np.uint64), key)
            order = self._kept[name] = np.argsort(keys, kind="stable")
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(name)
        return order


def _draw(plan: Plan, epoch: int, position: int, attempt: int, count: int) -> int:
    return _h64(_STAND_IN, plan.seed, epoch, position, attempt) % count


class EpochOrder:
    """The order of one epoch where the number of samples is known."""

    def __init__(self, plan: Plan, epoch: int) -> None:
        if plan.counts is None:
            raise UsageError("EpochOrder needs a plan with counts")
        self._plan, self._epoch, self.end = plan, epoch, plan.n
        self._shards = _shard_permutation(plan, epoch, len(plan.counts))
        self._ends = np.cumsum(np.asarray(plan.counts, np.int64)[self._shards])
        self._starts = [lane_start(plan, v) for v in range((plan.lanes or 1) + 1)]
        self._windows = _Windows(plan, epoch)

    def reach(self, position: int) -> int:
        """Return ``min(position, samples of the epoch)``."""
        return min(position, self.end)

    def locate(self, position: int) -> tuple[int, int]:
        """Return (shard, index in shard) of a position.

        Raises:
            IndexError: The position is not in [0, N).
        """
        if not 0 <= position < self.end:
            raise IndexError(f"position must be in [0, {self.end}), got {position}")
        return self._shard_of(self._place(position))

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
        windows = max(1, round((high - low) / plan.window))
        width = -(-(high - low) // windows)  # even windows: no sliver at a lane's end
        start = i - i % width
        size = min(width, high - low - start)
        order = self._windows.permutation(lane, start, size)
        return low + start + int(order[i - start])

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

    def stand_in(self, position: int, attempt: int) -> tuple[int, int]:
        """Return the sample that stands in for a broken one: any of the same window."""
        start, size = self._window(position)
        return self.locate(
            start + _draw(self._plan, self._epoch, position, attempt, size)
        )

    def _window(self, position: int) -> tuple[int, int]:
        start = position - position % self._plan.window
        return start, self.reach(start + self._plan.window) - start


def open_order(
    plan: Plan, epoch: int, shards: int, count: Callable[[int], int]
) -> EpochOrder | DiscoveredOrder:
    """Return the order of an epoch, closed-form where the plan knows the counts.

    Args:
        plan: The plan.
        epoch: Epoch, from 0.
        shards: Number of shards.
        count: Samples of shard i; called only where ``plan.counts`` is None.
    """
    if plan.counts is None:
        return DiscoveredOrder(plan, epoch, shards, count)
    return EpochOrder(plan, epoch)


@lru_cache(maxsize=4)
def _cached_order(plan: Plan, epoch: int) -> EpochOrder:
    return EpochOrder(plan, epoch)


def locate(plan: Plan, epoch: int, position: int) -> tuple[int, int]:
    """Return (shard, index in shard) of a position of an epoch.

    Pure: the same arguments give the same answer on every machine.

    Raises:
        IndexError: The position is not in [0, N).
        UsageError: The plan has no counts.

    >>> plan = Plan(counts=(3, 2), shuffle=False)
    >>> [locate(plan, 0, position) for position in range(5)]
    [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    """
    return _cached_order(plan, epoch).locate(position)


def steps(samples: int, global_batch: int, *, drop_last: bool, start: int = 0) -> int:
    """Return the number of global batches from position ``start`` to the end."""
    left = max(0, samples - start)
    return left // global_batch if drop_last else -(-left // global_batch)


def rank_range(  # six numbers that belong together
    samples: int, global_batch: int, k: int, rank: int, world_size: int, start: int = 0
) -> tuple[range, int]:
    """Return the positions of a rank's part of global batch ``k``, and its padding.

    Args:
        samples: Samples of the epoch, N.
        global_batch: Rows of a global batch, B; a multiple of ``world_size``.
        k: Number of the batch, counted from ``start``.
        rank: This rank, in [0, world_size).
        world_size: Number of ranks, R.
        start: Position at which the run was resumed.

    Returns:
        The positions, and how many rows are missing to the ceil(n / R) that every rank
        has in a batch of n positions.

    Raises:
        UsageError: ``global_batch`` is not a multiple of ``world_size``.

    >>> [rank_range(10, 4, 2, rank, 2) for rank in range(2)]
    [(range(8, 9), 0), (range(9, 10), 0)]
    """
    if global_batch % world_size:
        raise UsageError(
            f"the global batch must be a multiple of world_size {world_size},"
            f" got {global_batch}"
        )
    first = start + k * global_batch
    last = max(first, min(first + global_batch, samples))
    rows = -(-(last - first) // world_size)
    low = min(first + rank * rows, last)
    high = min(low + rows, last)
    return range(low, high), rows - (high - low)


def worker_batches(total: int, worker: int, workers: int) -> range:
    """Return the numbers of the batches that one worker of ``workers`` builds."""
    return range(worker, total, workers)
