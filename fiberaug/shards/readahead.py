"""Remote shards fetched before they are needed: those of the lanes' next windows."""

from collections.abc import Callable

from fiberaug.ahead import Lanes, live_bytes, shard_row
from fiberaug.order import DiscoveredOrder, EpochOrder, Order, VirtualOrder
from fiberaug.plan import Plan
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.pool import ShardPool
from fiberaug.shards.reader import ShardRef

__all__ = ["ReadAhead", "windows_that_fit"]

_ROW_AHEAD = 2  # shards, where the windows are not known


def windows_that_fit(
    refs: tuple[ShardRef, ...], plan: Plan, cache: ShardCache | None
) -> int:
    """Return how many windows of each lane the cache can hold: 1, or 2 with the next.

    Raises:
        UsageError: It cannot hold the shards that are read side by side.
    """
    if cache is None:
        return 1
    sizes = [ref.bytes for ref in refs]
    if None in sizes:
        return 1  # the store does not say; the cache keeps its limit all the same
    known = [size for size in sizes if size is not None]
    cache.require(live_bytes(plan, known))
    return 2 if live_bytes(plan, known, windows=2) <= cache.limit else 1


class ReadAhead:
    """What a process has to have, and will need, by where it reads.

    It follows the positions that this process is asked for, so it fetches the shards of
    the lanes that are read here, and of no others.

    Args:
        pool: The shards.
        plan: The order.
        shards: Number of shards.
        windows: Windows of a lane that are fetched: 1 the one that is read, 2 also the
            next one.
    """

    def __init__(
        self, pool: ShardPool, plan: Plan, shards: int, *, windows: int
    ) -> None:
        self._pool, self._plan, self._count = pool, plan, shards
        self._windows = windows
        self._order: Order | None = None
        self._lanes: Lanes | None = None
        self._now: dict[int, int] = {}
        self._rows: dict[int, _Row] = {}

    def counter(self, epoch: int) -> Callable[[int], int]:
        """Return what counts the samples of shards without an index, in an epoch."""
        while len(self._rows) > 1:
            self._rows.pop(next(iter(self._rows)))
        row = self._rows[epoch] = _Row(
            self._pool, shard_row(self._plan, epoch, self._count)
        )
        return row.count

    def at(self, epoch: int, order: Order, position: int) -> None:
        """Note that this process reads a position that it was asked for."""
        if isinstance(order, DiscoveredOrder):
            row = self._rows.get(epoch)
            if row is not None:
                row.at(position // self._plan.window, self._plan.window)
            return
        if isinstance(order, VirtualOrder):
            order, position = order.pass_of(position)
        self._in_lane(order, position)

    def _in_lane(self, order: EpochOrder, position: int) -> None:
        if self._lanes is None or order is not self._order:
            self._order, self._lanes, self._now = order, Lanes(order), {}
        lane, window = self._lanes.where(position)
        if self._now.get(lane) == window:
            return
        self._now[lane] = window
        held = [
            shard
            for at, number in self._now.items()
            for later in range(self._windows)
            for shard in self._lanes.shards(at, number + later)
        ]
        ahead = [
            shard
            for later in range(self._windows)
            for shard in self._lanes.shards(lane, window + later)
        ]
        self._pool.move(held, ahead)


class _Row:
    """The shards of an epoch without an index, as far as they are counted."""

    def __init__(self, pool: ShardPool, shards: list[int]) -> None:
        self._pool, self._shards = pool, shards
        self._places = {shard: place for place, shard in enumerate(shards)}
        self._ends: list[int] = []
        self._window = -1

    def count(self, shard: int) -> int:
        place = self._places[shard] + 1
        self._pool.want(self._shards[place : place + _ROW_AHEAD])
        samples = self._pool.count(shard)
        self._ends.append(samples + (self._ends[-1] if self._ends else 0))
        return samples

    def at(self, window: int, size: int) -> None:
        if window == self._window:
            return
        self._window = window
        low, high = window * size, (window + 1) * size
        known = zip(self._shards, [0, *self._ends], self._ends, strict=False)
        live = [s for s, start, end in known if start < high and end > low]
        place = len(self._ends)
        self._pool.move(live, self._shards[place : place + _ROW_AHEAD])
