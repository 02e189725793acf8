"""A sample as users hand it in, to the members of a shard."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.header import ImageHeader, ImageLimits, read_header
from fiberaug.decode.image import decode_image
from fiberaug.errors import StoreError, UsageError

__all__ = ["ENCODINGS", "encode_image", "encode_sample", "image_member", "recode"]

ENCODINGS = {"jpeg": "jpg", "webp": "webp", "png": "png"}
_EXTENSIONS = {
    "jpeg": "jpg",
    "png": "png",
    "webp": "webp",
    "bmp": "bmp",
    "gif": "gif",
    "tiff": "tif",
    "ppm": "ppm",
}
_LISTS = ("bboxes", "bbox_labels", "keypoints")


def encode_image(
    pixels: NDArray[np.uint8], encoding: str, *, quality: int = 90
) -> bytes:
    """Return uint8 [H, W] or RGB [H, W, 3] as an image file.

    Args:
        pixels: The pixels.
        encoding: ``jpeg``, ``webp`` or ``png``.
        quality: Of JPEG and WebP, 1 to 100.

    Raises:
        UsageError: The pixels or the encoding do not fit.
    """
    if encoding not in ENCODINGS:
        raise UsageError(
            f"encoding must be one of {sorted(ENCODINGS)}, got {encoding!r}"
        )
    if (
        pixels.dtype != np.uint8
        or pixels.ndim not in {2, 3}
        or (pixels.ndim == 3
        and pixels.shape[2] != 3)
    ):
        raise UsageError(
            f"an image is uint8 [H, W] or [H, W, 3], got {pixels.dtype} {list(pixels.shape)}"
        )
    options = {
        "jpeg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        "webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
        "png": [cv2.IMWRITE_PNG_COMPRESSION, 6],
    }[encoding]
    flipped = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    done, data = cv2.imencode("." + ENCODINGS[encoding], flipped, options)
    if not done:
        raise UsageError(f"OpenCV cannot write {list(pixels.shape)} as {encoding}")
    return data.tobytes()


def image_member(data: bytes) -> tuple[str, ImageHeader]:
    """Return the extension for image bytes, from what they are, and their header.

    Raises:
        SampleBroken: They are no image.
    """
    header = read_header(data)
    return _EXTENSIONS.get(header.format, header.format), header


def recode(
    data: bytes, *, encoding: str = "keep", resize: int | None = None, quality: int = 90
) -> tuple[str, bytes]:
    """Return (extension, bytes) of an image, kept as it is where nothing is asked.

    A re-encoded image is upright, and has neither EXIF nor profile.

    Args:
        data: An image file.
        encoding: ``keep``, ``jpeg``, ``webp`` or ``png``.
        resize: Length of the shorter side, px; smaller images are not enlarged.
        quality: Of JPEG and WebP, 1 to 100.

    Raises:
        SampleBroken: The bytes are no image.
    """
    extension, header = image_member(data)
    shrink = resize is not None and min(header.width, header.height) > resize
    if not shrink and (encoding == "keep" or ENCODINGS[encoding] == extension):
        return extension, data
    pixels, _ = decode_image(data, limits=ImageLimits())
    if shrink and resize is not None:
        height, width = pixels.shape[:2]
        scale = resize / min(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = np.asarray(
            cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8
        )
    if encoding == "keep":
        encoding = next((e for e, x in ENCODINGS.items() if x == extension), "png")
    return ENCODINGS[encoding], encode_image(pixels, encoding, quality=quality)


def encode_sample(
    sample: Mapping[str, Any], class_id: Callable[[str], int], *, encoding: str = "png"
) -> dict[str, bytes]:
    """Return the members of a sample by extension.

    Args:
        sample: Field names (``image``, ``label``, ``mask``, ``bboxes``, ``bbox_labels``,
            ``keypoints``, ``caption``) or extensions (``jpg``, ``cls``, ``json``, ...).
            Images are bytes, paths, PIL images or arrays.
        class_id: The id of a class name.
        encoding: How arrays become images: ``png``, ``jpeg`` or ``webp``.

    Raises:
        UsageError: A value cannot be stored, or two have one extension.
        SampleBroken: Image bytes are no image.
    """
    members: dict[str, bytes] = {}
    metadata: dict[str, Any] = {}
    for name, value in sample.items():
        if name.startswith("__") or value is None or name in _LISTS:
            continue
        if name == "json":
            if not isinstance(value, Mapping):
                raise UsageError(f"json must be a mapping, got {type(value).__name__}")
            metadata.update(value)
            continue
        if name == "label" and isinstance(value, list | tuple | np.ndarray):
            metadata["label"] = np.asarray(value).tolist()
            continue
        extension, data = _member(name, value, class_id, encoding)
        if extension in members:
            raise UsageError(f"two fields would be stored as .{extension}")
        members[extension] = data
    metadata.update(_annotations(sample, class_id))
    if metadata:
        members["json"] = json.dumps(metadata, sort_keys=True, allow_nan=False).encode()
    if not members:
        raise UsageError(f"the sample has nothing to store: {sorted(sample)}")
    return members


def _member(
    name: str,
    value: Any,
    class_id: Callable[[str], int],
    encoding: str,
) -> tuple[str, bytes]:
    if name == "image":
        if isinstance(value, bytes | bytearray | Path):
            data = _bytes(value)
            return image_member(data)[0], data
        return ENCODINGS[encoding], encode_image(np.asarray(value), encoding)
    if name == "mask":
        return "mask.png", _bytes(value) if isinstance(value, bytes | Path) else _mask(
            value
        )
    if name == "label":
        return "cls", _label(value, class_id).encode()
    if name == "caption":
        return "txt", str(value).encode()
    if isinstance(value, bytes | bytearray | Path):
        return name.lower(), _bytes(value)
    return _by_extension(name.lower(), value)


def _by_extension(name: str, value: Any) -> tuple[str, bytes]:  # noqa: ANN401
    last = name.rpartition(".")[2]
    if isinstance(value, str | int | float):
        return name if last in {"cls", "txt"} else f"{name}.txt", str(value).encode()
    if isinstance(value, np.ndarray) and last in {"jpg", "jpeg", "png", "webp"}:
        return name, encode_image(value, "jpeg" if last.startswith("jp") else last)
    if isinstance(value, np.ndarray):
        import io  # noqa: PLC0415

        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        return name if last == "npy" else f"{name}.npy", buffer.getvalue()
    if isinstance(value, Mapping | list | tuple):
        text = json.dumps(value, sort_keys=True, allow_nan=False)
        return name if last == "json" else f"{name}.json", text.encode()
    raise UsageError(
        f"field {name!r} is a {type(value).__name__}; give bytes, text, a number, an array"
        " or something that JSON can hold"
    )


def _bytes(value: Any) -> bytes:  # noqa: ANN401
    if not isinstance(value, Path):
        return bytes(value)
    try:
        return value.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {value}: {error.strerror}") from error


def _mask(value: Any) -> bytes:  # noqa: ANN401
    mask = np.asarray(value)
    if mask.ndim != 2 or mask.min(initial=0) < 0 or mask.max(initial=0) > 65_535:
        raise UsageError(
            f"a mask is [H, W] class ids from 0 to 65535, got shape {mask.shape}"
        )
    kind = np.uint8 if mask.max(initial=0) < 256 else np.uint16
    return cv2.imencode(".png", mask.astype(kind))[1].tobytes()


def _label(value: Any, class_id: Callable[[str], int]) -> str:  # noqa: ANN401
    if isinstance(value, str):
        return str(class_id(value))
    number = float(value)
    if not math.isfinite(number):
        raise UsageError(f"label must be finite, got {value!r}")
    return (
        str(int(number))
        if number.is_integer() and not isinstance(value, float)
        else repr(number)
    )


def _annotations(
    sample: Mapping[str, Any], class_id: Callable[[str], int]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "bboxes" in sample:
        boxes = np.asarray(sample["bboxes"], np.float64).reshape(-1, 4).tolist()
        labels = list(sample.get("bbox_labels", ()))
        if labels and len(labels) != len(boxes):
            raise UsageError(f"{len(boxes)} bboxes, but {len(labels)} bbox_labels")
        found["objects"] = [
            {"bbox": box}
            | (
                {
                    "label": class_id(labels[i])
                    if isinstance(labels[i], str)
                    else int(labels[i])
                }
                if labels
                else {}
            )
            for i, box in enumerate(boxes)
        ]
    if "keypoints" in sample:
        points = np.asarray(sample["keypoints"], np.float64)
        found["keypoints"] = points.reshape(-1, 2).tolist()
    return found
