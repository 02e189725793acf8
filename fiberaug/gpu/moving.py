"""Boxes, points and outlines after an image was moved by a matrix.

All happens in the worker, on arrays, from drawn parameters alone: pixels move later, on
whatever device, and nothing has to wait for them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["move_fields", "moved_points"]

_OWNED = {"bboxes": ("bbox_labels", "bbox_ids"), "keypoints": ("keypoint_labels",)}
_SHIFT = 0.5  # boxes count from the corner of a pixel, matrices from its centre


def moved_points(
    points: NDArray[np.floating], matrix: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return points [N, 2] moved by a matrix [3, 3] between pixel centres.

    Args:
        points: (x, y), px from the corner of the image.
        matrix: Centres before to centres after, projective.
    """
    centred = np.asarray(points, np.float64).reshape(-1, 2) - _SHIFT
    moved = np.column_stack([centred, np.ones(len(centred))]) @ matrix.T
    with np.errstate(divide="ignore", invalid="ignore"):
        found: NDArray[np.float64] = moved[:, :2] / moved[:, 2:] + _SHIFT
    return found


def move_fields(
    fields: Mapping[str, Any],
    matrix: NDArray[np.float64],
    size: tuple[int, int],
) -> dict[str, Any]:
    """Return fields whose boxes, points and outlines went along with the image.

    Boxes become the boxes around their moved corners, clipped to the image; what has no
    area left there, and points outside, are left out with what belongs to them.

    Args:
        fields: Of a sample.
        matrix: Centres of pixels before to those after, [3, 3].
        size: (height, width) of the image afterwards, px.
    """
    moved = dict(fields)
    rows: dict[str, NDArray[np.int64]] = {}
    for name, value in fields.items():
        if value is not None and name == "polygons":
            moved[name] = [moved_points(one, matrix).astype(one.dtype) for one in value]
        elif value is not None and name in _MOVED:
            moved[name], rows[name] = _MOVED[name](value, matrix, size)
    _link(fields, moved, rows)
    return moved


def _link(
    fields: Mapping[str, Any],
    moved: dict[str, Any],
    rows: Mapping[str, NDArray[np.int64]],
) -> None:
    """Let what belongs to objects stay with those that are left."""
    owned = {owner: list(_OWNED[owner]) for owner in rows}
    masks = fields.get("masks")
    if "bboxes" in rows and masks is not None and len(masks) == len(fields["bboxes"]):
        owned["bboxes"] += ["masks", "mask_labels"]
    for owner, names in owned.items():
        for name in names:
            if fields.get(name) is not None:
                moved[name] = _taken(fields[name], rows[owner])


def _boxes(
    boxes: NDArray[np.floating], matrix: NDArray[np.float64], size: tuple[int, int]
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)
    moved = moved_points(corners, matrix).reshape(-1, 4, 2)
    around = np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)
    around = np.clip(around, 0, np.asarray([*size[::-1]] * 2, np.float64))
    sides = around[:, 2:] - around[:, :2]
    flat = boxes[:, 2:] <= boxes[:, :2]  # a side that had no length keeps none
    rows = np.flatnonzero(((sides > 0) | flat).all(axis=1))
    return around[rows].astype(boxes.dtype), rows


def _points(
    points: NDArray[np.floating], matrix: NDArray[np.float64], size: tuple[int, int]
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    moved = moved_points(points, matrix)
    rows = np.flatnonzero(
        ((moved >= 0) & (moved <= np.asarray(size[::-1]))).all(axis=1)
    )
    return moved[rows].astype(points.dtype), rows


def _taken(values: Any, rows: NDArray[np.int64]) -> Any:  # noqa: ANN401  # array or list
    if isinstance(values, np.ndarray):
        return values[rows]
    return [values[row] for row in rows.tolist()]


_MOVED = {"bboxes": _boxes, "keypoints": _points}
