"""Objects of several samples, taken and joined with what belongs to each.

Masks and outlines belong to boxes where a sample has as many of them as boxes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fiberaug.cutting import boxes_within, cut_fields, outline_within
from fiberaug.errors import UsageError
from fiberaug.tiling import Window

__all__ = [
    "check_alike",
    "is_linked",
    "joined",
    "linked_names",
    "mask_dtype",
    "taken",
    "window_of",
]

_OWNERS = {
    "bboxes": None,
    "bbox_labels": "bboxes",
    "bbox_ids": "bboxes",
    "masks": "bboxes",
    "mask_labels": "masks",
    "polygons": "bboxes",
    "keypoints": None,
    "keypoint_labels": "keypoints",
}
"""Fields of objects, each with the field that says how many there are."""


def is_linked(fields: Mapping[str, Any], name: str) -> bool:
    """Return whether ``masks`` or ``polygons`` are there, one for each box."""
    values, boxes = fields.get(name), fields.get("bboxes")
    return values is not None and boxes is not None and len(values) == len(boxes)


def window_of(
    fields: Mapping[str, Any], window: Window, visibility: float
) -> dict[str, Any]:
    """Return what a window of a sample holds, in the window's pixels.

    Args:
        fields: Of the sample.
        window: The window, within the image.
        visibility: See :func:`fiberaug.cutting.boxes_within`.
    """
    part = cut_fields(fields, window, visibility=visibility)
    if is_linked(fields, "polygons"):  # an outline stays with its box, however little
        _, rows = boxes_within(fields["bboxes"], window, visibility)
        outlines = [fields["polygons"][row] for row in rows]
        part["polygons"] = [outline_within(one, window) for one in outlines]
    return part


def linked_names(fields: Mapping[str, Any]) -> list[str]:
    """Return the fields of a sample that have one item for each box, if any."""
    names = ["bboxes", "bbox_labels", "bbox_ids"]
    names += ["masks", "mask_labels"] if is_linked(fields, "masks") else []
    return names + (["polygons"] if is_linked(fields, "polygons") else [])


def taken(values: Any, rows: Sequence[int]) -> Any:  # noqa: ANN401  # array or list
    """Return some items of a field; None of one that is not there."""
    if isinstance(values, np.ndarray):
        return values[np.asarray(rows, np.int64)]
    return None if values is None else [values[row] for row in rows]


def joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the objects of some parts of one image, one part behind the other.

    An object that lacks what others have gets -1 for a label or an id, a mask without
    pixels, an outline without corners. Dtypes are those of the first part that has the
    field; a field that no part has is left out.

    Args:
        parts: Fields of each, in the pixels of one image.
    """
    filled = [dict(part) for part in parts]
    made = {}
    for name, counted in _OWNERS.items():
        having = [part for part in parts if part.get(name) is not None]
        if not having:
            continue
        # Masks that are not of boxes say nothing of boxes without.
        objects = name in {"masks", "polygons"}
        linked = not objects or all(is_linked(part, name) for part in having)
        owner = counted if linked else None
        like = having[0][name]
        for part in filled:
            if part.get(name) is None:
                of = part.get(owner) if owner else None
                count = 0 if of is None else len(of)
                part[name] = _blank(like, count, -1 if owner and not objects else 0)
        made[name] = _concatenated([part[name] for part in filled], like)
    return made


def _blank(like: Any, count: int, empty: int) -> Any:  # noqa: ANN401
    if isinstance(like, np.ndarray):
        return np.full((count, *like.shape[1:]), empty, like.dtype)
    outlines = bool(like) and isinstance(like[0], np.ndarray)
    return [np.zeros((0, 2), np.float32) if outlines else None for _ in range(count)]


def _concatenated(values: list[Any], like: Any) -> Any:  # noqa: ANN401
    if all(isinstance(value, np.ndarray) for value in values):
        return np.concatenate(values).astype(like.dtype, copy=False)
    return [item for value in values for item in value]


def mask_dtype(
    samples: Sequence[Mapping[str, Any]], fill_mask: int
) -> np.dtype[Any] | None:
    """Return the dtype that the ``mask`` of all samples fits in; None: none has one.

    Args:
        samples: Fields of each.
        fill_mask: Class id that has to fit as well.

    Raises:
        UsageError: It does not fit.
    """
    masks = [one["mask"] for one in samples if one.get("mask") is not None]
    if not masks:
        return None
    kind = np.result_type(*masks)
    low, high = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
    if not low <= fill_mask <= high:
        raise UsageError(
            f"fill_mask={fill_mask} must be in [{low}, {high}], as masks are {kind}",
            stage="mix",
        )
    return kind


def check_alike(own: Mapping[str, Any], partners: Sequence[Mapping[str, Any]]) -> None:
    """Check that images can stand in one.

    Raises:
        UsageError: They differ in dtype or number of channels.
    """
    forms = {
        (str(one["image"].dtype), one["image"].shape[2]) for one in (own, *partners)
    }
    if len(forms) > 1:
        raise UsageError(
            f"images of {sorted(forms)} (dtype, channels) cannot be mixed: decode with"
            ' {"color": "rgb", "depth": "uint8"}, or convert all of them',
            stage="mix",
        )
