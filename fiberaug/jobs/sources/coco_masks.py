"""Outlines of COCO's objects as pixels; what C code would trust is checked first."""

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import LimitExceeded, SampleBroken, UsageError

__all__ = ["check_outlines", "coco_library", "outline_masks"]

_MOST_BYTES = 256 * 2**20  # what is read back of an .npz
_MOST_STEPS = 10**6  # px along one outline: it is walked in steps of a fifth
_COUNTS = re.compile(r"(?:[P-o]{0,6}[0-O])*")


def coco_library() -> Any:  # noqa: ANN401  # a module without types
    """Return ``pycocotools.mask``.

    Raises:
        UsageError: It is not installed.
    """
    try:
        return import_module("pycocotools.mask")
    except ImportError as error:
        raise UsageError(
            'masks of COCO annotations need pycocotools: pip install "fiberaug[coco]"'
        ) from error


def check_outlines() -> None:
    """Check that outlines can become masks.

    Raises:
        UsageError: pycocotools is not installed.
    """
    coco_library()


def outline_masks(
    objects: Sequence[Mapping[str, Any]], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return masks of objects, 0 or 1, uint8 [N, H, W].

    Args:
        objects: With ``segmentation``: polygons, or RLE, compressed or not.
        size: Width and height that the annotations state, px.

    Raises:
        SampleBroken: An outline is missing, or no outline of an image of this size.
        LimitExceeded: The masks take more than 256 MiB.
    """
    width, height = size
    if width < 1 or height < 1:
        raise SampleBroken(f"the annotations state an image of {width}x{height} px")
    if len(objects) * width * height > _MOST_BYTES:
        raise LimitExceeded(
            f"{len(objects)} masks of {width}x{height} px take more than"
            f" {_MOST_BYTES} bytes; make the images smaller, or convert without masks"
        )
    masks = np.zeros((len(objects), height, width), np.uint8)
    for i, one in enumerate(objects):
        try:
            masks[i] = _mask(one.get("segmentation"), width, height)
        except (TypeError, ValueError, OverflowError) as error:
            name = f"object {i}" + (f", id {one['id']!r:.80}" if "id" in one else "")
            raise SampleBroken(f"{name}: segmentation: {error}") from error
    return masks


def _mask(outline: object, width: int, height: int) -> NDArray[np.uint8]:
    if not outline:
        raise ValueError("there is none; convert without masks, or add it")
    if isinstance(outline, Mapping):
        counts = _counts(outline.get("counts"))
        stated = outline.get("size")
        if stated != [height, width]:
            raise ValueError(
                f"its size is {stated!r:.80}, the image's is {[height, width]}"
            )
        if sum(counts) != width * height:
            raise ValueError(
                f"its runs have {sum(counts)} px, the image {width * height}"
            )
        return _filled(counts, width, height)
    if not isinstance(outline, list):
        raise TypeError(f"it must be polygons or RLE, got {outline!r:.80}")
    polygons = [_polygon(polygon) for polygon in outline]
    coco = coco_library()
    rle = coco.merge(coco.frPyObjects(polygons, height, width))
    return _filled(_unpacked(rle["counts"].decode()), width, height)


def _filled(runs: list[int], width: int, height: int) -> NDArray[np.uint8]:
    """Return runs of 0 and 1 by turns, down each column, as a mask [H, W]."""
    values = np.arange(len(runs), dtype=np.uint8) & 1
    return np.repeat(values, runs).reshape(width, height).T


def _polygon(polygon: object) -> list[float]:
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        raise ValueError(
            f"a polygon must be [x, y, ...] of 3 corners or more, got {polygon!r:.80}"
        )
    if not all(type(value) in {int, float} for value in polygon):
        raise TypeError(f"a polygon must be numbers, got {polygon!r:.80}")
    corners = np.array(polygon, np.float64).reshape(-1, 2)
    if not np.isfinite(corners).all():
        raise ValueError(f"a polygon must be finite numbers, got {polygon!r:.80}")
    steps = np.abs(np.diff(corners, axis=0, append=corners[:1])).max(1).sum()
    if max(steps, np.abs(corners).max()) > _MOST_STEPS:
        raise ValueError(f"a polygon is longer or farther off than {_MOST_STEPS} px")
    return corners.ravel().tolist()


def _counts(counts: object) -> list[int]:
    """Return the lengths of runs; pycocotools takes them for true."""
    if isinstance(counts, str):
        counts = _unpacked(counts)
    if not isinstance(counts, list) or not all(type(n) is int for n in counts):
        raise TypeError(f"RLE counts must be text or whole numbers, got {counts!r:.80}")
    if min(counts, default=0) < 0:
        raise ValueError(f"a run of RLE is negative: {min(counts)}")
    return counts


def _unpacked(text: str) -> list[int]:
    """Return the runs of compressed RLE (rleFrString of COCO's maskApi.c).

    Each is a number of 5 bits a character, the lowest first; bit 6 says that it goes
    on, bit 5 of the last is the sign. From the fourth on they are differences.
    """
    if not _COUNTS.fullmatch(text):
        raise ValueError(f"its counts are no compressed RLE: {text!r:.80}")
    runs: list[int] = []
    value = shift = 0
    for byte in text.encode():
        code = byte - 48
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
