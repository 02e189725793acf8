"""What the order of a mix follows from, beside the data set's own order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.dealing import allocate
from fiberaug.order import keyed_permutation
from fiberaug.schedules import Schedule
from fiberaug.timeline import Span, Timeline

__all__ = ["ANY", "Even", "MixLaw", "pack_place", "place_of"]

ANY = -1
"""Stands for the class of a sample where classes are not matched."""

_MEMBERS, _APPENDED = 21, 22  # what a hash is for
_NO_LIMIT = 2**62
_SHARD_SHIFT = 32


def place_of(packed: int) -> tuple[int, int]:
    """Return (shard, row in shard) of a member."""
    return packed >> _SHARD_SHIFT, packed & (2**_SHARD_SHIFT - 1)


def pack_place(shard: int, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return members of rows of a shard, int64 [N]."""
    return np.int64(shard << _SHARD_SHIFT) + rows


class Even(NamedTuple):
    """M of n positions, spread evenly."""

    n: int
    most: int

    def below(self, position: int) -> int:
        """Return how many positions before this one are synthetic."""
        return position * self.most // max(1, self.n)

    def all_below(self) -> NDArray[np.int64]:
        """Return :meth:`below` of the positions 0 .. n."""
        return np.arange(self.n + 1) * self.most // max(1, self.n)

    def asked(self, start: int, stop: int) -> float:
        """Return the share of positions [start, stop)."""
        return (stop - start) * self.most / max(1, self.n)


@dataclass(frozen=True, kw_only=True, eq=False)
class MixLaw:
    """All that the order of a mix follows from, beside the data set's own order."""

    seed: int
    mode: str
    unit: int
    samples: int
    """Positions of an epoch of the data set itself."""

    schedule: Schedule
    turns: NDArray[np.int64]
    """Whose turn it is among the sources, [period]."""

    members: tuple[Mapping[int, NDArray[np.int64] | None], ...]
    """Members by class of each source; None: as many as are asked for, made on demand:
    the place is (shard 0, number). One class :data:`ANY` where none are matched."""

    classes: Mapping[int, int]
    """Samples of each class in the data set; :data:`ANY` alone: not matched."""

    per_class: Mapping[int, Schedule] | None = None
    """The shares of classes, all of them, where they are exact by class."""

    live: tuple[int | None, ...] = ()
    """Shard that stands for what a source makes on demand, of each; None: it has
    shards."""

    dry: str = "cycle"
    reuse: int | None = None
    """How often a member is delivered in an epoch at most."""

    _kept: dict[Any, Any] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what each process finds again."""
        return {**self.__dict__, "_kept": {}}

    @property
    def matched(self) -> bool:
        """Whether mixed-in samples have the class of real ones."""
        return ANY not in self.classes

    def timeline(self, label: int = ANY) -> Timeline:
        """Return the synthetic positions over all classes, or of one class."""
        found: Timeline | None = self._kept.get(("timeline", label))
        if found is None:
            schedule, samples = self.schedule, self.samples
            if label != ANY:
                schedule = (self.per_class or {}).get(label, schedule)
                samples = max(1, self.classes[label])
            append = self.mode == "append"
            found = Timeline(schedule, samples, append=append)
            self._kept["timeline", label] = found
        return found

    def permutation(self, source: int, label: int) -> NDArray[np.int64] | None:
        """Return the members of a class in the order in which they are dealt."""
        key = "members", source, label
        if key not in self._kept:
            members = self.members[source].get(label, np.zeros(0, np.int64))
            if members is not None:
                words = _MEMBERS, self.seed, source, label & (2**64 - 1)
                members = members[keyed_permutation(len(members), *words)]
            self._kept[key] = members
        found: NDArray[np.int64] | None = self._kept[key]
        return found

    def capacity(self, source: int, label: int) -> int:
        """Return how many deliveries an epoch can have of a class of a source."""
        members = self.members[source].get(label, np.zeros(0, np.int64))
        if members is None:
            return _NO_LIMIT
        if not len(members):
            return 0
        return _NO_LIMIT if self.reuse is None else self.reuse * len(members)

    def live_row(self, label: int, number: int) -> int:
        """Return the row of what a source makes on demand: its class and number."""
        return number * self._radix + label + 1

    def live_sample(self, row: int) -> tuple[int, int]:
        """Return (class, number) of a :meth:`live_row`."""
        number, label = divmod(row, self._radix)
        return label - 1, number

    @property
    def _radix(self) -> int:
        return max(self.classes) + 2

    def parts(self) -> NDArray[np.float64]:
        """Return the part of each source, float64 [S]; their sum is 1."""
        counts = np.bincount(self.turns, minlength=len(self.members))
        return counts / len(self.turns)

    def asked(self, epoch: int, start: int, stop: int) -> float:
        """Return how many of positions [start, stop) were asked for in all.

        Where shares differ between classes it is the mean over the whole set.
        """
        if self.mode == "append":
            return self.appended(epoch)[0].asked(start, stop)
        if self.per_class is None:
            return self.timeline().epoch(epoch).asked(start, stop)
        whole = sum(self.classes.values())
        return sum(
            Timeline(schedule, self.samples, append=False)
            .epoch(epoch)
            .asked(start, stop)
            * self.classes[label]
            / whole
            for label, schedule in self.per_class.items()
        )

    def length(self, epoch: int) -> int | None:
        """Return the positions of an epoch; None: its order tells, once it is made."""
        if self.dry == "stop":
            known: int | None = self._kept.get(("length", epoch))
            return known
        if self.mode != "append":
            return self.samples
        spread, _ = self.appended(epoch)
        return spread.n

    def tell_length(self, epoch: int, positions: int) -> None:
        """Keep what only the order of an epoch tells: it is asked for every batch."""
        self._kept["length", epoch] = positions

    def appended(self, epoch: int) -> tuple[Span | Even, NDArray[np.int64] | None]:
        """Return where an epoch's appended samples are, and the class of each.

        None where classes are not matched.
        """
        key = "appended", epoch
        if key not in self._kept:
            for old in [k for k in self._kept if k[0] == "appended"]:
                del self._kept[old]
            self._kept[key] = self._appended(epoch)
        found: tuple[Span | Even, NDArray[np.int64] | None] = self._kept[key]
        return found

    def _appended(self, epoch: int) -> tuple[Span | Even, NDArray[np.int64] | None]:
        span: Span | Even = self.timeline().epoch(epoch)
        wanted, labels = span.n - self.samples, sorted(self.classes)
        sources = range(len(self.members))
        if not self.matched:
            most = sum(self.capacity(source, ANY) for source in sources)
            if most < wanted:
                span = Even(self.samples + most, most)
            return span, None
        if self.per_class is not None:
            counts = [
                self.timeline(label).epoch(epoch).n - max(1, self.classes[label])
                for label in labels
            ]
        else:
            counts = list(allocate(wanted, [self.classes[label] for label in labels]))
        limits = [
            sum(self.capacity(source, label) for source in sources) for label in labels
        ]
        counts = [min(one, cap) for one, cap in zip(counts, limits, strict=True)]
        total = sum(counts)
        if self.per_class is not None or total != wanted:
            span = Even(self.samples + total, total)
        drawn = keyed_permutation(total, _APPENDED, self.seed, epoch)
        return span, np.repeat(labels, counts)[drawn]
