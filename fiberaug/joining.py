"""Boxes that several tiles of a photo show, joined to one box for each object.

Two tiles show a part of the photo both, and of one object they show there the same. So
boxes of two tiles are compared within that part alone: however a border cuts an object,
what is left of it there is equal in both, where predictions are right.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.tiling import Window

__all__ = ["Seen", "join_boxes"]

_Boxes = NDArray[np.float32]


class Seen(NamedTuple):
    """The boxes of one tile."""

    window: Window
    """Where the tile lies."""

    boxes: _Boxes
    """[N, 4], px of the photo."""

    labels: NDArray[np.int64]
    """[N]."""

    scores: NDArray[np.float32]
    """[N]."""


def join_boxes(
    tiles: Sequence[Seen],
    size: tuple[int, int],
    *,
    iou: float,
    nms: float | None = None,
) -> tuple[_Boxes, NDArray[np.int64], NDArray[np.float32]]:
    """Return boxes [N, 4], labels and scores [N] of a photo, the best score first.

    Args:
        tiles: What each tile shows.
        size: Width and height of the photo, px.
        iou: Least intersection over union by which boxes of two tiles agree.
        nms: Intersection over union from which one of two boxes of a tile goes; None:
            all stay.
    """
    if nms is not None:
        tiles = [_suppressed(one, nms) for one in tiles]
    owners = np.repeat(np.arange(len(tiles)), [len(one.boxes) for one in tiles])
    starts = np.cumsum([0, *(len(one.boxes) for one in tiles)])
    boxes = np.concatenate([one.boxes for one in tiles])
    labels = np.concatenate([one.labels for one in tiles])
    scores = np.concatenate([one.scores for one in tiles])
    pairs = [
        (-agreement, int(starts[a]) + i, int(starts[b]) + j)
        for a, b in combinations(range(len(tiles)), 2)
        for agreement, i, j in _agreeing(tiles[a], tiles[b], iou)
    ]
    groups = _Groups(owners)
    for *_, i, j in sorted(pairs):
        groups.join(i, j)
    cut = np.concatenate([_cut_sides(one, size) for one in tiles])
    members = groups.rows()
    found = np.asarray(
        [_whole(rows, boxes, scores, cut) for rows in members], np.float32
    ).reshape(-1, 4)
    best = np.asarray(
        [max(rows, key=lambda row: scores[row]) for rows in members], np.int64
    )
    parts = np.asarray([cut[rows].all(axis=0).any() for rows in members], bool)
    kept = ~_absorbed(found, labels[best], parts, iou)
    found, best = found[kept], best[kept]
    order = np.lexsort((best, -scores[best]))
    return found[order], labels[best][order], scores[best][order]


def _absorbed(
    boxes: _Boxes, labels: NDArray[np.int64], parts: NDArray[np.bool_], share: float
) -> NDArray[np.bool_]:
    """Return which boxes are a part of another one that was seen apart from it.

    The visible part of a round object is less than a part of its box, so that of it
    two tiles do not show the same. A box that every tile cuts on one side, and that
    lies in another of its class, is taken for such a part.
    """
    gone = np.zeros(len(boxes), bool)
    if not parts.any():
        return gone
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = np.maximum(0, high - low).prod(axis=2)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for row in np.flatnonzero(parts)[np.argsort(areas[parts], kind="stable")].tolist():
        others = (labels == labels[row]) & ~gone & (areas >= areas[row])
        others[row] = False
        gone[row] = bool((common[row, others] >= share * areas[row]).any())
    return gone


def _agreeing(one: Seen, other: Seen, iou: float) -> Iterator[tuple[float, int, int]]:
    """Yield (agreement, row, row) of boxes that may be of one object."""
    a, b = one.window, other.window
    first = [max(a.x_min, b.x_min), max(a.y_min, b.y_min)] * 2
    last = [min(a.x_max, b.x_max), min(a.y_max, b.y_max)] * 2
    low, high = np.asarray(first, np.float32), np.asarray(last, np.float32)
    axes = low[:2] < high[:2]
    if not (low[:2] <= high[:2]).all() or not axes.any():
        return
    here, there = np.clip(one.boxes, low, high), np.clip(other.boxes, low, high)
    seen = _touches(one.boxes, low, high)[:, None] & _touches(other.boxes, low, high)
    same = one.labels[:, None] == other.labels[None, :]
    # Tiles that only touch show a line both: along it boxes are compared.
    overlaps = _iou(here, there, axes)
    equal = (here[:, None] == there[None]).all(axis=2)  # also what has no area
    overlaps[equal] = 1.0
    for i, j in np.argwhere(seen & same & (overlaps >= iou)).tolist():
        yield float(overlaps[i, j]), i, j


def _touches(boxes: _Boxes, low: _Boxes, high: _Boxes) -> NDArray[np.bool_]:
    """Return which boxes have a part in a window."""
    inside = (boxes[:, :2] < high[:2]) & (boxes[:, 2:] > low[:2])
    flat = (boxes[:, :2] == boxes[:, 2:]) | (low[:2] == high[:2])
    flat &= (boxes[:, :2] <= high[:2]) & (boxes[:, 2:] >= low[:2])
    touches: NDArray[np.bool_] = (inside | flat).all(axis=1)
    return touches


def _iou(
    one: _Boxes, other: _Boxes, axes: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Return the intersection over union of each pair, [N, M], along some axes."""
    axes = np.ones(2, bool) if axes is None else axes
    a, b = one[:, None].astype(np.float64), other[None].astype(np.float64)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = np.maximum(0, sides[..., axes]).prod(axis=2)
    lengths = [(boxes[..., 2:] - boxes[..., :2])[..., axes] for boxes in (a, b)]
    areas = [length.prod(axis=2) for length in lengths]
    union = areas[0] + areas[1] - common
    share: NDArray[np.float64] = np.divide(
        common, union, out=np.zeros_like(common), where=union > 0
    )
    return share


