"""``subset``: which samples of a set take part.

What must look at labels or keys reads the side-cars once, in the main process; workers
get counts and rules, and find the rows of a shard again when they open it.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fiberaug.dealing import spread
from fiberaug.errors import ShardDamaged, UsageError
from fiberaug.expressions import COLUMNS, Expression
from fiberaug.order import keyed_permutation
from fiberaug.shards.index import ShardIndex
from fiberaug.splits import split_numbers

__all__ = [
    "WEIGHT_UNIT",
    "Chosen",
    "Counts",
    "Open",
    "Selection",
    "Subset",
    "class_counts",
    "columns_of",
    "empty_counts",
    "select",
    "starts_of",
    "weights_of",
]

Open = Callable[[int], ShardIndex]
"""Number of a shard -> its index."""

Counts = dict[int, NDArray[np.uint32]]
"""Samples of each class in each shard, [shards], by class id."""

Subset = float | int | str | Collection[str]

_log = logging.getLogger("fiberaug")
_FRACTION, _CLASS = 11, 12  # what a hash is for
_MOST_CELLS = 2**30


class Chosen(Protocol):
    """What takes part, by shard."""

    def rows(self, shard: int, index: ShardIndex) -> NDArray[np.int64]:
        """Return the sample of each row of a shard, ascending."""
        ...


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

    starts: Mapping[int, NDArray[Any]] | None = None
    """Samples of each class before each shard, where ``ranks`` are given."""

    listed: Mapping[int, NDArray[np.int64]] | None = None
    """The samples of these numbers in their shard."""

    def rows(self, shard: int, index: ShardIndex) -> NDArray[np.int64]:
        """Return the numbers of the chosen samples of a shard, ascending.

        Raises:
            ShardDamaged: They are not as many as were counted.
        """
        found = self._find(shard, index)
        if len(found) != self.counts[shard]:
            raise ShardDamaged(
                f"the subset has {len(found)} samples of this shard, counted were"
                f" {self.counts[shard]}: the index has changed; open the set anew",
                shard=index.shard,
                stage="index",
            )
        return found

    def _find(self, shard: int, index: ShardIndex) -> NDArray[np.int64]:
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


def columns_of(index: ShardIndex) -> Mapping[str, NDArray[Any]]:
    """Return the columns of a shard that conditions can name."""
    return _Columns(index)


class _Columns(Mapping[str, NDArray[Any]]):
    """The columns of a shard; what costs a hash of every key is made when asked for."""

    def __init__(self, index: ShardIndex) -> None:
        self._index = index

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a column."""
        if name == "split":
            return split_numbers(self._index)
        return self._index.columns[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(COLUMNS)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(COLUMNS)


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
    subset: Subset,
    counts: Sequence[int],
    open_index: Open,
    classes: Sequence[str],
    *,
    known: Counts | None = None,
) -> Selection:
    """Return the part of a set that ``subset`` names.

    Args:
        subset: A fraction in (0, 1]; samples of each class; keys; or a condition.
        counts: Samples of each shard.
        open_index: Opens the index of a shard.
        classes: Names of classes by id.
        known: Samples of the classes, where ``dataset.json`` has them.

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
        known = known or class_counts(len(counts), open_index)
        chosen = _per_class(subset, known, classes)
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


def _per_class(most: int, counts: Counts, classes: Sequence[str]) -> Selection:
    if most < 1:
        raise UsageError(f"subset must be >= 1 samples of each class, got {most}")
    ranks: dict[int, NDArray[np.int64]] = {}
    starts = {c: starts_of(own) for c, own in sorted(counts.items()) if c >= 0}
    for label, before in starts.items():
        size = int(before[-1])
        if not size:
            continue
        if size < most:
            name = classes[label] if label < len(classes) else label
            _log.warning("class %s has %d samples, subset=%d", name, size, most)
        ranks[label] = np.sort(keyed_permutation(size, _CLASS, label)[:most])
    if not ranks:
        raise UsageError(
            f"subset={most} takes samples of each class, and the index knows no class;"
            " give a fraction, keys or a condition"
        )
    parts = [
        np.diff(np.searchsorted(chosen, starts[label]))
        for label, chosen in ranks.items()
    ]
    return Selection(
        name=f"{most} of each class",
        counts=tuple(np.sum(parts, axis=0).tolist()),
        ranks=ranks,
        starts=starts,
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


def class_counts(
    shards: int, open_index: Open, selection: Chosen | None = None
) -> Counts:
    """Return the samples of each class in each shard, read from the indexes."""
    counts: dict[int, NDArray[np.uint32]] = {}
    for shard in range(shards):
        index = open_index(shard)
        labels = index.columns["label"]
        if selection is not None:
            labels = labels[selection.rows(shard, index)]
        ids, sizes = np.unique(labels, return_counts=True)
        for label, size in zip(ids.tolist(), sizes.tolist(), strict=True):
            if label not in counts:
                counts[label] = empty_counts(shards, classes=len(counts) + 1)
            counts[label][shard] = size
    return counts


def empty_counts(shards: int, *, classes: int) -> NDArray[np.uint32]:
    """Return zeros for one more class.

    Raises:
        UsageError: The table of shards and classes would take more than 4 GiB.
    """
    if shards * classes > _MOST_CELLS:
        raise UsageError(
            f"{shards} shards of {classes} classes and more are a table of over"
            f" {_MOST_CELLS} counts; write larger shards, or use fewer class ids"
        )
    return np.zeros(shards, np.uint32)


def starts_of(counts: NDArray[np.uint32]) -> NDArray[Any]:
    """Return the samples of a class before each shard, [shards + 1]; the last: all."""
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    return starts.astype(np.uint32) if starts[-1] < 2**32 else starts
