"""Which samples of a set take part, and how often: ``subset``, ``balance``.

What must look at labels or keys reads the side-cars once, in the main process; workers
get counts and rules, and find the rows of a shard again when they open it.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.dealing import Balance, spread
from fiberaug.errors import UsageError
from fiberaug.expressions import COLUMNS, Expression
from fiberaug.order import keyed_permutation
from fiberaug.shards.index import ShardIndex

__all__ = ["Open", "Rows", "Selection", "Subset", "select"]

Open = Callable[[int], ShardIndex]
"""Number of a shard -> its index."""

Subset = float | int | str | Collection[str]

_log = logging.getLogger("fiberaug")
_FRACTION, _CLASS = 11, 12  # what a hash is for
_KEPT = 256


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A part of the set: a rule that finds its samples in each shard."""

    name: str
    """What stands in the state."""

    counts: tuple[int, ...]
    """Chosen samples of each shard."""

    fraction: bool = False
    """The first ``counts`` of each shard's own permutation."""

    condition: Expression | None = None
    """The samples that meet a condition."""

    ranks: Mapping[int, NDArray[np.int64]] | None = None
    """The samples of these ranks, sorted, among those of their class in the set."""

    starts: Mapping[int, NDArray[np.int64]] | None = None
    """Samples of each class before each shard, where ``ranks`` are given."""

    listed: Mapping[int, NDArray[np.int64]] | None = None
    """The samples of these numbers in their shard."""

    def rows(self, shard: int, index: ShardIndex) -> NDArray[np.int64]:
        """Return the numbers of the chosen samples of a shard, ascending."""
        if self.fraction:
            name = blake2b(index.shard.encode(), digest_size=8).digest()
            words = (_FRACTION, int.from_bytes(name, "little"))
            chosen = keyed_permutation(len(index), *words)[: self.counts[shard]]
            return np.sort(chosen)
        if self.condition is not None:
            return np.flatnonzero(self.condition(columns_of(index)))
        if self.ranks is not None and self.starts is not None:
            parts = []
            for label, ranks in self.ranks.items():
                own = np.flatnonzero(index.columns["label"] == label)
                low = int(self.starts[label][shard])
                first, last = np.searchsorted(ranks, (low, low + len(own)))
                parts.append(own[ranks[first:last] - low])
            return np.sort(np.concatenate(parts))
        return (self.listed or {}).get(shard, np.zeros(0, np.int64))


class Rows:
    """From the row of a shard that the order deals to a sample, and to its visit.

    Args:
        selection: The part of the set; None: all of it.
        balance: How often samples are dealt; None: once.
        weighted: Whether the balance goes by the index's weights.
    """

    def __init__(
        self, selection: Selection | None, balance: Balance | None, *, weighted: bool
    ) -> None:
        self._selection, self._balance = selection, balance
        self._weighted = weighted
        self._kept: OrderedDict[tuple[int, int], tuple[NDArray[np.int64], ...]]
        self._kept = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what each process finds again."""
        return {**self.__dict__, "_kept": OrderedDict()}

    def place(
        self, epoch: int, shard: int, row: int, index: Callable[[], ShardIndex]
    ) -> tuple[int, int]:
        """Return (number of the sample in its shard, visit).

        Args:
            epoch: Epoch, from 0.
            shard: Number of the shard.
            row: Row of the shard, as the order deals it.
            index: Opens the shard's index, where its rows are not kept.
        """
        name = (epoch if self._balance is not None else 0, shard)
        found = self._kept.get(name)
        if found is None:
            found = self._kept[name] = self._find(epoch, shard, index())
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(name)
        samples, visits = found
        return int(samples[row]), int(visits[row]) if len(visits) else 0

    def _find(
        self, epoch: int, shard: int, index: ShardIndex
    ) -> tuple[NDArray[np.int64], ...]:
        chosen = np.arange(len(index), dtype=np.int64)
        if self._selection is not None:
            chosen = self._selection.rows(shard, index)
        if self._balance is None:
            return chosen, np.zeros(0, np.int64)
        labels = index.columns["label"][chosen]
        weights = weights_of(index)[chosen] if self._weighted else None
        dealt, visits = self._balance.rows(epoch, shard, labels, weights)
        return chosen[dealt], visits


def columns_of(index: ShardIndex) -> Mapping[str, NDArray[Any]]:
    """Return the columns of a shard that conditions can name."""
    return {name: index.columns[name] for name in COLUMNS}


WEIGHT_UNIT = 2**16
"""Weights are counted in steps of 1 / 65,536: sums are then exact on every machine."""


def weights_of(index: ShardIndex) -> NDArray[np.int64]:
    """Return the weights of a shard's samples in steps of ``1 / WEIGHT_UNIT``."""
    weights = np.asarray(index.columns["weight"], np.float64)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise UsageError(
            f"weights must be finite and >= 0, shard {index.shard} has others;"
            " index it again"
        )
    return np.rint(weights * WEIGHT_UNIT).astype(np.int64)


