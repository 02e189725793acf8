"""What a run adds to the pool of delivered samples, and what the pool's files say."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image
from fiberaug.jobs.describing import Describer
from fiberaug.shards.index import ShardIndex
from fiberaug.shards.manifest import Manifest, ShardEntry
from fiberaug.shards.writer import ShardFileWriter, member_bytes
from fiberaug.synthetic.online_place import Task
from fiberaug.synthetic.place import shard_name
from fiberaug.synthetic.pool import Pool
from fiberaug.synthetic.poolfile import PoolFile, read_pool_file
from fiberaug.synthetic.provenance import FIELD

__all__ = ["Added", "describe_pool", "describe_set", "keys_in", "parents_in"]

_SHARD_BYTES = 256 * 10**6


class Added:
    """New shards of a pool.

    Args:
        folder: The pool's.
        number: Of the first of them.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._number = folder, number
        self._shard: ShardFileWriter | None = None
        self.entries: list[ShardEntry] = []
        self.samples, self.with_parents = 0, 0
        self.splits = dict[str, int]()
        self.image = b""
        """One of the images."""

    def write(self, key: str, members: dict[str, bytes]) -> None:
        """Append a sample."""
        size = sum(member_bytes(len(data)) for data in members.values())
        if self._shard is not None and self._shard.bytes + size > _SHARD_BYTES:
            self._publish()
        if self._shard is None:
            name = shard_name(self._number + len(self.entries))
            self._shard = ShardFileWriter(self._folder / name, describe=Describer())
        self._shard.write(key, members)
        self.samples += 1
        self.image = next(members[e] for e in members if e not in {"cls", "json"})
        parents = json.loads(members["json"])[FIELD].get("parents", ())
        parts = Counter(parent.get("split") or "" for parent in parents)
        self.count(int(bool(parents)), parts)

    def count(self, with_parents: int, splits: Mapping[str, int]) -> None:
        """Count samples that have parents, and parents by their part of the data."""
        self.with_parents += with_parents
        for part, number in splits.items():
            self.splits[part] = self.splits.get(part, 0) + number

    def _publish(self) -> None:
        if self._shard is not None:
            self.entries.append(self._shard.publish())
            self._shard = None

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Give the last shard its name, or drop it after an error."""
        try:
            if kind is None:
                self._publish()
        finally:
            if self._shard is not None:
                self._shard.discard()


def keys_in(folder: Path, entries: Iterable[ShardEntry]) -> set[str]:
    """Return the keys of some shards.

    Raises:
        ShardDamaged: An index is broken.
        StoreError: It cannot be read.
    """
    keys = set[str]()
    for entry in entries:
        index = ShardIndex.open(folder / f"{entry.name}.idx", shard=entry.name)
        keys.update(map(index.key, range(len(index))))
    return keys


def parents_in(folder: Path, pool: Manifest) -> tuple[int, Mapping[str, int]]:
    """Return how many samples of a pool have parents, and of which parts these are.

    ``pool.json`` says it. Where it is ahead of ``dataset.json``, because a run ended
    between the two, the samples themselves do.
    """
    said = read_pool_file(folder)
    if said is not None:
        samples = sum(told["accepted"] for told in said.counts.values())
        if samples == pool.samples:
            return said.parents.get("samples", 0), said.parents.get("splits", {})
    stated = [one.parents for _, _, one in Pool.open(folder).samples()]
    parts = Counter(parent.split or "" for parents in stated for parent in parents)
    return sum(map(bool, stated)), parts


def _counts(task: Task, entries: Sequence[ShardEntry]) -> dict[str, int]:
    totals = dict.fromkeys(task.classes, 0)
    for entry in entries:
        for label, count in entry.counts.items():
            totals[task.classes[int(label)]] += count
    return totals


def describe_set(task: Task, entries: Sequence[ShardEntry]) -> Manifest:
    """Return ``dataset.json`` of the pool."""
    return Manifest(
        shards=tuple(entries), classes=task.classes, counts=_counts(task, entries),
        producer=_producer() | {"arguments": task.whose()},
    )  # fmt: skip


def describe_pool(
    task: Task,
    made: Mapping[str, Any],
    entries: Sequence[ShardEntry],
    added: Added,
) -> PoolFile:
    """Return ``pool.json`` of the pool with what was added.

    Args:
        task: What the samples depend on.
        made: ``generator``, what it says of itself, and ``source_type``.
        entries: All shards.
        added: What was added; its counts are of all.
    """
    pixels = decode_image(added.image, limits=ImageLimits(), color="keep")[0]
    height, width, *channels = pixels.shape
    return PoolFile(
        generator=made["generator"], source_type=made["source_type"],
        asked=task.whose(), licence=made["generator"].get("licence"),
        counts={
            name: {"asked": n, "made": n, "accepted": n, "rejected": {}}
            for name, n in _counts(task, entries).items()
        },
        size={"height": height, "width": width, "channels": (*channels, 1)[0]},
        parents={"samples": added.with_parents, "splits": added.splits},
        producer=_producer(),
    )  # fmt: skip


def _producer() -> dict[str, str]:
    return {"program": "fiberaug", "version": version("fiberaug")}
