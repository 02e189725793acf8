"""The features of a record to one sample."""

import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from fiberaug.decode.header import ImageLimits, read_header
from fiberaug.decode.image import decode_mask
from fiberaug.errors import SampleBroken
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.framing import is_stored
from fiberaug.jobs.items import Raw
from fiberaug.jobs.members import mask_member
from fiberaug.jobs.sources.tfrecord_columns import (
    BOX,
    OBJECTS,
    Columns,
    Said,
    object_labels,
)
from fiberaug.jobs.sources.tfrecord_example import Values

__all__ = ["read_features"]

_RENAMED = {"is_crowd": "iscrowd"}  # as COCO has it


def read_features(
    features: Mapping[str, Values],
    columns: Columns,
    ids: Mapping[Said, int],
    *,
    label: str,
    frame: str | None,
) -> Raw:
    """Return the features of a record as a sample; boxes in px.

    Args:
        features: Values by name.
        columns: What the features are.
        ids: Class ids of objects by what the records say.
        label: ``number`` or ``vector`` where the label is no class.
        frame: Pixels that boxes are for, where the user says it.

    Raises:
        SampleBroken: There is no image, or the boxes are none.
        FrameUnknown: The image is turned, and nothing tells what boxes are for.
    """
    data, stated = _image(features, columns)
    members: dict[str, bytes] = {}
    if columns.mask is not None and columns.mask in features:
        mask = _one(features, columns.mask)
        members["mask.png"] = (
            mask
            if read_header(mask).format == "png"
            else mask_member(decode_mask(mask, limits=ImageLimits()))
        )
    if columns.caption is not None and columns.caption in features:
        members["txt"] = b"\n".join(map(_bytes, features[columns.caption]))
    notes = {
        name: _plain(features[name]) for name in columns.extras if name in features
    }
    if columns.boxes:
        size = stated
        if size is None and BOX[0] in features:
            header = read_header(data)
            stored = is_stored(Raw(data), header, frame)
            size = (header.width, header.height) if stored else header.upright
        notes["objects"] = _objects(features, columns, ids, size or (1, 1))
    return Raw(
        data,
        notes or None,
        members,
        stated=stated,
        frame=frame,
        label=_label(features, columns.label, label),
    )


def _image(
    features: Mapping[str, Values], columns: Columns
) -> tuple[bytes, tuple[int, int] | None]:
    """Return an image file, and the size that the record says it has."""
    data = _one(features, columns.image)
    height, width = (_size(features, name) for name in (columns.height, columns.width))
    stated = (width, height) if width and height else None
    raw = 0 if stated is None else _channels(features, columns, len(data), stated)
    try:
        header = read_header(data)
        if not raw or stated in {(header.width, header.height), header.upright}:
            return data, stated
    except SampleBroken as error:
        if not raw:
            raise _no_image(columns, data, stated, error) from error
    width, height = stated or (0, 0)
    pixels = np.frombuffer(data, np.uint8).reshape(height, width, raw)
    if raw == 4:
        flipped = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA)
        return cv2.imencode(".png", flipped)[1].tobytes(), stated
    return encode_image(pixels[:, :, 0] if raw == 1 else pixels, "png"), stated


def _channels(
    features: Mapping[str, Values],
    columns: Columns,
    length: int,
    stated: tuple[int, int],
) -> int:
    """Return the channels that bytes have as uint8 pixels; 0 where they are none."""
    told = _size(features, columns.channels)
    fit = (n for n in (1, 3, 4) if length == math.prod(stated) * n and told in {0, n})
    return next(fit, 0)


def _no_image(
    columns: Columns,
    data: bytes,
    stated: tuple[int, int] | None,
    error: SampleBroken,
) -> SampleBroken:
    if stated is None:
        return SampleBroken(
            f"{columns.image}: {error.message}; of raw pixels nothing says height and"
            ' width: name them, columns={"height": ..., "width": ...} (--column'
            " height=...)"
        )
    return SampleBroken(
        f"{columns.image}: {error.message}, and {len(data)} bytes are no uint8 pixels"
        f" of {stated[0]}x{stated[1]} px in 1, 3 or 4 channels"
    )


def _one(features: Mapping[str, Values], name: str | None) -> bytes:
    values = features.get(name or "", [])
    if len(values) != 1:
        raise SampleBroken(f"the record has {len(values)} values of {name!r}, not one")
    return _bytes(values[0])


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise SampleBroken(f"{value!r:.80} is a number where bytes are expected")
    return value


def _size(features: Mapping[str, Values], name: str | None) -> int:
    """Return a number of pixels or channels; 0 where the record has none."""
    values = features.get(name or "", [])
    value = values[0] if len(values) == 1 else 0
    return max(value, 0) if isinstance(value, int) else 0


def _label(
    features: Mapping[str, Values], name: str | None, kind: str
) -> float | list[float] | None:
    values = features.get(name or "", [])
    if not values or kind not in {"number", "vector"}:
        return None
    numbers = [_number(value) for value in values if not isinstance(value, bytes)]
    if not all(map(math.isfinite, numbers)):
        raise SampleBroken(f"its label {numbers!r:.200} has what is no finite number")
    return numbers if kind == "vector" else numbers[0]


def _objects(
    features: Mapping[str, Values],
    columns: Columns,
    ids: Mapping[Said, int],
    size: tuple[int, int],
) -> list[dict[str, Any]]:
    edges = [features.get(name, []) for name in BOX]
    if len({len(edge) for edge in edges}) > 1:
        counts = {name: len(edge) for name, edge in zip(BOX, edges, strict=True)}
        raise SampleBroken(f"corners of boxes are not as many each: {counts}")
    said = [*object_labels(features)]
    objects: list[dict[str, Any]] = []
    for i, corners in enumerate(zip(*edges, strict=True)):
        one: dict[str, Any] = {
            _RENAMED.get(short := name.removeprefix(OBJECTS), short): _plain(
                features[name][i : i + 1]
            )
            for name in columns.of_objects
            if name in features
        }
        scale = size if columns.normalized else (1, 1)
        one["bbox"] = [
            round(_corner(corner) * scale[k % 2], 4) for k, corner in enumerate(corners)
        ]
        if columns.named:
            one["label"] = ids.get(said[i], -1)
        objects.append(one)
    return objects


def _corner(value: object) -> float:
    if isinstance(value, bytes) or not math.isfinite(float(str(value))):
        raise SampleBroken(f"a corner of a box is {value!r:.80}, no finite number")
    return float(str(value))


def _plain(values: Values) -> Any:  # noqa: ANN401  # JSON
    """Return values as JSON holds them; one alone is no list."""
    found = [
        value.decode(errors="backslashreplace")
        if isinstance(value, bytes)
        else _number(value)
        for value in values
    ]
    return found[0] if len(found) == 1 else found


def _number(value: Any) -> Any:  # noqa: ANN401  # int or float
    """Return a float32 by its shortest digits: 0.1, and not 0.10000000149."""
    return float(str(np.float32(value))) if isinstance(value, float) else value