def select(
    subset: Subset, counts: Sequence[int], open_index: Open, classes: Sequence[str]
) -> Selection:
    """Return the part of a set that ``subset`` names.

    Args:
        subset: A fraction in (0, 1]; samples of each class; keys; or a condition.
        counts: Samples of each shard.
        open_index: Opens the index of a shard.
        classes: Names of classes by id.

    Raises:
        UsageError: It names nothing, something unknown, or no sample.
    """
    if isinstance(subset, bool) or not isinstance(
        subset, float | int | str | Collection
    ):
        raise UsageError(
            "subset must be a fraction, a number of samples of each class, keys, or a"
            f" condition, got {subset!r}"
        )
    if isinstance(subset, float):
        if not 0 < subset <= 1:
            raise UsageError(f"subset must be in (0, 1], got {subset}")
        part = spread(counts, round(subset * sum(counts)))
        chosen = Selection(name=f"fraction {subset!r}", counts=part, fraction=True)
    elif isinstance(subset, int):
        chosen = _per_class(subset, len(counts), open_index)
    elif isinstance(subset, str):
        condition = Expression(subset, {name: i for i, name in enumerate(classes)})
        part = tuple(
            int(condition(columns_of(open_index(shard))).sum())
            for shard in range(len(counts))
        )
        chosen = Selection(name=f"where {subset}", counts=part, condition=condition)
    else:
        chosen = _listed(subset, len(counts), open_index)
    if not sum(chosen.counts):
        raise UsageError(f"subset={_short(subset)} names none of {sum(counts)} samples")
    if len(chosen.name) > 100:
        digest = blake2b(chosen.name.encode(), digest_size=8).hexdigest()
        chosen = Selection(**{**chosen.__dict__, "name": f"blake2b {digest}"})
    return chosen


def _short(subset: object) -> str:
    text = repr(subset)
    return text if len(text) <= 80 else text[:77] + "..."


def _per_class(most: int, shards: int, open_index: Open) -> Selection:
    if most < 1:
        raise UsageError(f"subset must be >= 1 samples of each class, got {most}")
    starts = class_starts(shards, open_index)
    ranks: dict[int, NDArray[np.int64]] = {}
    for label, before in starts.items():
        size = int(before[-1])
        if label < 0:
            continue
        if size < most:
            _log.warning("class %d has %d samples, subset=%d", label, size, most)
        ranks[label] = np.sort(keyed_permutation(size, _CLASS, label)[:most])
    if not ranks:
        raise UsageError(
            f"subset={most} takes samples of each class, and the index knows no class;"
            " give a fraction, keys or a condition"
        )
    counts = tuple(
        sum(
            int(np.diff(np.searchsorted(chosen, starts[label][s : s + 2]))[0])
            for label, chosen in ranks.items()
        )
        for s in range(shards)
    )
    return Selection(
        name=f"{most} of each class", counts=counts, ranks=ranks, starts=starts
    )


def _listed(keys: Collection[str], shards: int, open_index: Open) -> Selection:
    wanted = set(keys)
    if not all(isinstance(key, str) for key in wanted):
        raise UsageError("subset must list keys, which are text")
    missing, counts = set(wanted), []
    listed: dict[int, NDArray[np.int64]] = {}
    for shard in range(shards):
        index = open_index(shard)
        rows = []
        for row in range(len(index)):
            key = index.key(row)
            hits = wanted & {key, f"{index.shard}/{key}"}
            if hits:
                rows.append(row)
                missing -= hits
        counts.append(len(rows))
        if rows:
            listed[shard] = np.asarray(rows, np.int64)
    if missing:
        raise UsageError(
            f"subset names {len(missing)} keys that no shard has, such as"
            f" {sorted(missing)[:5]}"
        )
    digest = blake2b("\0".join(sorted(wanted)).encode(), digest_size=8).hexdigest()
    return Selection(
        name=f"{len(wanted)} keys {digest}", counts=tuple(counts), listed=listed
    )


def class_starts(
    shards: int, open_index: Open, selection: Selection | None = None
) -> dict[int, NDArray[np.int64]]:
    """Return the samples of each class before each shard, [shards + 1], by class id."""
    per_shard: list[Mapping[int, int]] = []
    for shard in range(shards):
        index = open_index(shard)
        labels = index.columns["label"]
        if selection is not None:
            labels = labels[selection.rows(shard, index)]
        ids, sizes = np.unique(labels, return_counts=True)
        per_shard.append(dict(zip(ids.tolist(), sizes.tolist(), strict=True)))
    return cumulated(per_shard)


def cumulated(per_shard: Sequence[Mapping[int, int]]) -> dict[int, NDArray[np.int64]]:
    """Return the sums before each shard, [shards + 1], of counts by class id."""
    labels = sorted({label for part in per_shard for label in part})
    return {
        label: np.cumsum([0, *(part.get(label, 0) for part in per_shard)])
        for label in labels
    }
