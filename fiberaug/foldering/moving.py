"""The objects of a photo after a pipeline: what is left of them, and where."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fiberaug.errors import UsageError
from fiberaug.foldering.carrying import CENTRE, Carried
from fiberaug.jobs.formats.annotated import outlines_of, plain

__all__ = ["clip_outline", "moved_objects"]

_NEAR_PX = 1e-3  # what single precision leaves of a coordinate in a large photo
_DIGITS = 3
_PLACED = ("polygons", "segmentation", "keypoints", "area", "num_keypoints")

Corner = tuple[float, float]


def moved_objects(
    carried: Carried, fields: Mapping[str, Any], lost: Counter[str]
) -> list[dict[str, Any]]:
    """Return the objects that are left, in their order, with all that is said of them.

    One that is where it was stays as it was, to the last digit. Otherwise coordinates
    are rounded to 0.001 px, outlines are cut at the image's edge, keypoints beyond it
    are not labelled any more, and an area is left to be computed again.

    Args:
        carried: The photo as it came.
        fields: Its fields now.
        lost: Counts what cannot move, by name.

    Raises:
        UsageError: A part of the pipeline took boxes away and does not say which.
    """
    objects: Sequence[Mapping[str, Any]] = carried.notes.get("objects", ())
    boxes, rows = fields.get("bboxes"), fields.get("bbox_ids")
    if boxes is None:
        return [dict(one) for one in objects]
    if rows is None or len(rows) != len(boxes):
        raise UsageError(
            f"a part of the recipe returned {len(boxes)} bboxes and no bbox_ids for"
            " them: it has to take bbox_ids away with the boxes, as"
            " fiberaug.processors.warp_sample does"
        )
    height, width = fields["image"].shape[:2]
    resized = (width, height) != carried.size
    outlines = _outlines(carried, fields, (width, height))
    points = _points(carried, fields, (width, height))
    found = []
    for box, row in zip(boxes.tolist(), rows.tolist(), strict=True):
        before = objects[row]
        own = outlines.get(row, [])
        if not resized and _is_still(before, box, own, points, row):
            found.append(dict(before))
            continue
        one = {k: v for k, v in before.items() if k not in _PLACED}
        one["bbox"] = _rounded(box)
        _outline(one, before, own, lost)
        if before.get("keypoints"):
            one["keypoints"] = [
                _point(point, points.get((row, place)))
                for place, point in enumerate(before["keypoints"])
            ]
        found.append(one)
    return found


def _is_still(
    before: Mapping[str, Any],
    box: Sequence[float],
    outlines: Sequence[Sequence[float]],
    points: Mapping[tuple[int, int], Sequence[float]],
    row: int,
) -> bool:
    """Return whether an object is where it was."""
    if isinstance(before.get("segmentation"), Mapping):
        return False  # runs of pixels: nothing tells
    pairs = [(before["bbox"], box)]
    old = outlines_of(before)
    if len(old) != len(outlines):
        return False
    pairs += zip(old, outlines, strict=True)
    for place, point in enumerate(before.get("keypoints") or ()):
        if len(point) < 3 or point[2] > 0:
            pairs.append((point[:2], points.get((row, place), ())))
    return all(map(_is_near, *zip(*pairs, strict=True)))


def _is_near(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and all(
        abs(a - b) <= _NEAR_PX for a, b in zip(one, other, strict=True)
    )


def _outline(
    one: dict[str, Any],
    before: Mapping[str, Any],
    outlines: Sequence[list[float]],
    lost: Counter[str],
) -> None:
    """Write outlines where they stood."""
    runs = before.get("segmentation")
    if isinstance(runs, Mapping):
        lost["outlines that are runs of pixels (RLE), which cannot move"] += 1
    if isinstance(runs, list):
        one["segmentation"] = [list(outline) for outline in outlines]
    elif "polygons" in before:
        one["polygons"] = [
            [list(corner) for corner in zip(flat[::2], flat[1::2], strict=True)]
            for flat in outlines
        ]


def _outlines(
    carried: Carried, fields: Mapping[str, Any], size: tuple[int, int]
) -> dict[int, list[list[float]]]:
    """Return the outlines of each object, cut at the image's edge."""
    found: dict[int, list[list[float]]] = {}
    now = fields.get("polygons") or ()
    for outline, corners in zip(carried.outlines, now, strict=False):
        edges = (corners + CENTRE).tolist()
        cut = clip_outline([(x, y) for x, y in edges], size)
        if len(cut) >= 3:
            flat = _rounded([value for corner in cut for value in corner])
            found.setdefault(outline.row, []).append(flat)
    return found


def _points(
    carried: Carried, fields: Mapping[str, Any], size: tuple[int, int]
) -> dict[tuple[int, int], list[float]]:
    """Return the keypoints that are still in the image, by object and place."""
    found: dict[tuple[int, int], list[float]] = {}
    if not carried.points or fields.get("keypoint_labels") is None:
        return found
    pairs = zip(fields["keypoint_labels"], fields["keypoints"].tolist(), strict=True)
    for number, (x, y) in pairs:
        point = carried.points[int(number)]
        if 0 <= x < size[0] and 0 <= y < size[1]:
            found[point.row, point.place] = _rounded([x, y])
    return found


def _point(before: Sequence[float], now: Sequence[float] | None) -> list[float]:
    """Return a keypoint as its object has it; one that is gone is not labelled."""
    if now is None:
        return [0, 0, *([0] * (len(before) - 2))]
    return [*now, *before[2:]]


def _rounded(values: Sequence[float]) -> list[float]:
    return [plain(round(value, _DIGITS)) for value in values]


def clip_outline(corners: Sequence[Corner], size: tuple[int, int]) -> list[Corner]:
    """Return the part of an outline that lies in an image.

    Sutherland and Hodgman, "Reentrant polygon clipping", CACM 17 (1974): edge after
    edge; where an outline leaves and comes back, its parts are joined along the edge.

    Args:
        corners: (x, y), px.
        size: Width and height of the image, px.
    """
    found = list(corners)
    for axis in (0, 1):
        found = _cut(found, axis, 0.0, 1.0)
        found = _cut(found, axis, float(size[axis]), -1.0)
    return found


def _cut(corners: list[Corner], axis: int, edge: float, sign: float) -> list[Corner]:
    """Return what lies on one side of a line: sign * (coordinate - edge) >= 0."""
    found: list[Corner] = []
    for i, corner in enumerate(corners):
        before = corners[i - 1]
        inside = sign * (corner[axis] - edge) >= 0
        was_inside = sign * (before[axis] - edge) >= 0
        if inside != was_inside:
            part = (edge - before[axis]) / (corner[axis] - before[axis])
            other = before[1 - axis] + part * (corner[1 - axis] - before[1 - axis])
            found.append((edge, other) if axis == 0 else (other, edge))
        if inside:
            found.append(corner)
    return found
