"""A data set and what is mixed into it: sources opened, classes matched, one order."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.sample import SampleDecoder
from fiberaug.errors import ShardDamaged, UsageError
from fiberaug.matching import Matcher
from fiberaug.mix import REAL, Mix
from fiberaug.mixing import Base, MixedOrder
from fiberaug.mixlaw import ANY, MixLaw
from fiberaug.order import DiscoveredOrder, Order, open_order
from fiberaug.plan import Plan
from fiberaug.rows import Rows
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.index import ShardIndex
from fiberaug.shards.opening import read_index
from fiberaug.shards.reader import ShardRef
from fiberaug.synthetic.seeds import sample_key

__all__ = [
    "Live",
    "LiveShard",
    "Mixture",
    "NotInTime",
    "RealRows",
    "Source",
    "reason_of",
]


class NotInTime(Exception):  # no fault: it is answered by a real sample
    """What an online generator makes was not there in time."""


class Live(Protocol):
    """What makes samples on demand: see :mod:`fiberaug.synthetic.online`."""

    @property
    def pid(self) -> int | None:
        """Number of its process, where this object has started it."""
        ...

    def start(self) -> Any:  # noqa: ANN401  # itself
        """Have it at work."""
        ...

    def close(self) -> None:
        """End it."""
        ...

    def seek(self, positions: Mapping[int, int]) -> None:
        """Tell which number of each class is taken next."""
        ...

    def confirm(self, label: int, index: int) -> None:
        """Tell that a sample was delivered."""
        ...

    @property
    def started(self) -> bool:
        """Whether somebody has started it."""
        ...

    def why(self) -> str:
        """Return why samples are late, where that is known."""
        ...

    @property
    def classes(self) -> Sequence[str]:
        """Class names by its own label."""
        ...

    def take(self, label: int, index: int) -> Mapping[str, bytes] | None:
        """Return the members of a sample, or None where it is not there in time."""
        ...


def reason_of(live: Live) -> str:
    """Return why samples are late in one line; the whole is in the log before."""
    lines = live.why().strip().splitlines()
    return lines[-1].strip() if lines else ""


class LiveShard:
    """Stands for a shard whose samples are made on demand.

    Args:
        source: The source.
        law: Knows what a row is.
    """

    def __init__(self, source: "Source", law: MixLaw) -> None:
        self.name = self.location = source.name
        self._live, self._law, self._label = source.live, law, source.own_label

    @property
    def index(self) -> "LiveShard":
        """What knows keys: itself."""
        return self

    def key(self, row: int) -> str:
        """Return the key of a row."""
        label, number = self._sample(row)
        names = () if self._live is None else self._live.classes
        return sample_key(names[label] if names else str(label), number)

    def _sample(self, row: int) -> tuple[int, int]:
        label, number = self._law.live_sample(row)
        return self._label(label), number

    def read(self, row: int) -> Mapping[str, bytes]:
        """Return the members of a row.

        Raises:
            NotInTime: It is not there in time.
            UsageError: Nobody has started what makes it.
        """
        live = self._live
        members = None if live is None else live.take(*self._sample(row))
        if members is not None:
            return members
        if live is not None and not live.started:
            raise UsageError(
                f"the online generator of source {self.name!r} was not started:"
                " fiberaug.DataLoader does so; for another loader call its start() in"
                " the main process"
            )
        why = "" if live is None else reason_of(live)
        raise NotInTime(f"{self.key(row)}: {why or 'it takes longer'}")


class Source(NamedTuple):
    """One source of a mixture, as it is used."""

    name: str
    decoder: SampleDecoder
    live: Live | None = None
    relabel: Mapping[int, int] | None = None
    """From the source's class ids to the data set's; None: they are the same."""

    place: Any = None
    """Where it is, for the run's manifest."""

    def own_label(self, label: int) -> int:
        """Return its own id of a class of the data set; 0 where none is matched."""
        for own, there in (self.relabel or {}).items():
            if there == label:
                return own
        return max(label, 0)

    @property
    def lost(self) -> bool:
        """Whether its samples are nowhere when the run is over."""
        return self.live is not None and not (self.place or {}).get("keep")

    def map_classes(self, fields: dict[str, Any]) -> None:
        """Give the fields of a sample of this source the data set's classes."""
        if self.relabel is None:
            return
        for name in ("label", "bbox_labels", "mask_labels"):
            value = fields.get(name)
            if isinstance(value, int | np.integer):
                fields[name] = self.relabel.get(int(value), int(value))
            elif isinstance(value, np.ndarray) and value.dtype.kind == "i":
                known = [self.relabel.get(one, one) for one in value.ravel().tolist()]
                fields[name] = np.asarray(known, value.dtype).reshape(value.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class RealRows:
    """The classes of the data set's own samples, by position."""

    refs: Sequence[ShardRef]
    cache: ShardCache | None
    rows: Rows | None
    labels: NDArray[np.int32]
    """Class ids of all samples, shard after shard."""

    starts: NDArray[np.int64]
    """Samples before each shard."""

    def __call__(self, epoch: int, order: Base) -> NDArray[np.int64]:
        """Return the class of each position of the data set's own order."""
        shards, rows = order.span()
        numbers = rows
        if self.rows is not None:
            numbers = np.empty(len(rows), np.int64)
            for shard in np.unique(shards).tolist():
                own = np.flatnonzero(shards == shard)
                index = partial(self._index, shard)
                numbers[own] = self.rows.numbers(epoch, shard, index)[rows[own]]
        found: NDArray[np.int32] = self.labels[self.starts[shards] + numbers]
        return found.astype(np.int64)

    def _index(self, shard: int) -> ShardIndex:
        return read_index(self.refs[shard], self.cache)


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """What is mixed into a data set, and where its shards are."""

    law: MixLaw
    plan: Plan
    """The data set's."""

    sources: tuple[Source, ...]
    first: int
    """Number of the first shard that is not the data set's own."""

    refs: tuple[ShardRef, ...]
    """The further shards; one stands for what is made on demand."""

    of: tuple[int, ...]
    """Source of each of them."""

    labels: RealRows | None
    identity: str
    """What names all of it; it stands in the state."""

    description: Mapping[str, Any]
    """What the run's manifest says of it."""

    matcher: Matcher | None = None
    """Makes real and mixed-in images alike; None: nothing does."""

    late: str = "real"
    """What happens where a sample was not made in time: ``real`` or ``raise``."""

    samples: Mapping[str, int | None] = field(default_factory=dict)
    """Samples of each source; None: made on demand."""

    _taken: list[Counter[tuple[int, int]]] = field(default_factory=lambda: [Counter()])

    def matcher_of(self, source: Source | None) -> Matcher | None:
        """Return what changes the images of a source; None: they stay."""
        matcher = self.matcher
        if matcher is None or (source is None) != (matcher.what == "pool"):
            return None
        return matcher

    def source_of(self, shard: int) -> Source | None:
        """Return the source of a shard; None: the data set itself."""
        return None if shard < self.first else self.sources[self.of[shard - self.first]]

    def shards_of(self, origin: str) -> range | list[int]:
        """Return the shards of a source by its name."""
        if origin == REAL:
            return range(self.first)
        return [
            self.first + i
            for i, source in enumerate(self.of)
            if self.sources[source].name == origin
        ]

    def order(self, epoch: int, base: Order) -> MixedOrder:
        """Return the order of an epoch.

        Args:
            epoch: Epoch, from 0.
            base: The data set's own.

        Raises:
            UsageError: The data set's samples are not counted.
        """
        if isinstance(base, DiscoveredOrder):
            raise UsageError("a mix needs an index; run `fiberaug index SHARDS`")
        begins = self._begins(epoch) if self.live and self.law.matched else None
        return MixedOrder(self.law, epoch, base, self._labels_of, begins)

    @property
    def live(self) -> bool:
        """Whether a source makes its samples on demand."""
        return any(source.live is not None for source in self.sources)

    def _begins(self, epoch: int) -> Counter[tuple[int, int]]:
        """Return what all epochs before have taken of each class of each source.

        No sample that is made on demand is to come twice, or to be made for nothing:
        so they are counted, not estimated.
        """
        known = self._taken
        while len(known) <= epoch:
            at = len(known) - 1
            own = own_order(self.plan, at)
            order = MixedOrder(self.law, at, own, self._labels_of)
            known.append(known[-1] + order.taken())
        return known[epoch]

    def _labels_of(self, epoch: int, base: Base) -> NDArray[np.int64]:
        if self.labels is None:
            raise UsageError("the classes of the data set are not known")
        try:
            return self.labels(epoch, base)
        except IndexError:
            raise ShardDamaged(
                "the data set's indexes hold other samples than were counted; open it"
                " anew",
                stage="index",
            ) from None

    def length(self, epoch: int) -> int:
        """Return the positions of an epoch."""
        found = self.law.length(epoch)
        return self.at(epoch).end if found is None else found

    def at(self, epoch: int) -> MixedOrder:
        """Return the order of an epoch."""
        return self.order(epoch, own_order(self.plan, epoch))

    def asked(self, epoch: int, start: int, stop: int) -> dict[str, float]:
        """Return how many of positions [start, stop) were asked for of each source.

        Args:
            epoch: Epoch, from 0.
            start: First position.
            stop: Position after the last.
        """
        mixed = self.law.asked(epoch, start, stop)
        found = {REAL: stop - start - mixed}
        for source, part in zip(self.sources, self.law.parts(), strict=True):
            found[source.name] = float(mixed * part)
        return found

    @property
    def mode(self) -> str:
        """``replace``, ``append`` or ``unit``."""
        return self.law.mode

    @property
    def exact_per_class(self) -> bool:
        """Whether the share of each class is exact in each epoch."""
        return self.law.matched

    @property
    def names(self) -> tuple[str, ...]:
        """The origins of samples: ``real`` and the sources."""
        return (REAL, *(source.name for source in self.sources))

    def live_shards(self) -> dict[int, LiveShard]:
        """Return what stands for the shards of sources that make on demand."""
        return {
            self.first + i: LiveShard(source, self.law)
            for i, number in enumerate(self.of)
            for source in (self.sources[number],)
            if source.live is not None
        }


def own_order(plan: Plan, epoch: int) -> Base:
    """Return a data set's own order of an epoch.

    Raises:
        UsageError: Its samples are not counted.
    """
    counts = plan.counts or ()
    found = open_order(plan, epoch, len(counts), counts.__getitem__)
    if isinstance(found, DiscoveredOrder):
        raise UsageError("a mix needs an index; run `fiberaug index SHARDS`")
    return found


def identity_of(mix: Mix, fingerprints: Mapping[str, str]) -> str:
    """Return what names a mix and its sources: 16 hexadecimal digits."""
    # A list: whose turn it is follows from the order of the sources.
    text = json.dumps([mix.describe(), list(fingerprints.items())], sort_keys=True)
    return blake2b(text.encode(), digest_size=8).hexdigest()


def class_counts(labels: NDArray[np.int64]) -> dict[int, int]:
    """Return how many there are of each class, ascending."""
    known, counts = np.unique(labels, return_counts=True)
    return dict(zip(known.tolist(), counts.tolist(), strict=True))


def any_class(samples: int) -> dict[int, int]:
    """Return the counts where classes are not matched."""
    return {ANY: samples}
