"""Labels as fields of a decoded sample, as they are after an edit."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.editing.labels import Fates
from fiberaug.errors import SampleBroken

__all__ = ["relabelled"]

_EACH = ("bboxes", "bbox_labels", "bbox_ids")


def relabelled(
    fields: Mapping[str, Any],
    fates: Fates,
    changed: NDArray[np.uint8],
    *,
    ignore: int,
    to: int | None,
) -> dict[str, Any]:
    """Return the labels of a sample that change with its edits, by field.

    Args:
        fields: ``bboxes`` [N, 4] with ``bbox_labels`` and ``bbox_ids``, ``mask``
            [H, W], ``keypoints`` [N, 2] with ``keypoint_labels``, ``caption``, as far
            as they are there.
        fates: What becomes of each.
        changed: How much of each pixel was replaced, [H, W].
        ignore: Class id of mask pixels that are not known any more.
        to: Class id of asked objects now; None: what it was.

    Raises:
        SampleBroken: It has masks of single objects, which an edit may have moved.
    """
    found = _of_boxes(fields, fates, to)
    if fates.mask == "ignored":
        found |= _of_mask(fields, changed, ignore)
    if fates.points == "dropped":
        found |= _of_points(fields, changed)
    if fates.caption == "dropped" and fields.get("caption") is not None:
        found["caption"] = None
    return found


def _of_boxes(
    fields: Mapping[str, Any], fates: Fates, to: int | None
) -> dict[str, Any]:
    boxes, labels = fields.get("bboxes"), fields.get("bbox_labels")
    if boxes is None or not fates.objects:
        return {}
    stays = [fates.objects.get(i) != "dropped" for i in range(len(boxes))]
    chosen = np.array(stays, np.bool_)
    found = {
        name: np.asarray(fields[name])[chosen]
        for name in _EACH
        if fields.get(name) is not None
    }
    if to is not None and labels is not None:
        new = np.array(labels)
        new[[i for i, fate in fates.objects.items() if fate == "asked"]] = to
        found["bbox_labels"] = new[chosen]
    return found


def _of_mask(
    fields: Mapping[str, Any], changed: NDArray[np.uint8], ignore: int
) -> dict[str, Any]:
    if fields.get("masks") is not None or fields.get("polygons"):
        raise SampleBroken(
            "it has masks or polygons of single objects, which an edit of this strength"
            " may move: edit the background, or keep them on your word (labels='keep')",
            stage="edit",
        )
    mask = fields.get("mask")
    if mask is None:
        return {}
    new = np.array(mask, mask.dtype if ignore <= 255 else np.int32)
    new[changed > 0] = ignore
    return {"mask": new}


def _of_points(fields: Mapping[str, Any], changed: NDArray[np.uint8]) -> dict[str, Any]:
    points, labels = fields.get("keypoints"), fields.get("keypoint_labels")
    if points is None or not len(points):
        return {}
    ends = np.array([changed.shape[1] - 1, changed.shape[0] - 1])
    at = np.clip(np.floor(points), 0, ends).astype(np.int64)
    stays = changed[at[:, 1], at[:, 0]] == 0
    found: dict[str, Any] = {"keypoints": points[stays]}
    if labels is not None:
        kept = zip(labels, stays, strict=True)
        found["keypoint_labels"] = [one for one, stay in kept if stay]
    return found
