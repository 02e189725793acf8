"""What a window of a photo holds: pixels, masks, boxes, points and outlines."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import SampleBroken
from fiberaug.tiling import Window

__all__ = ["boxes_within", "cut_fields", "outline_within"]

_OWNED = {
    "bboxes": ("bbox_labels", "bbox_ids"),
    "keypoints": ("keypoint_labels",),
    "masks": ("mask_labels",),
}
"""Fields with one item for each object of another field."""

_SLACK = 1e-6  # float32 areas


def boxes_within(
    boxes: NDArray[np.floating], window: Window, visibility: float
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Return boxes clipped to a window, in its pixels, and their rows.

    A box is there where at least ``visibility`` of its area lies in the window, and
    some of it does; one without area where it touches the window.

    Args:
        boxes: (x_min, y_min, x_max, y_max), [N, 4], px of the photo.
        window: The window.
        visibility: In [0, 1].

    >>> boxes_within(np.float32([[2, 2, 6, 6]]), Window(4, 0, 9, 9), 0.5)[0].tolist()
    [[0.0, 2.0, 2.0, 6.0]]
    """
    low = np.asarray([window.x_min, window.y_min] * 2, boxes.dtype)
    high = np.asarray([window.x_max, window.y_max] * 2, boxes.dtype)
    clipped = np.clip(boxes, low, high)
    whole, seen = _sides(boxes), _sides(clipped)
    touches = (boxes[:, :2] <= high[:2]) & (boxes[:, 2:] >= low[:2])
    within = (touches & ((whole <= 0) | (seen > 0))).all(axis=1)
    enough = seen.prod(axis=1) >= visibility * whole.prod(axis=1) * (1 - _SLACK)
    rows = np.flatnonzero(within & enough)
    return clipped[rows] - low, rows


