"""The photos of a folder as a data set: what is listed, and in which order."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from fiberaug.dataset import StreamingDataset
from fiberaug.errors import UsageError
from fiberaug.foldering.naming import find_clashes
from fiberaug.foldering.operations import Operation
from fiberaug.jobs.items import Item
from fiberaug.jobs.plain import is_plain
from fiberaug.jobs.plain_shard import PlainShard, PlainSource
from fiberaug.jobs.sources.table_reading import TableReader
from fiberaug.shards.opening import open_shard

__all__ = ["Photo", "Photos", "open_photos"]

_KINDS = ("folder", "csv", "coco", "voc", "yolo", "masks")


class Photo(NamedTuple):
    """One photo of the folder: where it stands, and where the loader finds it."""

    number: int
    """In the order in which the source lists itself."""

    shard: int
    at: int
    position: int
    """In the order of the data set without shuffling."""

    stem: str | None
    """Another name than its own, which is taken."""


@dataclass(frozen=True, kw_only=True)
class Photos:
    """The photos of a folder."""

    dataset: StreamingDataset
    """The folder, with the operation as its transform."""

    source: PlainSource
    """Where it lies, and as what it is read."""

    order: NDArray[np.int64]
    """Position of each photo, by number."""

    clashes: dict[int, str]
    """Other names, by number."""

    traits: frozenset[str]
    """What some photo has: ``captions`` (text files beside photos), ``outlines``,
    ``objects mask`` (SegmentationObject of Pascal VOC)."""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.order)

    def unit(self, unit: int, size: int) -> list[Photo]:
        """Return the photos of a unit of work.

        Args:
            unit: Its number.
            size: Photos of a unit.
        """
        begin, ends = unit * size, np.cumsum(self.dataset.shard_set.counts or ())
        found = []
        for number, position in enumerate(
            self.order[begin : begin + size].tolist(), begin
        ):
            shard = int(np.searchsorted(ends, position, side="right"))
            first = int(ends[shard - 1]) if shard else 0
            found.append(
                Photo(number, shard, position - first, position,
                      self.clashes.get(number))
            )  # fmt: skip
        return found


def open_photos(
    src: str | Path,
    operation: Operation,
    *,
    seed: int,
    encode: str,
    cache_dir: str | Path | None,
) -> Photos:
    """Return the photos of a folder, indexed as a data set.

    Raises:
        UsageError: It holds shards, or something that has no files for photos.
        DataRefused: There is no photo, or what is said of them contradicts itself.
        StoreError: It cannot be read.
    """
    if not is_plain(src):
        raise UsageError(
            f"{src} holds shards, not photos: `fiberaug materialize` writes augmented"
            " shards"
        )
    dataset = StreamingDataset(
        src, transform=operation.transform, shuffle=False, seed=seed,
        cache_dir=cache_dir, pixel_hash=True,
    )  # fmt: skip
    dataset.refuse_sections("augment")
    source = cast("Any", dataset.shard_set.refs[0].opener)
    if source.kind not in _KINDS or _is_within(source):
        raise UsageError(
            f"{src} is of the kind {source.kind!r}, in which photos are no files of"
            " their own: `fiberaug convert` it, then `fiberaug materialize` the shards"
        )
    order, places, traits = _listed(dataset, source)
    alone = source.kind != "yolo" and "captions" not in traits
    clashes = find_clashes(places, encode=encode, alone=alone)
    return Photos(
        dataset=dataset, source=source, order=order, clashes=clashes, traits=traits
    )


def _is_within(source: PlainSource) -> bool:
    """Return whether the photos of a table are bytes in it."""
    reader = source.reader
    return isinstance(reader, TableReader) and (
        reader.image is not None or reader.mask is not None
    )


def _open(dataset: StreamingDataset, shard: int) -> PlainShard:
    return cast("PlainShard", open_shard(dataset.shard_set.refs[shard]))


def _listed(
    dataset: StreamingDataset, source: PlainSource
) -> tuple[NDArray[np.int64], list[str], frozenset[str]]:
    """Return the position of each photo by number, paths, and what some have."""
    numbers: list[int] = []
    found: list[str] = []
    traits = {"outlines"} if source.kind == "yolo" else set[str]()
    for shard in range(len(dataset.shard_set.refs)):
        file = _open(dataset, shard)
        for i in range(len(file.index)):
            row = file.row(i)
            numbers.append(row.number)
            found.append(row.item.place)
            traits |= _traits(source, row.item, traits)
    order = np.argsort(np.array(numbers, np.int64), kind="stable")
    return order, [found[i] for i in order.tolist()], frozenset(traits)


def _traits(source: PlainSource, item: Item, known: set[str]) -> set[str]:
    if source.kind == "folder" and "captions" not in known:
        beside = Path(source.root, item.place).with_suffix(".txt")
        return {"captions"} if beside.is_file() else set()
    if source.kind == "coco" and b'"segmentation"' in item.notes:
        return {"outlines"}
    if source.kind == "voc" and b"SegmentationObject/" in item.notes:
        return {"objects mask"}
    return set()
