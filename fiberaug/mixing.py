"""The order of an epoch of several sources: which of them a position has.

The positions come from a timeline, whose turn it is among several sources from their
weights. The i-th sample that an epoch takes of a source (and class) is member
(begin + i) mod n of a permutation that stays: in an epoch every member comes once
before any comes twice. So it is from epoch to epoch where classes are not matched; else
an epoch begins where the one before ends on average, and their use stays nearly even.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.levelling import exchanges, rounded
from fiberaug.mixlaw import ANY, Even, MixLaw, place_of
from fiberaug.order import EpochOrder, VirtualOrder, hash64, keyed_permutation
from fiberaug.timeline import Span, Timeline

__all__ = ["Base", "Deal", "MixedOrder"]

Base = EpochOrder | VirtualOrder
Labels = Callable[[int, Base], NDArray[np.int64]]
"""(epoch, order) -> class of each position of the data set's own order, int64 [N]."""

_COLUMNS, _STAND_IN = 23, 25  # what a hash is for
_BLOCK = 1 << 16  # positions of a table, where nothing is matched
_KEPT_BLOCKS = 8
_DRY = -1  # in the place of a member
_STAND_INS = 2**40  # visits from here on are those of stand-ins


class Deal(NamedTuple):
    """What a position has."""

    source: int | None
    """Number of the source; None: a sample of the data set itself."""

    shard: int
    row: int
    visit: int


class _Table(NamedTuple):
    """The synthetic positions of an epoch, or of a block of one."""

    positions: NDArray[np.int64]
    """Ascending, [M]."""

    sources: NDArray[Any]
    members: NDArray[np.int64]
    """What :func:`place_of` understands; -1 where the source is dry."""

    visits: NDArray[np.int64]
    labels: NDArray[np.int64]

    found: memoryview
    """The positions, looked at without numpy: a third of the time."""


