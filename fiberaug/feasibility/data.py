"""What of a data set decides how images could be made: counts, sizes, targets."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fiberaug.errors import DataRefused
from fiberaug.shards.opening import read_index
from fiberaug.training.feeding_dataset import open_dataset
from fiberaug.training.feeding_labels import class_names
from fiberaug.training.feeding_table import Table

__all__ = ["Data", "look_at_data"]

_MASKS = ("mask", "masks", "polygons")


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """A data set, or its part for training."""

    photos: int
    """Photos in it."""

    counts: Mapping[str, int]
    """Photos of each class, by name; empty where photos have no class."""

    unlabelled: int
    """Photos without a class."""

    median_px: tuple[int, int] | None
    """Median height and width of the upright photos; None: not known."""

    largest_px: tuple[int, int] | None
    """Height and width of the photo with the most pixels."""

    boxes: int
    """Boxes in all."""

    masks: bool
    """Whether photos come with masks."""

    @property
    def least(self) -> int:
        """Photos of the smallest class; of all where there are no classes."""
        return min(self.counts.values(), default=self.photos)

    @property
    def typical(self) -> int:
        """Photos of the class in the middle; of all where there are no classes."""
        if not self.counts:
            return self.photos
        return sorted(self.counts.values())[len(self.counts) // 2]

    @property
    def regions(self) -> str | None:
        """What says where objects are: ``bboxes``, ``mask`` or nothing."""
        if self.boxes:
            return "bboxes"
        return "mask" if self.masks else None

    @property
    def short_px(self) -> int | None:
        """Shorter side of the median photo."""
        return None if self.median_px is None else min(self.median_px)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, fit for JSON."""
        return {
            "photos": self.photos, "classes": len(self.counts),
            "counts": dict(self.counts), "unlabelled": self.unlabelled,
            "least": self.least, "typical": self.typical,
            "median_px": self.median_px and list(self.median_px),
            "largest_px": self.largest_px and list(self.largest_px),
            "boxes": self.boxes, "masks": self.masks,
        }  # fmt: skip


def look_at_data(shards: str, *, index_dir: str | Path | None = None) -> Data:
    """Return what the indexes say of a data set; no photo is decoded.

    Of a set that was divided, its part for training is looked at.

    Args:
        shards: As :class:`fiberaug.StreamingDataset` takes them.
        index_dir: Folder of the side-cars; None: beside the shards.

    Raises:
        UsageError: They name nothing, or cannot be indexed here.
        DataRefused: There is no photo, or a shard is damaged.
        StoreError: They cannot be read.
    """
    base = open_dataset(shards, channels=3, index_dir=index_dir).base
    table = Table.of(base)
    if not len(table):
        raise DataRefused(
            "there is no photo in these shards: `fiberaug convert` writes some, and"
            " `fiberaug info` says what is in a set"
        )
    fields = {spec.name for spec in base.specs}
    labels = table.labels if "label" in fields else np.full(len(table), -1)
    known = labels[labels >= 0]
    names = class_names(known, base.classes) if len(known) else ()
    found = np.bincount(known, minlength=len(names)).tolist() if len(known) else []
    sizes = table.sizes[(table.sizes > 0).all(axis=1)]
    median = largest = None
    if len(sizes):
        height, width = np.median(sizes, axis=0).round().astype(int).tolist()
        median = (height, width)
        top = sizes[np.argmax(sizes.prod(axis=1))].tolist()
        largest = (top[0], top[1])
    return Data(
        photos=len(table), counts=dict(zip(names, found, strict=True)),
        unlabelled=len(labels) - len(known), median_px=median, largest_px=largest,
        boxes=_boxes(base, table), masks=any(name in fields for name in _MASKS),
    )  # fmt: skip


def _boxes(base: Any, table: Table) -> int:  # noqa: ANN401  # a StreamingDataset
    """Return the boxes of the photos, as the indexes count them."""
    count = 0
    for number, ref in enumerate(base.shard_set.refs):
        index = read_index(ref, base.shard_set.cache)
        column = index.columns.get("boxes")
        if column is not None:
            rows = table.numbers[table.shards == number]
            count += int(column[rows].sum())
    return count
