"""A pool on one picture: some samples of each class, with what they were made from."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image
from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.describing import image_extension
from fiberaug.jobs.plain import resolve_any
from fiberaug.overlay import viewable
from fiberaug.shards.opening import open_shard
from fiberaug.shards.reader import ShardFile
from fiberaug.synthetic.pool import Pool, provenance_of, shard_of

__all__ = ["contact_sheet"]

_GAP, _HEAD = 6, 26  # px
_PAPER, _INK, _FAINT = (255, 255, 255), (30, 30, 30), (150, 150, 150)
_MOST_CLASSES = 60

_Pixels = NDArray[np.uint8]


class _Shown(NamedTuple):
    image: _Pixels
    parents: tuple[tuple[str | None, str], ...]


def contact_sheet(
    pool: Pool, *, each: int = 10, side: int = 96, parents: object = None
) -> _Pixels:
    """Return a picture of a pool, uint8 RGB [H, W, 3].

    Each class is a row: ``each`` samples, evenly over the pool. A sample that was made
    from another stands right of it, if ``parents`` has that.

    Args:
        pool: The pool.
        each: Samples of a class, >= 1.
        side: Longer side of a sample, px, >= 16.
        parents: The data that samples were made from, as ``StreamingDataset`` takes it.

    Raises:
        UsageError: A number is out of range.
        DataRefused: A shard is damaged.
        StoreError: A shard cannot be read.
    """
    if each < 1 or side < 16:
        raise UsageError(f"each must be >= 1 and side >= 16, got {each} and {side}")
    chosen = _choose(pool, each)
    known: dict[tuple[str | None, str], _Pixels] = {}
    if parents is not None:
        wanted = {one for row in chosen.values() for s in row for one in s.parents}
        known = _find(parents, wanted)
    rows = [
        (name, [_cell(s, known, side) for s in row]) for name, row in chosen.items()
    ]
    width = max(sum(c.shape[1] + _GAP for c in row) for _, row in rows) + _GAP
    heights = [_HEAD + max(c.shape[0] for c in row) + _GAP for _, row in rows]
    sheet = Image.new("RGB", (max(width, 320), sum(heights) + _GAP), _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    top = 0
    for (name, row), height in zip(rows, heights, strict=True):
        count = pool.counts.get(name)
        pen.text((_GAP, top + 6), name, fill=_INK, font=font)
        at = _GAP + pen.textlength(name, font=font) + 10
        pen.text((at, top + 6), f"{count} samples", fill=_FAINT, font=font)
        left = _GAP
        for cell in row:
            sheet.paste(Image.fromarray(cell), (left, top + _HEAD))
            left += cell.shape[1] + _GAP
        top += height
    return np.array(sheet)


def _choose(pool: Pool, each: int) -> dict[str, list[_Shown]]:
    """Return some samples of each class, by its name."""
    shards = [shard_of(pool, entry) for entry in pool.manifest.shards]
    labels = [shard.index.columns["label"] for shard in shards]
    owner = np.repeat(np.arange(len(shards)), [len(one) for one in labels])
    row = np.concatenate([np.arange(len(one)) for one in labels])
    label = np.concatenate(labels)
    found: dict[str, list[_Shown]] = {}
    for number in np.unique(label)[:_MOST_CLASSES].tolist():
        places = np.flatnonzero(label == number)
        evenly = np.linspace(0, len(places) - 1, min(each, len(places)))
        picked = places[evenly.round().astype(np.int64)]
        named = 0 <= number < len(pool.classes)
        name = pool.classes[number] if named else str(max(number, 0))
        found[name] = [_read(shards[owner[p]], int(row[p])) for p in picked]
    return found


def _read(shard: ShardFile, i: int) -> _Shown:
    members = shard.read(i)
    stated = provenance_of(members.get("json"), shard.name, shard.index.key(i))
    return _Shown(
        _decoded(members), tuple((one.shard, one.key) for one in stated.parents)
    )


def _decoded(members: dict[str, memoryview]) -> _Pixels:
    extension = image_extension(members)
    if extension is None:
        raise DataRefused("the sample has no image")
    pixels, _ = decode_image(bytes(members[extension]), limits=ImageLimits())
    return viewable(pixels)


def _find(
    data: object, wanted: set[tuple[str | None, str]]
) -> dict[tuple[str | None, str], _Pixels]:
    """Return the images of samples that are named by shard and key, or by key alone."""
    found = resolve_any(data)
    images: dict[tuple[str | None, str], _Pixels] = {}
    for ref in found.refs:
        names = {one for one in wanted - images.keys() if one[0] in {None, ref.name}}
        if not names:
            continue
        shard = open_shard(ref, found.cache)
        for i, key in _keys(shard):
            for name in ((None, key), (ref.name, key)):
                if name in names:
                    images[name] = _decoded(shard.read(i))
    return images


def _keys(shard: ShardFile) -> Iterator[tuple[int, str]]:
    return ((i, shard.index.key(i)) for i in range(len(shard.index)))


def _cell(
    shown: _Shown, known: dict[tuple[str | None, str], _Pixels], side: int
) -> _Pixels:
    """Return a sample, right of the first of its parents that is known."""
    child = _fitted(shown.image, side)
    parent = next((known[one] for one in shown.parents if one in known), None)
    if parent is None:
        return child
    other = _fitted(parent, side)
    height = max(child.shape[0], other.shape[0])
    width = other.shape[1] + 2 + child.shape[1]
    cell = np.full((height, width, 3), _FAINT, np.uint8)
    cell[: other.shape[0], : other.shape[1]] = other
    cell[: child.shape[0], other.shape[1] + 2 :] = child
    return cell


def _fitted(image: _Pixels, side: int) -> _Pixels:
    height, width = image.shape[:2]
    scale = side / max(height, width)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)
