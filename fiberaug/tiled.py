"""Which photo, and which tile of it, each row of a shard is."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fiberaug.cutting import boxes_within
from fiberaug.decode.sample import SampleDecoder
from fiberaug.errors import DataRefused, UsageError
from fiberaug.selecting import Open, Selection
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.index import ShardIndex
from fiberaug.shards.opening import open_shard
from fiberaug.shards.reader import ShardFile, ShardRef
from fiberaug.tiling import Tiling

__all__ = ["BoxReader", "Boxes", "Tiled", "make_tiled"]

Boxes = Callable[[int, int], NDArray[np.float32]]
"""(shard, sample) -> boxes [N, 4] in px of the upright photo."""

_log = logging.getLogger("fiberaug")


class BoxReader:
    """A function (shard, sample) -> boxes, float32 [N, 4], in px of the upright photo.

    Args:
        refs: The shards.
        cache: Where remote shards are kept. None: all are local.
        decoder: Says which member has the boxes.
    """

    def __init__(
        self,
        refs: tuple[ShardRef, ...],
        cache: ShardCache | None,
        decoder: SampleDecoder,
    ) -> None:
        self._refs, self._cache, self._decoder = refs, cache, decoder
        self._open: tuple[int, ShardFile] | None = None

    def __call__(self, shard: int, sample: int) -> NDArray[np.float32]:
        """Return the boxes of a sample; no pixel is decoded.

        Raises:
            UsageError: Samples have no boxes.
            DataRefused: The sample is broken.
        """
        if not any(spec.name == "bboxes" for spec in self._decoder.specs):
            raise UsageError(
                "keep_empty=False leaves out tiles without a box, and the samples have"
                " no field bboxes"
            )
        if self._open is None or self._open[0] != shard:
            self._open = shard, open_shard(self._refs[shard], self._cache)
        return self._decoder.boxes(self._open[1].read(sample))


@dataclass(frozen=True, kw_only=True)
class Tiled:
    """The tiles of a set: a rule that finds those of each shard."""

    tiling: Tiling
    """How photos are cut."""

    counts: tuple[int, ...]
    """Tiles of each shard."""

    selection: Selection | None = None
    """The part of the photos that takes part; None: all."""

    kept: Mapping[int, NDArray[np.uint32]] | None = None
    """(sample, tile) of the tiles that are not empty, [tiles of the shard, 2]."""

    def rows(self, shard: int, index: ShardIndex) -> NDArray[np.int64]:
        """Return the number of the photo of each tile, ascending, int64 [tiles]."""
        return self.places(shard, index)[0]

    def places(
        self, shard: int, index: ShardIndex
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the number of the photo, and of the tile in it, for each row."""
        if self.kept is not None:
            pairs = self.kept[shard].astype(np.int64)
            return pairs[:, 0], pairs[:, 1]
        return _places(self.tiling, self.selection, shard, index)


def _places(
    tiling: Tiling, selection: Selection | None, shard: int, index: ShardIndex
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    photos = np.arange(len(index), dtype=np.int64)
    if selection is not None:
        photos = selection.rows(shard, index)
    columns = index.columns
    counts = tiling.counts(columns["width"][photos], columns["height"][photos])
    first = np.cumsum(counts) - counts
    return np.repeat(photos, counts), np.arange(counts.sum()) - np.repeat(first, counts)


def make_tiled(
    tiling: Tiling,
    shards: int,
    open_index: Open,
    *,
    selection: Selection | None = None,
    boxes: Boxes | None = None,
) -> Tiled:
    """Return the tiles of a set. Every index is read once, for the sizes of the photos.

    Args:
        tiling: How photos are cut.
        shards: Number of shards.
        open_index: Opens the index of a shard.
        selection: The part of the photos that takes part; None: all.
        boxes: Reads the boxes of a photo; asked where empty tiles are left out.

    Raises:
        UsageError: The index knows no photo's size, or every tile is empty.
        StoreError: A shard or an index cannot be read.
    """
    counts: list[int] = []
    kept: dict[int, NDArray[np.uint32]] = {}
    known = False
    for shard in range(shards):
        index = open_index(shard)
        known = known or bool(index.columns["width"].any())
        photos, tiles = _places(tiling, selection, shard, index)
        if not tiling.keep_empty and boxes is not None:
            kept[shard] = _full(tiling, shard, index, photos, boxes)
            counts.append(len(kept[shard]))
        else:
            counts.append(len(tiles))
    if not known and any(counts):
        raise UsageError(
            "tile needs the sizes of the photos, which the index does not know; run"
            " `fiberaug index SHARDS`, or convert what it cannot read to JPEG or PNG"
        )
    if kept and not any(counts):
        raise UsageError("keep_empty=False: no tile of the set has a box")
    return Tiled(
        tiling=tiling, counts=tuple(counts), selection=selection, kept=kept or None
    )


def _full(
    tiling: Tiling,
    shard: int,
    index: ShardIndex,
    photos: NDArray[np.int64],
    boxes: Boxes,
) -> NDArray[np.uint32]:
    """Return (sample, tile) of the tiles of a shard that have a box."""
    pairs: list[tuple[int, int]] = []
    for photo in np.unique(photos).tolist():
        width, height = (int(index.columns[n][photo]) for n in ("width", "height"))
        try:
            found = boxes(shard, photo)
        except DataRefused as error:
            # It is an event when it is dealt; that it cannot be read is told there.
            _log.debug("%s: its tiles are kept: %s", index.key(photo), error)
            pairs += ((photo, tile) for tile in range(tiling.count(width, height)))
            continue
        pairs += ((photo, tile) for tile in _hit(tiling, width, height, found))
    return np.asarray(pairs, np.uint32).reshape(-1, 2)


def _hit(
    tiling: Tiling, width: int, height: int, boxes: NDArray[np.float32]
) -> Iterable[int]:
    for number in range(tiling.count(width, height) if len(boxes) else 0):
        window = tiling.tile(number, width, height).window
        if len(boxes_within(boxes, window, tiling.visibility)[1]):
            yield number