class MixedOrder:
    """The order of one epoch of a data set with what is mixed into it.

    Args:
        law: What it follows from.
        epoch: Epoch, from 0.
        base: The data set's own order.
        labels: Finds the classes of its positions.
        begins: Samples that all epochs before have taken of a class of a source. None:
            about as many as the share says.
    """

    def __init__(
        self,
        law: MixLaw,
        epoch: int,
        base: Base,
        labels: Labels,
        begins: Counter[tuple[int, int]] | None = None,
    ) -> None:
        self._begins = begins
        self.law, self._epoch, self.base = law, epoch, base
        self._append = law.mode == "append"
        self._classes: NDArray[np.int64] | None = None
        self._spread: Span | Even = law.timeline().epoch(epoch)
        if self._append:
            self._spread, self._classes = law.appended(epoch)
        elif law.matched:
            self._classes = labels(epoch, base)
        self._moved: dict[int, int] = {}
        spread = self._spread
        self.end = spread.n
        self._before = spread.before if isinstance(spread, Span) else 0
        self._blocks: dict[int, _Table] = {}
        self._whole: _Table | None = None
        whole = law.dry == "stop" or (self._append and law.reuse is not None)
        if law.matched or law.mode == "unit" or whole:
            self._whole = self._build(0, self.end)
            dry = np.flatnonzero(self._whole.members == _DRY)
            if law.dry == "stop" and len(dry):
                self.end = int(self._whole.positions[dry[0]])
        if law.dry == "stop":
            law.tell_length(epoch, self.end)

    def reach(self, position: int) -> int:
        """Return ``min(position, positions of the epoch)``."""
        return min(position, self.end)

    def deal(self, position: int) -> Deal:
        """Return what a position has.

        Raises:
            IndexError: The position is not in the epoch.
        """
        if not 0 <= position < self.end:
            raise IndexError(f"position must be in [0, {self.end}), got {position}")
        table = self._table(position)
        found = table.found
        at = bisect_left(found, position)
        synthetic = at < len(found) and found[at] == position
        if synthetic and table.members[at] != _DRY:
            source, member = int(table.sources[at]), int(table.members[at])
            shard = self.law.live[source]
            if shard is not None:
                row = self.law.live_row(int(table.labels[at]), member)
                return Deal(source, shard, row, 0)
            return Deal(source, *place_of(member), int(table.visits[at]))
        place = self.real(position)
        if place is None:
            raise IndexError(f"position {position} has no sample")
        return Deal(None, *self.base.locate(place), self.base.visit(place))

    def real(self, position: int) -> int | None:
        """Return the position in the data set's own order.

        None where the sample there is appended.
        """
        if not self._append:
            return self._moved.get(position, position)
        below = self._spread.below(position)
        return position - below if self._spread.below(position + 1) == below else None

    def locate(self, position: int) -> tuple[int, int]:
        """Return (shard, row) of a position; shards of sources are their own."""
        deal = self.deal(position)
        return deal.shard, deal.row

    def visit(self, position: int) -> int:
        """Return how often the sample was dealt before, in this epoch."""
        return self.deal(position).visit

    def asked_source(self, position: int) -> int | None:
        """Return whose turn a position is; None: the data set's own."""
        table = self._table(position)
        at = bisect_left(table.found, position)
        if at < len(table.positions) and table.positions[at] == position:
            return int(table.sources[at])
        return None

    def stand_in(self, position: int, attempt: int) -> Deal:
        """Return what stands in for a broken sample: one of its source and class.

        Each of these once, then the real sample of the place, then any real one.

        Args:
            position: Of the broken sample.
            attempt: From 0.
        """
        table, words = self._table(position), (self.law.seed, self._epoch, position)
        at = bisect_left(table.found, position)
        own = at < len(table.positions) and table.positions[at] == position
        if own and table.members[at] != _DRY:
            source, label = int(table.sources[at]), int(table.labels[at])
            members = self.law.permutation(source, label)
            if members is not None:
                if attempt < len(members):
                    drawn = (hash64(_STAND_IN, *words) + attempt) % len(members)
                    return Deal(source, *place_of(int(members[drawn])), 0)
                attempt -= len(members)
                if not attempt:
                    return self.instead(position)._replace(visit=0)
        place = self.real(position)
        if place is None:  # an appended one that cannot be made: any real sample
            place = hash64(_STAND_IN, *words) % self.base.end
        return Deal(None, *self.base.stand_in(place, attempt), 0)

    def instead(self, position: int) -> Deal:
        """Return the real sample for a position whose own is not there in time."""
        place = self.real(position)
        if place is not None:
            return Deal(None, *self.base.locate(place), self.base.visit(place))
        words = self.law.seed, self._epoch, position
        place = hash64(_STAND_IN, *words) % self.base.end
        return Deal(None, *self.base.locate(place), _STAND_INS + 16 * position)

    def taken(self) -> Counter[tuple[int, int]]:
        """Return how many samples the epoch takes of each class of each source."""
        table = self._table(0)
        groups = _groups(table.sources.astype(np.int64), table.labels)
        return Counter({(source, label): len(own) for source, label, own in groups})

    def upcoming(self, position: int) -> dict[int, dict[int, int]]:
        """Return the next number of each class of sources that make on demand.

        Args:
            position: Of this epoch; what is before it was delivered.
        """
        found: dict[int, dict[int, int]] = {}
        if position >= self.end or not any(s is not None for s in self.law.live):
            return found
        table = self._table(position)
        first = bisect_left(table.found, position)
        for source, label, own in _groups(
            table.sources[first:].astype(np.int64), table.labels[first:]
        ):
            if self.law.live[source] is not None:
                least = int(table.members[first:][own].min())
                found.setdefault(source, {})[label] = least
        return found

    def _table(self, position: int) -> _Table:
        if self._whole is not None:
            return self._whole
        number = position // _BLOCK
        found = self._blocks.get(number)
        if found is None:
            while len(self._blocks) >= _KEPT_BLOCKS:
                self._blocks.pop(next(iter(self._blocks)))
            stop = min(self._spread.n, (number + 1) * _BLOCK)
            found = self._blocks[number] = self._build(number * _BLOCK, stop)
        return found

    def _build(self, start: int, stop: int) -> _Table:
        """Return the synthetic positions of [start, stop).

        A part of an epoch needs no classes: what comes before is then a closed form.
        """
        law = self.law
        positions, first = self._positions(start, stop)
        first += self._before
        number = first + np.arange(len(positions))
        sources = law.turns[number % len(law.turns)]
        labels = np.full(len(positions), ANY, np.int64)
        if self._classes is not None and not self._append and law.per_class is None:
            self._classes = self._levelled(self._classes, positions)
        if self._classes is not None:
            labels = self._classes if self._append else self._classes[positions]
        members = np.full(len(positions), _DRY, np.int64)
        visits = np.zeros(len(positions), np.int64)
        for source, label, own in _groups(sources, labels):
            members[own], visits[own] = self._members(source, label, len(own), first)
        table = _Table(positions, sources, members, visits, labels, positions.data)
        if self._append and law.reuse is not None:
            self._refill(table)
        return table._replace(sources=sources.astype(np.uint8))

    def _refill(self, table: _Table) -> None:
        """Give the turns of a dry source to those that are not."""
        law = self.law
        used = {
            (source, label): int((table.members[own] != _DRY).sum())
            for source, label, own in _groups(table.sources, table.labels)
        }
        dry = np.flatnonzero(table.members == _DRY)
        for label in np.unique(table.labels[dry]).tolist():
            left = dry[table.labels[dry] == label]
            for source in range(len(law.members)):
                taken = used.get((source, label), 0)
                own = left[: law.capacity(source, label) - taken]
                made, again = self._members(source, label, taken + len(own), 0)
                table.members[own], table.visits[own] = made[taken:], again[taken:]
                table.sources[own], left = source, left[len(own) :]

    def _members(
        self, source: int, label: int, count: int, first: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the next ``count`` members of a class of a source, and their visits.

        Args:
            source: Number of the source.
            label: Class.
            count: How many.
            first: Synthetic samples of the run before these.
        """
        law = self.law
        used, begin = 0, 0
        if label == ANY:
            begin = self._taken(source, self._before)
            used = max(0, self._taken(source, first) - begin)
        elif law.per_class is not None:
            begin = law.timeline(label).epoch(self._epoch).before
        else:
            share = law.classes[label] / max(1, law.samples)
            begin = int(law.timeline().epoch(self._epoch).before * share)
        if label != ANY:
            begin = int(begin * law.parts()[source])
            if self._begins is not None:
                begin = self._begins[source, label]
        turn = used + np.arange(count)
        cycle = law.permutation(source, label)
        if cycle is None:
            return begin + turn, np.zeros(count, np.int64)
        if not len(cycle):
            return np.full(count, _DRY), np.zeros(count, np.int64)
        found = cycle[(begin + turn) % len(cycle)]
        found = np.where(turn < law.capacity(source, label), found, _DRY)
        return found, turn // len(cycle)

    def _taken(self, source: int, number: int) -> int:
        """Return how many of the first ``number`` turns of the run a source has."""
        turns = self.law.turns
        whole, rest = divmod(number, len(turns))
        own = turns == source
        return whole * int(own.sum()) + int(own[:rest].sum())

    def _positions(self, start: int, stop: int) -> tuple[NDArray[np.int64], int]:
        """Return the synthetic positions in [start, stop), and how many are before."""
        law, spread = self.law, self._spread
        if law.per_class is not None and not self._append:
            return self._by_class(), 0
        if start == 0 and stop == spread.n:
            below = spread.all_below()
        else:
            below = np.asarray([spread.below(k) for k in range(start, stop + 1)])
        if law.mode == "unit":
            return self._in_units(below), 0
        return start + np.flatnonzero(np.diff(below)), int(below[0])

    def _in_units(self, below: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return positions at drawn places, as many in each unit as are due there."""
        unit, n = self.law.unit, len(below) - 1
        ends = np.minimum(np.arange(0, n + unit, unit), n)
        due = np.diff(below[ends])
        place = np.arange(len(due) * unit)
        words = _COLUMNS, self.law.seed, self._epoch
        drawn = keyed_permutation(len(place), *words)
        rank = np.empty(len(place), np.int64)
        rank[drawn] = place
        rank[n:] = len(place)  # the last unit may be short
        rank = rank.reshape(-1, unit).argsort(axis=1).argsort(axis=1)
        return np.flatnonzero((rank < due[:, None]).ravel())

    def _levelled(
        self, classes: NDArray[np.int64], positions: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the classes after real samples have changed places.

        Each class then has its share of the epoch's mixed-in positions within one.
        """
        known, numbers = np.unique(classes, return_inverse=True)
        whole = self._spread.asked(0, self._spread.n) / max(1, len(classes))
        shares = np.bincount(numbers.ravel(), minlength=len(known)) * whole
        words = self.law.seed, self._epoch
        wanted = rounded(shares, len(positions), *words)
        pairs = exchanges(numbers.ravel(), positions, wanted.tolist(), *words)
        self._moved = dict(pairs.tolist()) | {b: a for a, b in pairs.tolist()}
        found = classes.copy()
        found[pairs] = classes[pairs[:, ::-1]]
        return found

    def _by_class(self) -> NDArray[np.int64]:
        """Return positions of which each class has exactly its share."""
        law, labels = self.law, self._classes
        found = []
        for label in law.classes:
            own = np.flatnonzero(labels == label)
            span = law.timeline(label).epoch(self._epoch)
            if len(own) != span.n and len(own):
                # An epoch of a part of the set, or of more than it: no two have the
                # same classes.
                schedule = (law.per_class or {}).get(label, law.schedule)
                span = Timeline(schedule, len(own), append=False).epoch(self._epoch)
            due = span.all_below()[: len(own) + 1]
            found.append(own[np.flatnonzero(np.diff(due))])
        return np.sort(np.concatenate(found))


def _groups(
    sources: NDArray[np.int64], labels: NDArray[np.int64]
) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """Yield each source and class, and where they are, ascending."""
    if not len(sources):
        return
    known, group = np.unique(np.stack([sources, labels]), axis=1, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(group.ravel(), minlength=known.shape[1]))
    for (source, label), own in zip(
        known.T.tolist(), np.split(order, ends[:-1]), strict=True
    ):
        yield source, label, own