def _cut_sides(one: Seen, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which sides of boxes lie where a tile was cut, [N, 4]."""
    bounds = np.asarray([0, 0, *size], np.float32)
    window = np.asarray(one.window, np.float32)
    cut: NDArray[np.bool_] = (one.boxes == window) & (window != bounds)
    return cut


def _whole(
    rows: Sequence[int],
    boxes: _Boxes,
    scores: NDArray[np.float32],
    cut: NDArray[np.bool_],
) -> _Boxes:
    """Return the box of one object: of what is whole, else of what shows most."""

    def rank(row: int) -> tuple[float, ...]:
        area = np.prod(boxes[row, 2:] - boxes[row, :2])
        return int(cut[row].sum()), -float(scores[row]), -float(area)

    order = sorted(rows, key=rank)
    sides = []
    for side in range(4):
        whole = [row for row in order if not cut[row, side]]
        if whole:
            sides.append(boxes[whole[0], side])
        else:  # every tile cuts it there: as far as any of them shows
            pick = min if side < 2 else max
            sides.append(pick(boxes[row, side] for row in rows))
    return np.asarray(sides, np.float32)


def _suppressed(one: Seen, nms: float) -> Seen:
    """Return the boxes that class-wise non-maximum suppression leaves."""
    order = np.argsort(-one.scores, kind="stable")
    overlaps = _iou(one.boxes, one.boxes)
    kept: list[int] = []
    for row in order.tolist():
        rivals = [k for k in kept if one.labels[k] == one.labels[row]]
        if all(overlaps[k, row] < nms for k in rivals):
            kept.append(row)
    rows = np.asarray(sorted(kept), np.int64)
    return Seen(one.window, one.boxes[rows], one.labels[rows], one.scores[rows])


class _Groups:
    """Boxes of one object, at most one from each tile.

    Args:
        owners: Number of the tile of each box.
    """

    def __init__(self, owners: NDArray[np.int64]) -> None:
        self._members = {row: [row] for row in range(len(owners))}
        self._group = list(range(len(owners)))
        self._tiles = [{int(tile)} for tile in owners]

    def join(self, i: int, j: int) -> None:
        """Join the groups of two boxes, where that takes no two from one tile."""
        a, b = self._group[i], self._group[j]
        if a == b or self._tiles[a] & self._tiles[b]:
            return
        for row in self._members[b]:
            self._group[row] = a
        self._members[a] += self._members.pop(b)
        self._tiles[a] |= self._tiles[b]

    def rows(self) -> list[list[int]]:
        """Return the groups."""
        return list(self._members.values())
