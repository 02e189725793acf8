"""Pixels of policies on single images: Pillow's operations, and maps of annotations."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from fiberaug.errors import UsageError
from fiberaug.warping import composed, inverse, source_pixels

__all__ = ["Steps", "change", "move_boxes", "move_mask", "noise", "point_matrix"]

Steps = Sequence[tuple[str, float]]
"""(operation, signed magnitude) in order."""

Size = tuple[int, int]
_HOW = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR}
_MASK = 0xFFFFFFFF


def _factor(kind: Any) -> Callable[[Image.Image, float], Image.Image]:  # noqa: ANN401
    return lambda picture, magnitude: kind(picture).enhance(1 + magnitude)


def _posterize(picture: Image.Image, bits: float) -> Image.Image:
    kept = 256 - 2 ** (8 - int(bits))  # ImageOps.posterize refuses 0 bits
    return picture.point([level & kept for level in range(256)] * len(picture.mode))


def _solarize(picture: Image.Image, magnitude: float) -> Image.Image:
    # A threshold that falls on a level inverts it, however its share was rounded.
    return ImageOps.solarize(picture, math.ceil(255 * magnitude - 1e-4))


_COLOURS: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "Brightness": _factor(ImageEnhance.Brightness),
    "Color": _factor(ImageEnhance.Color),
    "Contrast": _factor(ImageEnhance.Contrast),
    "Sharpness": _factor(ImageEnhance.Sharpness),
    "Posterize": _posterize,
    "Solarize": _solarize,
    "AutoContrast": lambda picture, _: ImageOps.autocontrast(picture),
    "Equalize": lambda picture, _: ImageOps.equalize(picture),
    "Invert": lambda picture, _: ImageOps.invert(picture),
}


def change(
    image: NDArray[Any],
    steps: Steps,
    *,
    interpolation: str,
    fill: float | Sequence[float],
    name: str,
) -> NDArray[np.uint8]:
    """Return an image after operations, one behind the other.

    Args:
        image: uint8 [H, W, C] or [H, W], with 1 or 3 channels.
        steps: The operations.
        interpolation: ``nearest`` or ``bilinear``.
        fill: Level, or levels of channels, of what comes from outside of the image.
        name: Of the policy, for the message.

    Raises:
        UsageError: The image is none of these.
    """
    channels = 1 if image.ndim == 2 else image.shape[2]
    if image.dtype != np.uint8 or channels not in {1, 3}:
        raise UsageError(
            f"{name} takes uint8 images of 1 or 3 channels, got {image.dtype} and"
            f" {channels}: put it before what makes others, such as ToFloat, or decode"
            ' with {"depth": "uint8", "color": "rgb"}',
            stage="augment",
        )
    size = image.shape[:2]
    picture = Image.fromarray(image if channels == 3 else image.reshape(size))
    fill_of = _levels(name, fill, channels)
    for operation, magnitude in steps:
        back = inverse(operation, magnitude, size)
        if back is not None:
            picture = picture.transform(
                picture.size,
                Image.Transform.AFFINE,
                back,
                _HOW[interpolation],
                fillcolor=fill_of,
            )
        elif operation in _COLOURS:
            picture = _COLOURS[operation](picture, magnitude)
    return np.array(picture).reshape(image.shape)  # a copy that can be written to


def _levels(
    name: str, fill: float | Sequence[float], channels: int
) -> int | tuple[int, ...]:
    levels = [int(v) for v in (fill if isinstance(fill, Sequence) else [fill])]
    if len(levels) not in {1, channels}:
        raise UsageError(
            f"{name}: fill has {len(levels)} levels, the image {channels} channels:"
            " give one level, or one for each",
            stage="augment",
        )
    return levels[0] if channels == 1 else tuple(levels * (3 // len(levels)))


# ---- what goes along -----------------------------------------------------------------


def move_mask(mask: NDArray[Any], steps: Steps, fill: float) -> NDArray[Any]:
    """Return a mask [H, W] or [H, W, C] moved as the image, to the nearest pixel."""
    size = mask.shape[:2]
    for operation, magnitude in steps:
        back = inverse(operation, magnitude, size)
        if back is not None:
            at, inside = source_pixels(back, size)
            moved = mask.reshape(size[0] * size[1], -1)[at]
            moved[~inside] = fill
            mask = moved.reshape(mask.shape)
    return mask


def move_boxes(boxes: NDArray[Any], steps: Steps, size: Size) -> NDArray[Any]:
    """Return the upright boxes around moved boxes.

    Args:
        boxes: [N, 4+] of x_min, y_min, x_max, y_max as shares of the image, and more
            columns, which stay.
        steps: The operations.
        size: (height, width) of the image, px.
    """
    matrix = composed(steps, size)
    if matrix is None or not len(boxes):
        return boxes
    scale = np.array([size[1], size[0]], np.float64)
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2) * scale
    moved = (corners @ matrix[:2, :2].T + matrix[:2, 2]) / scale
    found = boxes.copy()
    found[:, :2], found[:, 2:4] = moved.min(axis=1), moved.max(axis=1)
    return found


def point_matrix(steps: Steps, size: Size) -> NDArray[np.float64] | None:
    """Return [3, 3] of where points go, counted from the middle of the first pixel."""
    matrix = composed(steps, size)
    if matrix is None:
        return None
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    found: NDArray[np.float64] = np.linalg.inv(half) @ matrix @ half
    return found


def noise(seed: int, box: Sequence[int], shape: tuple[int, int, int]) -> NDArray[Any]:
    """Return levels of noise, uniform, int64 [height, width, C].

    Each level is a hash of the seed and of the place in the image, so that every engine
    and device makes the same.

    Args:
        seed: 32 bits.
        box: (top, left, height, width), px.
        shape: [H, W, C] of the image.
    """
    top, left, height, width = box
    y = np.arange(top, top + height, dtype=np.int64)[:, None, None]
    x = np.arange(left, left + width, dtype=np.int64)[:, None]
    channel = np.arange(shape[2], dtype=np.int64)
    place = (channel * shape[0] + y) * shape[1] + x
    # Two rounds of multiply and shift with constants below 2**31, which no product
    # overflows: C. Wellons, "Prospecting for Hash Functions".
    mixed = (place * 0x1E3779B1 + seed) & _MASK
    mixed = ((mixed ^ (mixed >> 16)) * 0x21F0AAAD) & _MASK
    mixed = ((mixed ^ (mixed >> 15)) * 0x735A2D97) & _MASK
    return (mixed ^ (mixed >> 15)) >> 24