def _sides(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    sides = boxes[:, 2:].astype(np.float64) - boxes[:, :2]
    return np.maximum(0, sides)


def outline_within(
    outline: NDArray[np.floating], window: Window
) -> NDArray[np.floating]:
    """Return the part of an outline that lies in a window, in its pixels; [0, 2]: none.

    Args:
        outline: Corners (x, y), [K, 2], px of the photo.
        window: The window.

    Source: I. Sutherland, G. Hodgman, "Reentrant Polygon Clipping", Communications of
    the ACM 17(1), 1974. Parts of a concave outline stay joined along the border.
    """
    low, high = np.asarray(window[:2], np.float64), np.asarray(window[2:], np.float64)
    corners = outline.astype(np.float64)
    for axis in (0, 1):
        for bound, sign in ((low[axis], 1.0), (high[axis], -1.0)):
            corners = _clipped(corners, axis, bound, sign)
    if len(corners) < 3 or not _area(corners):  # it only touches the window
        corners = corners[:0]
    return (corners - low).astype(outline.dtype)


def _area(corners: NDArray[np.float64]) -> float:
    x, y = corners[:, 0], corners[:, 1]
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def _clipped(
    corners: NDArray[np.float64], axis: int, bound: float, sign: float
) -> NDArray[np.float64]:
    """Return what lies on one side of a line: sign (x - bound) >= 0."""
    inside = sign * (corners[:, axis] - bound) >= 0
    if inside.all():
        return corners
    kept: list[NDArray[np.float64]] = []
    for i, corner in enumerate(corners):
        before = corners[i - 1]
        if inside[i] != inside[i - 1]:
            share = (bound - before[axis]) / (corner[axis] - before[axis])
            crossing = before + share * (corner - before)
            crossing[axis] = bound
            kept.append(crossing)
        if inside[i]:
            kept.append(corner)
    return np.asarray(kept, np.float64).reshape(-1, 2)


def cut_fields(
    fields: Mapping[str, Any],
    window: Window,
    *,
    visibility: float,
    kind: Callable[[str], str] = str,
    size: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Return the fields of a tile: copies, in the tile's pixels.

    Images and masks are cut, boxes clipped, points outside are left out, outlines are
    clipped; what belongs to an object goes with it. Masks that are as many as boxes are
    theirs, and stay with them. Other fields stay as they are.

    Args:
        fields: Of the photo: ``image`` [H, W, C] and others, as a decoder makes them.
        window: The window, within the photo.
        visibility: See :func:`boxes_within`; of ``masks`` the part of their pixels.
        kind: Kind of a field by its name, such as ``mask``.
        size: Height and width of the photo, px, where ``image`` is None.

    Raises:
        SampleBroken: An image or mask has another size than the photo.
    """
    size = size or fields["image"].shape[:2]
    cut = dict(fields)
    rows: dict[str, NDArray[np.int64]] = {}
    for name, value in fields.items():
        what = kind(name)
        if value is None:
            continue
        if what in {"image", "mask"}:
            cut[name] = _plane(value, window, size, name)
        elif what == "polygons":
            parts = (outline_within(one, window) for one in value)
            cut[name] = [part for part in parts if len(part)]
        elif what in _OWNED:
            cut[name], rows[name] = _objects(what, value, window, size, visibility)
    _link(fields, cut, rows, window)
    for owner, names in _OWNED.items():
        for name in names:
            value = fields.get(name)
            if owner in rows and value is not None:
                cut[name] = _taken(value, rows[owner])
    return cut


def _objects(
    what: str,
    value: NDArray[Any],
    window: Window,
    size: tuple[int, int],
    visibility: float,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the objects of a field that are in a window, and their rows."""
    if what == "bboxes":
        return boxes_within(value, window, visibility)
    if what == "keypoints":
        return _points(value, window, size)
    return _planes(value, window, size, visibility)


def _link(
    fields: Mapping[str, Any],
    cut: dict[str, Any],
    rows: dict[str, NDArray[np.int64]],
    window: Window,
) -> None:
    """Let the masks of boxes stay with their boxes."""
    masks, boxes = fields.get("masks"), fields.get("bboxes")
    if masks is not None and boxes is not None and len(masks) == len(boxes):
        rows["masks"] = rows["bboxes"]
        part = masks[:, window.y_min : window.y_max, window.x_min : window.x_max]
        cut["masks"] = part[rows["masks"]]


def _taken(values: Any, rows: NDArray[np.int64]) -> Any:  # noqa: ANN401  # array or list
    if isinstance(values, np.ndarray):
        return values[rows]
    return [values[row] for row in rows.tolist()]


def _plane(
    pixels: NDArray[Any], window: Window, size: tuple[int, int], name: str
) -> NDArray[Any]:
    if pixels.shape[:2] != size:
        raise SampleBroken(
            f"{name} is {pixels.shape[1]}x{pixels.shape[0]} px, the image"
            f" {size[1]}x{size[0]}: a tile is cut out of both",
            stage="decode",
        )
    return pixels[window.y_min : window.y_max, window.x_min : window.x_max].copy()


def _planes(
    masks: NDArray[Any], window: Window, size: tuple[int, int], visibility: float
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    if len(masks) and masks.shape[1:] != size:
        raise SampleBroken(
            f"masks are {masks.shape[2]}x{masks.shape[1]} px, the image"
            f" {size[1]}x{size[0]}: a tile is cut out of both",
            stage="decode",
        )
    part = masks[:, window.y_min : window.y_max, window.x_min : window.x_max]
    whole = np.asarray([np.count_nonzero(mask) for mask in masks], np.int64)
    seen = np.asarray([np.count_nonzero(mask) for mask in part], np.int64)
    rows = np.flatnonzero((seen > 0) & (seen >= visibility * whole))
    return part[rows], rows


def _points(
    points: NDArray[np.floating], window: Window, size: tuple[int, int]
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    low, high = np.asarray(window[:2]), np.asarray(window[2:])
    # A point on the border of two tiles is in one; on the photo's own border it is in.
    below = (points < high) | ((points == high) & (high == size[::-1]))
    rows = np.flatnonzero(np.all((points >= low) & below, axis=1))
    return points[rows] - low.astype(points.dtype), rows
