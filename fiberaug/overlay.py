"""Annotations drawn over an image, for a person to see whether they fit."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["ANNOTATIONS", "draw_annotations", "viewable"]

ANNOTATIONS = ("mask", "masks", "bboxes", "keypoints", "polygons")
_SHARE = 0.45  # of a mask's colour
_SHORTEST_PX = 320  # smaller pictures are enlarged, so that lines do not hide them
_COLOURS = (
    (230, 60, 60), (60, 180, 75), (60, 120, 230), (250, 190, 40), (190, 75, 220),
    (40, 200, 200), (245, 130, 48), (240, 50, 200), (150, 200, 30), (120, 90, 60),
)  # fmt: skip


def viewable(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return any image [H, W, C] as uint8 RGB [H, W, 3].

    Args:
        image: uint8, uint16, or float; floats outside of [0, 1] are stretched to their
            own range.
    """
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.dtype == np.uint16:
        pixels = pixels >> 8
    elif pixels.dtype != np.uint8:
        low, high = float(pixels.min(initial=0)), float(pixels.max(initial=1))
        pixels = (pixels - low) / max(high - low, 1e-12) * 255
    pixels = pixels.astype(np.uint8)
    if pixels.shape[2] in {1, 2}:
        pixels = pixels[:, :, :1].repeat(3, axis=2)
    return np.ascontiguousarray(pixels[:, :, :3])


def draw_annotations(
    fields: Mapping[str, Any], classes: Sequence[str] = ()
) -> NDArray[np.uint8]:
    """Return a sample's image with its masks, boxes, points and polygons drawn.

    Args:
        fields: ``image`` [H, W, C] and annotations in its pixels.
        classes: Names of the classes of boxes.
    """
    pixels = viewable(fields["image"])
    mask = fields.get("mask")
    if mask is not None:
        for number in np.unique(mask):
            if number:
                pixels = _tinted(pixels, mask == number, int(number))
    for i, one in enumerate(fields["masks"] if fields.get("masks") is not None else ()):
        pixels = _tinted(pixels, one > 0, i + 1)
    scale = max(1, -(-_SHORTEST_PX // min(pixels.shape[:2])))
    picture = Image.fromarray(pixels)
    picture = picture.resize(
        (picture.width * scale, picture.height * scale), Image.Resampling.NEAREST
    )
    _draw(ImageDraw.Draw(picture), fields, classes, scale, max(picture.size))
    return np.array(picture)


def _colour(number: int) -> tuple[int, int, int]:
    return _COLOURS[number % len(_COLOURS)]


def _tinted(
    pixels: NDArray[np.uint8], inside: NDArray[np.bool_], number: int
) -> NDArray[np.uint8]:
    mixed = pixels * (1 - _SHARE) + np.array(_colour(number)) * _SHARE
    return np.where(inside[:, :, None], mixed.astype(np.uint8), pixels)


def _draw(
    pen: ImageDraw.ImageDraw,
    fields: Mapping[str, Any],
    classes: Sequence[str],
    scale: int,
    side: int,
) -> None:
    width = max(2, side // 400)
    font = ImageFont.load_default(max(11, side // 60))
    polygons = fields.get("polygons")
    for i, corners in enumerate(polygons if polygons is not None else ()):
        line = [tuple(point) for point in np.asarray(corners) * scale]
        if len(line) > 1:
            pen.line([*line, line[0]], fill=_colour(i), width=width)
    boxes, labels = fields.get("bboxes"), fields.get("bbox_labels")
    for i, box in enumerate(boxes if boxes is not None else ()):
        label = int(labels[i]) if labels is not None else 0
        corner = [float(v) * scale for v in box]
        pen.rectangle(corner, outline=_colour(label), width=width)
        name = classes[label] if 0 <= label < len(classes) else str(label)
        if labels is not None:
            place = corner[0] + width, max(0.0, corner[1] - font.size - 4)  # type: ignore[union-attr]
            pen.rectangle(pen.textbbox(place, name, font=font), fill=_colour(label))
            pen.text(place, name, fill=(255, 255, 255), font=font)
    points = fields.get("keypoints")
    for i, (x, y) in enumerate(np.asarray(points)[:, :2] if points is not None else ()):
        around = [x * scale - 2 * width, y * scale - 2 * width]
        pen.ellipse([*around, around[0] + 4 * width, around[1] + 4 * width],
                    outline=(255, 255, 255), fill=_colour(i), width=1)  # fmt: skip
