"""One image's annotations, as every format writes them, and what is odd about them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fiberaug.errors import SampleBroken

__all__ = ["Annotated", "box_of", "class_of", "doubts", "outlines_of", "plain"]

Number = int | float


class Annotated(NamedTuple):
    """What is known of one image; coordinates in px of the upright frame."""

    file: str
    """Path of the image below the images' folder, ``/`` between."""

    width: int
    """Width of the upright image, px."""

    height: int
    """Height of the upright image, px."""

    objects: Sequence[Mapping[str, Any]]
    """As the JSON of shards has them: ``{"bbox": [x0, y0, x1, y1], "label": id, ...}``,
    px."""

    notes: Mapping[str, Any] = {}
    """The rest of the sample's JSON: captions, keypoints, the image's own entry."""

    label: int | None = None
    """Class id of the whole image."""


def plain(value: float) -> Number:
    """Return a number as people write it: whole numbers without a point.

    >>> plain(3.0), plain(2.5)
    (3, 2.5)
    """
    return int(value) if value == int(value) else value


def box_of(one: Mapping[str, Any], row: int) -> tuple[float, float, float, float]:
    """Return the box of an object, (x0, y0, x1, y1), px.

    Args:
        one: The object.
        row: Its place in the sample, for the error.

    Raises:
        SampleBroken: It has none, or it is not four finite numbers.
    """
    box = one.get("bbox")
    if isinstance(box, Sequence) and len(box) == 4 and all(map(_is_number, box)):
        return box[0], box[1], box[2], box[3]
    raise SampleBroken(
        f"object {row} must have a bbox of 4 finite numbers, got {box!r:.200}"
    )


def class_of(one: Mapping[str, Any], row: int, classes: Sequence[str]) -> int:
    """Return the class id of an object.

    Raises:
        SampleBroken: It has none, or none of these classes.
    """
    label = one.get("label")
    if isinstance(label, str) and label in classes:
        return list(classes).index(label)
    row_ids = range(len(classes))
    if isinstance(label, int | float) and label in row_ids:
        return int(label)
    raise SampleBroken(
        f"object {row} has the label {label!r:.80}, which is no class id from 0 to"
        f" {len(classes) - 1}"
    )


def outlines_of(one: Mapping[str, Any]) -> list[list[float]]:
    """Return the outlines of an object as COCO has them, [x, y, x, y, ...] each, px.

    They come from ``segmentation`` where that is a list, else from ``polygons``. Runs
    of pixels (RLE) are no outlines.
    """
    found = one.get("segmentation")
    if isinstance(found, list) and found:
        return [list(outline) for outline in found]
    return [
        [value for corner in polygon for value in corner[:2]]
        for polygon in one.get("polygons", ())
    ]


def doubts(one: Annotated) -> Iterator[str]:
    """Yield what cannot be right: boxes without area or beyond their image."""
    size = f"{one.width}x{one.height} px"
    for row, thing in enumerate(one.objects):
        if "bbox" not in thing:
            continue
        x0, y0, x1, y1 = box_of(thing, row)
        if not (x0 < x1 and y0 < y1):
            yield f"box {row} {thing['bbox']} has no area"
        elif x0 < 0 or y0 < 0 or x1 > one.width or y1 > one.height:
            yield f"box {row} {thing['bbox']} reaches beyond {size}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
