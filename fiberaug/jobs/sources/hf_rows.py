"""A row of a Hugging Face data set to one sample."""

import math
import os
from collections.abc import Mapping
from datetime import date, time
from typing import Any

from fiberaug.decode.header import ImageLimits, read_header
from fiberaug.decode.image import decode_mask
from fiberaug.errors import SampleBroken
from fiberaug.jobs.encoding import image_member
from fiberaug.jobs.items import Raw
from fiberaug.jobs.members import mask_member
from fiberaug.jobs.sources.hf_columns import Columns

__all__ = ["plain", "read_row"]


def read_row(
    row: Mapping[str, Any],
    columns: Columns,
    ids: Mapping[Any, int],
    *,
    root: str,
    notes: Mapping[str, Any],
) -> Raw:
    """Return a row as a sample.

    Args:
        row: Values by column, images undecoded.
        columns: What the columns are.
        ids: Class ids of objects by what the column has; empty: it has ids.
        root: Where the images' paths begin.
        notes: What the JSON holds beside the columns.

    Raises:
        SampleBroken: The row lacks its image, or its objects are none.
    """
    members: dict[str, bytes] = {}
    image = _file(row, columns.image, root)
    if image is None:
        raise SampleBroken(f"the column {columns.image!r} has no image")
    if columns.mask is not None:
        mask = _file(row, columns.mask, root)
        if mask is not None:
            members["mask.png"] = _mask(mask)
    if columns.caption is not None and row[columns.caption] is not None:
        members["txt"] = row[columns.caption].encode()
    for name in columns.images:
        further = _file(row, name, root)
        if further is not None:
            members[f"{name}.{image_member(further)[0]}"] = further
    told = {**notes, **{name: plain(row[name]) for name in columns.extras}}
    if columns.objects is not None:
        told["objects"] = _objects(row[columns.objects], columns, ids)
    size = [row["width"], row["height"]] if columns.stated else []
    return Raw(
        image,
        told or None,
        members,
        stated=(size[0], size[1]) if size and None not in size else None,
        label=None if columns.label is None else _label(row[columns.label]),
    )


def _file(row: Mapping[str, Any], column: str, root: str) -> bytes | None:
    """Return an image file: its bytes, or what lies at its path."""
    value = row[column]
    if value is None:
        return None
    data: bytes | None = value["bytes"]
    if data is None and value["path"]:
        with open(os.path.join(root, value["path"]), "rb") as file:
            data = file.read()
    return data


def _mask(data: bytes) -> bytes:
    """Return a mask as PNG: as it is where it is one."""
    if read_header(data).format == "png":
        return data
    return mask_member(decode_mask(data, limits=ImageLimits()))


def _label(value: Any) -> float | list[float] | None:  # noqa: ANN401  # of any column
    """Return a label that is a number or a vector; class ids have their own place."""
    if isinstance(value, list):
        if any(one is None or not math.isfinite(one) for one in value):
            raise SampleBroken(f"its label {value!r:.200} has what is no finite number")
        return list(value)
    if isinstance(value, float) and not math.isnan(value):
        return value
    return None


def _objects(
    value: Any,  # noqa: ANN401  # of two layouts
    columns: Columns,
    ids: Mapping[Any, int],
) -> list[dict[str, Any]]:
    if isinstance(value, Mapping):  # lists by name, as Sequence stores a mapping
        lengths = {name: len(one or ()) for name, one in value.items()}
        if len(set(lengths.values())) > 1:
            raise SampleBroken(f"its objects are not as many each: {lengths}")
        count = max(lengths.values(), default=0)
        value = [{name: value[name][i] for name in value} for i in range(count)]
    return [_object(one, columns, ids) for one in value or ()]


def _object(
    one: Mapping[str, Any], columns: Columns, ids: Mapping[Any, int]
) -> dict[str, Any]:
    box = one[columns.boxes]
    if box is None or len(box) != 4 or None in box:
        raise SampleBroken(f"a box is 4 numbers, got {box!r:.200}")
    x, y, right, bottom = box
    if columns.bbox_format == "coco":
        right, bottom = x + right, y + bottom
    found: dict[str, Any] = {"bbox": [float(edge) for edge in (x, y, right, bottom)]}
    if columns.categories is not None:
        category = one[columns.categories]
        found["label"] = -1 if category is None else ids.get(category, category)
    taken = {columns.boxes, columns.categories}
    rest = {name: plain(other) for name, other in one.items() if name not in taken}
    return {**rest, **found}


def plain(value: Any) -> Any:  # noqa: ANN401  # of any column
    """Return a value as JSON holds it: NaN as null, times as ISO 8601 writes them."""
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, date | time):
        return value.isoformat()
    return None if isinstance(value, float) and math.isnan(value) else value
