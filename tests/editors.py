"""Editors and photos that tests of edits use."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from fiberaug.decode.fields import parse_fields
from fiberaug.editing import Reading

__all__ = [
    "CLASSES", "FIELDS", "Patches", "Repaint", "exif_of", "jpeg", "members_of", "photo",
    "png", "reading",
]  # fmt: skip

CLASSES = ("ring", "disc", "bar")
FIELDS = {
    "image": "jpg;png;webp",
    "mask?": "mask.png",
    "bboxes?": "json:objects[].bbox",
    "bbox_labels?": "json:objects[].label",
    "keypoints?": "json:keypoints",
    "caption?": "txt",
}


class Repaint:
    """Paints noise of its seed over a whole window, and keeps what it was asked.

    Where it is not told to replace everything, the window shows through.
    """

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def describe(self) -> dict[str, Any]:
        return {"kind": "procedural", "sha256": "0" * 64, "licence": "CC0-1.0"}

    def generate(
        self, seeds: Sequence[int], labels: Sequence[int], **told: Any
    ) -> np.ndarray:
        self.asked.append(told | {"seeds": list(seeds), "labels": list(labels)})
        images, strength = told["image"], told.get("strength", 1.0)
        made = []
        for seed, image in zip(seeds, images, strict=True):
            noise = np.random.default_rng(seed).integers(0, 256, image.shape)
            made.append(image * (1 - strength) + noise * strength)
        return np.stack(made).astype(np.uint8)

    def sample_notes(
        self, seeds: Sequence[int], labels: Sequence[int], **told: Any
    ) -> list[dict[str, Any]]:
        known = {k: v for k, v in told.items() if k not in {"image", "mask", "control"}}
        return [{"params": dict(known)} for _ in seeds]


class Patches:
    """Makes patches of one colour a class, with noise of the seed."""

    classes = CLASSES

    def __init__(self, size: tuple[int, int] = (24, 32)) -> None:
        self.size = size

    def describe(self) -> dict[str, Any]:
        return {"kind": "procedural", "sha256": "1" * 64}

    def generate(
        self, seeds: Sequence[int], labels: Sequence[int], **told: Any
    ) -> np.ndarray:
        assert not told, "a maker of patches is not shown the photo"
        made = []
        for seed, label in zip(seeds, labels, strict=True):
            noise = np.random.default_rng(seed).integers(0, 20, (*self.size, 3))
            made.append(noise + np.array([60, 120, 180])[label])
        return np.stack(made).astype(np.uint8)


def photo(width: int, height: int, seed: int = 0, channels: int = 3) -> np.ndarray:
    """A photo of noise: any pixel that is touched differs."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, channels), np.uint8)


def exif_of(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    if orientation != 1:
        exif[0x0112] = orientation
    return exif.tobytes()


def jpeg(pixels: np.ndarray, orientation: int = 1, **options: Any) -> bytes:
    file = io.BytesIO()
    told = {"quality": 90, "exif": exif_of(orientation)} | options
    Image.fromarray(pixels).save(file, "JPEG", **told)
    return file.getvalue()


def png(pixels: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


def members_of(
    pixels: np.ndarray,
    boxes: Sequence[Sequence[float]] = (),
    labels: Sequence[Any] = (),
    *,
    mask: np.ndarray | None = None,
    caption: str | None = None,
    image: bytes | None = None,
    **notes: Any,
) -> dict[str, bytes]:
    """Return a sample of a shard: an image and what belongs to it."""
    objects = [
        {"bbox": list(box), "label": label}
        for box, label in zip(boxes, labels or [0] * len(boxes), strict=True)
    ]
    told: Mapping[str, Any] = {"objects": objects} | notes
    members = {"jpg": image or jpeg(pixels), "json": json.dumps(told).encode()}
    if mask is not None:
        members["mask.png"] = png(mask)
    if caption is not None:
        members["txt"] = caption.encode()
    return members


def reading(fields: Mapping[str, str] = FIELDS) -> Reading:
    return Reading(specs=parse_fields(dict(fields)), classes=CLASSES)
