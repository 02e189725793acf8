"""Boxes, masks and points land where the pixels went: coloured markers tell."""

import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import albumentations as A
import cv2
import markers
import numpy as np
import pytest
from markers import FILL, PALETTE, RADIUS_PX, SIZE, Case, coloured, extent

import fiberaug

DATA = Path(os.environ.get("FIBERAUG_DATA", Path(__file__).parents[3] / "shared/data"))
BCCD, CABLES = DATA / "bccd", DATA / "cables"
TRANSFORMS = list(markers.cases(*SIZE))

real = [
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="FIBERAUG_DATA names no folder"),
]


class Found(NamedTuple):
    """How far one target is from its pixels."""

    what: str
    key: str
    label: int
    off_px: float


def measure(
    before: Mapping[str, Any], after: Mapping[str, Any], case: Case
) -> Iterator[Found]:
    """Compare a delivered sample with the markers that are seen in its image."""
    key, image = after["__key__"], after["image"]
    hidden = coloured(image, FILL) | (image == 0).all(2)
    white = case.picture == "white"
    for row, label in enumerate(before["bbox_labels"]):
        colour = (255,) * 3 if white else PALETTE[label]
        seen, old = coloured(image, colour), before["bboxes"][row]
        seen = _largest(seen) if white else seen
        off = _mask(seen, after["mask"] == label + 1, hidden)
        yield Found("mask", key, label, off)
        rows = [row]
        if case.rule != "none":
            rows = np.nonzero(after["bbox_labels"] == label)[0]
            boxes = after["bboxes"][rows]
            back = case.returns and not seen.any() and len(boxes) == 1
            if back and np.abs(boxes[0] - old).max() < 0.1:
                yield Found("returned", key, label, 0)
            else:
                cut = case.rule == "cut"
                off = _cut(hidden, boxes, old) if cut else _box(seen, boxes, case, old)
                yield Found("box", key, label, off)
        for one in after["masks"][rows]:
            yield Found("masks", key, label, _mask(seen, one > 0, hidden))
    for label in before["keypoint_labels"]:
        seen = coloured(image, (255,) * 3 if white else PALETTE[label])
        rows = after["keypoints"][after["keypoint_labels"] == label]
        yield Found("point", key, label, max(_points(seen, rows, hidden), default=0))


def _largest(seen: np.ndarray) -> np.ndarray:
    _, parts, stats, _ = cv2.connectedComponentsWithStats(np.uint8(seen))
    return parts == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()


def _box(seen, rows, case: Case, old) -> float:
    """How far boxes of one label end from the pixels of its colour, px."""
    if case.rule == "pieces":
        count, parts = cv2.connectedComponents(np.uint8(seen))
        ends = np.array([extent(parts == i) for i in range(1, count)]).reshape(-1, 4)
        if len(ends) != len(rows):
            return np.inf
        off = np.abs(ends[:, None] - rows).max(2)
        return max(off.min(0).max(initial=0), off.min(1).max(initial=0))
    if not len(rows):
        area = (old[2] - old[0]) * (old[3] - old[1])
        return 0 if seen.sum() <= 0.002 * area else np.inf
    if case.rule == "holds":
        y, x = np.nonzero(seen)
        beyond = [np.max([a - x, b - y, x + 1 - c, y + 1 - d], 0) for a, b, c, d in rows]
        return max(0, np.min(beyond, 0).max(initial=0))
    (box,) = rows
    ends = np.array(seen.shape[::-1])
    left = (box[:2] < 0.5).any() or (box[2:] > ends - 0.5).any()
    left = left and case.rule == "corners"
    if not seen.any():
        return 0 if left else min(box[2:] - box[:2])
    beyond = (extent(seen) - box) * (-1, -1, 1, 1)
    return max(0, beyond.max(), 0 if left else -beyond.min())


def _cut(hidden, rows, old) -> float:
    """How far a box is from what is not hidden of the old one, px.

    The library cuts each end of the old box down to a whole pixel first.
    """
    off = np.inf
    for less in product((0, 1), repeat=4):
        x, y, x_end, y_end = np.maximum(0, np.int64(old) - less)
        open_ = ~hidden[y:y_end, x:x_end]
        if len(rows) and open_.any():
            ends = extent(open_) + (x, y, x, y)
            off = min(off, np.abs(ends - rows[0]).max())
        elif not len(rows) and not open_.any():
            off = 0
    return off


def _mask(seen, mask, hidden) -> float:
    """How deep in a mask, or how far from it, the two disagree, px."""
    off = _depth(~mask)[seen & ~mask].max(initial=0)
    return float(max(off, _depth(mask)[mask & ~seen & ~hidden].max(initial=0)))


def _depth(inside):
    framed = np.pad(np.uint8(inside), 1)  # the frame of the picture is not inside
    return cv2.distanceTransform(framed, cv2.DIST_L2, 5)[1:-1, 1:-1]


def _points(seen, rows, hidden) -> Iterator[float]:
    """How far points of one label are from the middle of a disc of its colour, px."""
    _, parts, _, middles = cv2.connectedComponentsWithStats(np.uint8(seen))
    beside = cv2.dilate(np.uint8(hidden), np.ones((5, 5))) > 0
    beside[[0, -1]] = beside[:, [0, -1]] = True
    if not len(rows) and seen.sum() > 9:
        yield 0 if (seen & beside).any() else np.inf
    for x, y in np.asarray(rows, np.float64):
        at = round(y), round(x)
        if not (0 <= at[0] < seen.shape[0] and 0 <= at[1] < seen.shape[1]):
            continue
        if not seen.any():
            yield 0 if beside[at] else np.inf
            continue
        off = np.hypot(*(middles[1:] - (x, y)).T)
        if (beside & (parts == 1 + off.argmin())).any():  # only a part of it is seen
            off = np.hypot(*(np.argwhere(seen)[:, ::-1] - (x, y)).T) - RADIUS_PX
        yield max(0, off.min())


def check(name: str, sets: Mapping[str, Any], rule: str | None = None) -> list[Found]:
    """Everything that was measured, after it was compared with what the case allows."""
    found = []
    for case in markers.cases(*sets["size"])[name]:
        now = case._replace(rule=rule) if rule and case.rule != "none" else case
        folder, before = sets[case.picture]
        after = list(markers.delivered(folder, markers.build(name, case), now))
        assert [row["__key__"] for row in after] == list(before)
        here = [f for row in after for f in measure(before[row["__key__"]], row, now)]
        most = {"box": now.box_px, "point": now.point_px}
        wrong = [f for f in here if f.off_px > most.get(f.what, now.mask_px)]
        assert not wrong, (name, now.arguments, wrong[:9])
        found += here
    assert {"mask", "masks"} <= {f.what for f in found}
    return found


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder, sets = tmp_path_factory.mktemp("drawn"), {"size": SIZE}
    for kind in ("marks", "ellipses", "white", "few"):
        made = markers.pictures(1 if kind == "few" else 6, kind, *SIZE)
        sets[kind] = folder / kind, markers.write(folder / kind, made)
    return sets


def test_every_transform_that_takes_boxes_has_a_case_or_a_reason():
    takes = set()
    for name, kind in vars(A).items():
        if isinstance(kind, type) and issubclass(kind, A.DualTransform):
            targets = getattr(kind, "_targets", ())
            if isinstance(targets, tuple) and "BBoxes" in {t.value for t in targets}:
                takes.add(name)
    assert takes == set(TRANSFORMS) | set(markers.LEFT_OUT)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_boxes_masks_and_points_are_where_the_pixels_went(name, drawn):
    check(name, drawn)
