"""Masks of objects as COCO's runs of pixels (RLE)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import SampleBroken
from fiberaug.jobs.sources.coco_masks import coco_library

__all__ = ["check_masks", "masked"]


def check_masks() -> None:
    """Check that masks can become RLE.

    Raises:
        UsageError: pycocotools is not installed.
    """
    coco_library()


def masked(
    objects: Sequence[Mapping[str, Any]], masks: NDArray[np.uint8], label: int
) -> list[dict[str, Any]]:
    """Return objects with their masks as ``segmentation``.

    One that has a ``segmentation`` keeps it: masks are made of outlines. Where there
    are masks alone, each is an object, whose box holds its pixels.

    Args:
        objects: Objects, as many as masks, or none.
        masks: [N, H, W], px that are not 0 belong to the object.
        label: Class id of what has a mask alone.

    Raises:
        SampleBroken: There is another number of objects than of masks.
        UsageError: pycocotools is not installed.
    """
    if objects and len(objects) != len(masks):
        raise SampleBroken(f"{len(masks)} masks, but {len(objects)} objects")
    if objects:
        return [
            {**one, **({} if one.get("segmentation") else _runs(mask))}
            for one, mask in zip(objects, masks, strict=True)
        ]
    return [{"bbox": _extent(mask), "label": label, **_runs(mask)} for mask in masks]


def _runs(mask: NDArray[np.uint8]) -> dict[str, Any]:
    found = coco_library().encode(np.asfortranarray(mask != 0, np.uint8))
    runs = {"size": [int(n) for n in found["size"]], "counts": found["counts"].decode()}
    return {"segmentation": runs, "area": int(np.count_nonzero(mask))}


def _extent(mask: NDArray[np.uint8]) -> list[int]:
    """Return the box of the pixels of a mask, [x0, y0, x1, y1]; of none all 0."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return [0, 0, 0, 0]
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]
