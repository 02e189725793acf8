"""The photos that are edited: the samples of a part of a set, in order."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from fiberaug.editing.sample import Reading
from fiberaug.errors import UsageError
from fiberaug.jobs.mapping import resolve_fields
from fiberaug.jobs.plain import resolve_any
from fiberaug.shards.opening import open_shard, read_index
from fiberaug.shards.reader import ShardFile
from fiberaug.shards.resolve import ShardSet
from fiberaug.synthetic.provenance import Parent

__all__ = ["Job", "Parents"]


class Job(NamedTuple):
    """One edited version of one photo."""

    number: int
    """Of the job, from 0."""

    shard: int
    """Number of the shard."""

    row: int
    """Of the sample in its shard."""

    copy: int


@dataclass(frozen=True)
class Parents:
    """The samples of a set, or of a part of it."""

    shards: ShardSet
    reading: Reading
    counts: tuple[int, ...]
    """Samples of each shard."""

    split: str | None
    """The part; None: nothing says."""

    whole: bool = False
    """Whether all parts of the set are edited: each photo is of that of its shard."""

    @classmethod
    def open(
        cls,
        shards: object,
        *,
        split: str | None = None,
        fields: Any = "auto",  # noqa: ANN401
    ) -> "Parents":
        """Return the photos of a set.

        Args:
            shards: As ``StreamingDataset`` takes them.
            split: The part of the set; of a set without parts the part that it is.
                ``"all"``: all of them.
            fields: The field mapping, as ``StreamingDataset`` takes it.

        Raises:
            UsageError: There is no such part, or nothing is said of a set that has
                parts.
            DataRefused: The set is broken.
            StoreError: It cannot be read.
        """
        found = resolve_any(shards)
        parts = found.manifest.splits if found.manifest is not None else {}
        classes = found.manifest.classes if found.manifest is not None else ()
        if parts and split is None:
            raise UsageError(
                f"the set has the parts {list(parts)}: say split={next(iter(parts))!r},"
                ' or split="all" for all of them'
            )
        if parts and split != "all":
            if split is None or split not in parts:
                raise UsageError(
                    f"the set has no part {split!r}: it has {', '.join(parts)}"
                )
            names = set(parts[split])
            refs = tuple(ref for ref in found.refs if ref.name in names)
            if not refs:
                raise UsageError(f"none of the shards belongs to the part {split!r}")
            found = replace(found, refs=refs)
        specs = resolve_fields(found, fields)[1]
        counts = tuple(
            len(read_index(ref, found.cache)) if ref.samples is None else ref.samples
            for ref in found.refs
        )
        whole = bool(parts) and split == "all"
        named = None if split == "all" else split
        return cls(found, Reading(specs=specs, classes=classes), counts, named, whole)

    def jobs(self, copies: int, limit: int | None) -> Iterator[Job]:
        """Yield each version of each photo, those of one photo together.

        Args:
            copies: Versions of each photo.
            limit: Photos, from the first. None: all.
        """
        number = photos = 0
        for shard, count in enumerate(self.counts):
            for index in range(count):
                if limit is not None and photos >= limit:
                    return
                photos += 1
                for copy in range(copies):
                    yield Job(number, shard, index, copy)
                    number += 1

    def photos(self, limit: int | None) -> int:
        """Return how many photos are edited."""
        whole = sum(self.counts)
        return whole if limit is None else min(limit, whole)

    def open_shard(self, number: int) -> ShardFile:
        """Return a shard, open.

        Raises:
            ShardDamaged: It or its index is damaged.
            StoreError: It cannot be read.
        """
        return open_shard(self.shards.refs[number], self.shards.cache)

    def parent(self, shard: ShardFile, index: int) -> Parent:
        """Return what names a photo."""
        split = self.split
        if self.whole and self.shards.manifest is not None:
            parts = self.shards.manifest.splits
            split = next((p for p, names in parts.items() if shard.name in names), None)
        return Parent(key=shard.index.key(index), shard=shard.name, split=split)
