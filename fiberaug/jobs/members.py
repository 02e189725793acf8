"""A sample as users hand it in, to the members of a shard."""

import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fiberaug.decode.text import parse_json
from fiberaug.errors import StoreError, UsageError
from fiberaug.jobs.encoding import encode_image, image_member

__all__ = ["encode_sample", "mask_member"]

_ELSEWHERE = ("bboxes", "bbox_labels", "keypoints", "json")  # become one member
_ENCODED = {"jpg": "jpeg", "jpeg": "jpeg", "png": "png", "webp": "webp"}


def encode_sample(
    sample: Mapping[str, Any], class_id: Callable[[str], int], *, encoding: str = "png"
) -> dict[str, bytes]:
    """Return the members of a sample by extension.

    Args:
        sample: Field names (``image``, ``label``, ``mask``, ``bboxes``,
            ``bbox_labels``, ``keypoints``, ``caption``) or extensions (``jpg``,
            ``cls``, ``json``, ...). Images are bytes, paths, PIL images or arrays.
        class_id: The id of a class name.
        encoding: How arrays become images: ``png``, ``jpeg`` or ``webp``.

    Raises:
        UsageError: A value cannot be stored, or two have one extension.
        SampleBroken: Image bytes are no image.
    """
    members: dict[str, bytes] = {}
    metadata = _annotations(sample, class_id)
    for name, value in sample.items():
        if name.startswith("__") or value is None or name in _ELSEWHERE:
            continue
        if name == "label" and isinstance(label := _plain(value), list):
            metadata["label"] = _vector(label)
            continue
        extension, data = _member(name, value, class_id, encoding)
        if extension in members:
            raise UsageError(f"two fields would be stored as .{extension}")
        members[extension] = data
    given = sample.get("json")
    if isinstance(given, bytes | bytearray) and not metadata:
        members["json"] = bytes(given)
    elif given is not None or metadata:
        members["json"] = _json("json", {**_metadata(given), **metadata})
    if not members:
        raise UsageError(f"the sample has nothing to store: {sorted(sample)}")
    return members


def _metadata(value: Any) -> dict[str, Any]:  # noqa: ANN401  # what the user gave
    if value is None:
        return {}
    if isinstance(value, bytes | bytearray | str):
        value = parse_json(value.encode() if isinstance(value, str) else bytes(value))
    if not isinstance(value, Mapping):
        raise UsageError(f"json must be a mapping, got {type(value).__name__}")
    return dict(value)


def _plain(value: Any) -> Any:  # noqa: ANN401  # an array, a tensor or a scalar
    """Return a label as a Python scalar, or as a list where it is a vector."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return list(value) if isinstance(value, tuple) else value


def _vector(values: list[Any]) -> list[float]:
    try:
        vector = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        vector = np.zeros((0, 0))
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise UsageError(f"label must be a list of finite numbers, got {values!r:.200}")
    return values


def _member(
    name: str,
    value: Any,  # noqa: ANN401  # what the user gave
    class_id: Callable[[str], int],
    encoding: str,
) -> tuple[str, bytes]:
    raw = isinstance(value, bytes | bytearray | str | Path)
    if name == "image":
        data = _bytes(value) if raw else encode_image(np.asarray(value), encoding)
        return image_member(data)[0], data
    if name == "mask":
        return "mask.png", _bytes(value) if raw else mask_member(value)
    if name == "label":
        return "cls", _label(_plain(value), class_id).encode()
    if name == "caption":
        return "txt", value if isinstance(value, bytes) else str(value).encode()
    if raw and not isinstance(value, str):
        return name.lower(), _bytes(value)
    return _by_extension(name.lower(), value)


def _by_extension(name: str, value: Any) -> tuple[str, bytes]:  # noqa: ANN401
    last = name.rpartition(".")[2]
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, str | int | float):
        return name if last in {"cls", "txt"} else f"{name}.txt", str(value).encode()
    if isinstance(value, np.ndarray) and last in _ENCODED:
        return name, encode_image(value, _ENCODED[last])
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        return name if last == "npy" else f"{name}.npy", buffer.getvalue()
    if isinstance(value, Mapping | list | tuple):
        return name if last == "json" else f"{name}.json", _json(name, value)
    raise UsageError(
        f"field {name!r} is a {type(value).__name__}; give bytes, text, a number, an"
        " array or something that JSON can hold"
    )


def _json(name: str, value: Any) -> bytes:  # noqa: ANN401
    try:
        return json.dumps(value, sort_keys=True, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise UsageError(f"JSON cannot hold {name!r}: {error}") from error


def _bytes(value: Any) -> bytes:  # noqa: ANN401
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    try:
        return Path(value).read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {value}: {error.strerror}") from error


def mask_member(value: Any) -> bytes:  # noqa: ANN401  # what the user gave
    """Return class ids [H, W] as a PNG.

    Raises:
        UsageError: They are no whole numbers from 0 to 65535.
    """
    mask = np.asarray(value)
    whole = mask.dtype.kind in "bui"
    if mask.ndim != 2 or not whole or not mask.size:
        raise UsageError(
            f"a mask is [H, W] integer class ids, got {mask.dtype} {list(mask.shape)}"
        )
    if int(mask.min()) < 0 or int(mask.max()) > 65_535:
        raise UsageError(
            f"class ids of a mask are from 0 to 65535, got {mask.min()} to {mask.max()}"
        )
    kind = np.uint8 if mask.max() < 256 else np.uint16
    return cv2.imencode(".png", mask.astype(kind))[1].tobytes()


def _label(value: Any, class_id: Callable[[str], int]) -> str:  # noqa: ANN401
    if isinstance(value, str):
        return str(class_id(value))
    if isinstance(value, int):
        return str(int(value))
    if not isinstance(value, float) or not math.isfinite(value):
        raise UsageError(
            "label must be a class id, a name, a finite number or a list of them, got"
            f" {value!r:.200}"
        )
    return repr(value)


def _annotations(
    sample: Mapping[str, Any], class_id: Callable[[str], int]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    given = sample.get("bbox_labels")
    labels = [] if given is None else list(given)
    if sample.get("bboxes") is not None:
        boxes = _rows(sample["bboxes"], 4, "bboxes")
        if labels and len(labels) != len(boxes):
            raise UsageError(f"{len(boxes)} bboxes, but {len(labels)} bbox_labels")
        found["objects"] = [{"bbox": box} for box in boxes]
        for item, label in zip(found["objects"], labels, strict=False):
            item["label"] = int(_label(_whole(label), class_id))
    elif labels:
        raise UsageError(f"{len(labels)} bbox_labels, but no bboxes")
    if sample.get("keypoints") is not None:
        found["keypoints"] = _rows(sample["keypoints"], 2, "keypoints")
    return found


def _whole(label: Any) -> Any:  # noqa: ANN401
    label = _plain(label)
    if isinstance(label, float) and label.is_integer():
        return int(label)
    if isinstance(label, str | int):
        return label
    raise UsageError(f"bbox_labels must be class ids or names, got {label!r:.200}")


def _rows(value: Any, width: int, name: str) -> list[Any]:  # noqa: ANN401
    try:
        rows = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} must be numbers [N, {width}]: {error}") from error
    rows = rows.reshape(0, width) if rows.size == 0 else rows
    if rows.ndim != 2 or rows.shape[1] != width or not np.isfinite(rows).all():
        raise UsageError(
            f"{name} must be finite numbers [N, {width}], got {list(rows.shape)}"
        )
    return list(rows.tolist())
