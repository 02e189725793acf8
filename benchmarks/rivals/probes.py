"""What was done to a photo, read off the pixels that were delivered.

Photos of the probe say where each pixel came from, so the crop that a loader drew can
be measured without asking the loader. Needs nothing but NumPy.

``place``: red grows with x, green with y. A straight line fitted to the mean row and
column of a delivered image gives the crop's sides and place, and its direction.
``stripes``: gray waves of 20 px along both sides. What jitter of colours and gray does
to them leaves their frequency, which gives the crop's sides.
``boxes``: a bright rectangle on a dark ground, its left half the brighter one. The
rectangle found in the pixels is compared with the box and mask that were delivered.

The number of a photo is its label, and blue (place) tells it modulo 16.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["PERIOD_PX", "measure", "render", "summary", "texture"]

PERIOD_PX = 20
MEAN = np.array((0.485, 0.456, 0.406), np.float32)[:, None, None]
STD = np.array((0.229, 0.224, 0.225), np.float32)[:, None, None]


def render(kind: str, number: int, width: int, height: int) -> np.ndarray:
    """Return photo ``number`` of a probe, uint8 [height, width, 3]."""
    x, y = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    image = np.empty((height, width, 3))
    if kind == "place":
        image[..., 0], image[..., 1] = 255 * x / width, 255 * y / height
        image[..., 2] = 8 + 16 * (number % 16)
    elif kind == "stripes":
        waves = np.sin(2 * np.pi * x / PERIOD_PX) + np.sin(2 * np.pi * y / PERIOD_PX)
        image[:] = (128 + 30 * waves)[..., None]
    else:
        left, top, right, bottom = box(number, width, height)
        image[:] = 30
        image[top:bottom, left:right] = 170
        image[top:bottom, left : (left + right) // 2] = 250
    return np.rint(image).astype(np.uint8)


def box(number: int, width: int, height: int) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the rectangle of a photo, px."""
    rng = np.random.default_rng(number)
    w, h = rng.integers(width // 8, width // 3), rng.integers(height // 8, height // 3)
    left, top = rng.integers(0, width - w), rng.integers(0, height - h)
    return int(left), int(top), int(left + w), int(top + h)


def measure(
    image: np.ndarray, batch: Mapping[str, Any], probe: Mapping[str, Any]
) -> list[dict[str, float]]:
    """Return a row of what was measured for each image [B, 3, H, W] of a batch."""
    width, height = probe["width"], probe["height"]
    pixels = _unit(image)
    if probe["kind"] == "place":
        labels = [int(label) for label in batch["label"]]
        pairs = zip(pixels, labels, strict=True)
        return [_place(p, n, width, height) for p, n in pairs]
    if probe["kind"] == "stripes":
        return [_stripes(p, width, height) for p in pixels]
    targets = zip(pixels, batch["bboxes"], batch["mask"], strict=True)
    return [_boxes(p, np.asarray(b), np.asarray(m)) for p, b, m in targets]


def _unit(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8:
        return image.astype(np.float32) / 255
    return image * STD + MEAN


def _line(values: np.ndarray, length: int) -> tuple[float, float]:
    """Fit values = (start + size (j + 1/2) / n) / length; return start and size, px."""
    n = len(values)
    inner = slice(n // 16, n - n // 16)  # borders are where resampling differs
    slope, start = np.polyfit((np.arange(n) + 0.5)[inner], values[inner], 1)
    return start * length, slope * n * length


def _place(
    pixels: np.ndarray, number: int, width: int, height: int
) -> dict[str, float]:
    x, w = _line(pixels[0].mean(0), width)
    y, h = _line(pixels[1].mean(1), height)
    code = (float(pixels[2].mean()) * 255 - 8) / 16
    return {
        "area": abs(w * h) / (width * height), "aspect": abs(w / h),
        "x": (x + w / 2) / width, "y": (y + h / 2) / height,
        "flip": float(w < 0), "upright": float(h > 0),
        "match": float(abs(code - number % 16) < 0.4),
    }  # fmt: skip


def _cycles(values: np.ndarray) -> float:
    n = len(values)
    window = np.hanning(n)
    spectrum = np.abs(np.fft.rfft((values - values.mean()) * window, 16 * n))
    spectrum[: 16 * 3] = 0  # slower than three waves: no crop is that small
    return int(spectrum.argmax()) / 16


def _stripes(pixels: np.ndarray, width: int, height: int) -> dict[str, float]:
    gray = pixels.mean(0)
    w, h = (PERIOD_PX * _cycles(gray.mean(axis)) for axis in (0, 1))
    return {"area": w * h / (width * height), "aspect": w / max(h, 1.0)}


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def _boxes(pixels: np.ndarray, boxes: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    gray = pixels.mean(0)
    dark, bright = np.percentile(gray, (1, 99))
    seen, told = gray > (dark + bright) / 2, np.zeros(gray.shape, bool)
    found = {"boxes": float(len(boxes))}
    if len(boxes) == 0:
        return found | {"box": 0.0, "mask": 0.0, "flip": 0.0, "area": 0.0}
    left, top, right, bottom = (round(float(side)) for side in boxes[0][:4])
    told[max(0, top) : bottom, max(0, left) : right] = True
    middle = (left + right) // 2
    halves = gray[top:bottom, left:middle], gray[top:bottom, middle:right]
    there = min(half.size for half in halves) > 0
    return found | {
        "box": _iou(seen, told), "mask": _iou(seen, mask > 0),
        "flip": float(there and halves[0].mean() < halves[1].mean()),
        "area": float(told.mean()),
    }  # fmt: skip


def texture(image: np.ndarray) -> np.ndarray:
    """Return brightness, contrast, colour, edges and grayness of images, [B, 5]."""
    pixels = _unit(image)
    gray = pixels.mean(1)
    colour = pixels.max(1) - pixels.min(1)
    return np.stack(
        [
            gray.mean((1, 2)),
            gray.std((1, 2)),
            colour.mean((1, 2)),
            np.abs(np.diff(gray, axis=2)).mean((1, 2)),
            (colour.max((1, 2)) < 0.02).astype(np.float32),
        ],
        axis=1,
    )


def summary(textures: list[np.ndarray]) -> dict[str, float]:
    """Return what the textures of many images say together."""
    rows = np.concatenate(textures)
    names = ("brightness", "contrast", "colour", "edges")
    found = {name: float(rows[:, i].mean()) for i, name in enumerate(names)}
    found["brightness_spread"] = float(rows[:, 0].std())
    low, high = np.percentile(rows[:, 3], (10, 90))
    found |= {"edges_low": float(low), "edges_high": float(high)}
    found["gray"] = float(rows[:, 4].mean())
    found["images"] = len(rows)
    return {name: round(value, 5) for name, value in found.items()}
