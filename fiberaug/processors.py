"""Ready-made processors: rotate, shift and scale, flip; change the case of a caption.

Each is a small example of an :class:`fiberaug.ImageProcessor` or ``TextProcessor``, and
works on samples with boxes, masks and points, or on a folder, a file at a time::

    Rotate("photos/", "turned/", limit=15).process("cabinet.jpg")
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.processing import ImageProcessor, TextProcessor
from fiberaug.sample import Sample

__all__ = ["ChangeCase", "Flip", "Rotate", "ShiftScaleRotate", "warp_sample"]

Places = str | Path | None
_MIRRORS = {
    "none": (1, 1),
    "horizontal": (-1, 1),
    "vertical": (1, -1),
    "both": (-1, -1),
}
_CASES = ("upper", "lower", "title", "swapcase")


def warp_sample(
    sample: Sample,
    matrix: NDArray[np.float64],
    *,
    fill: int = 0,
    mask_fill: int = 0,
) -> Sample:
    """Return a sample whose pixels and annotations went through an affine map.

    The size stays. Boxes become the upright boxes of their turned corners, cut at the
    image's border; those that keep less than one square pixel are dropped, with their
    labels, ids and masks.

    Args:
        sample: Fields, image [H, W, C].
        matrix: [2, 3], from old to new coordinates (x, y; px, pixel edges).
        fill: Level of pixels that come from outside.
        mask_fill: Class id there.
    """
    height, width = sample["image"].shape[:2]
    half = np.array([0.5, 0.5])
    centres = matrix.copy()  # OpenCV counts from the centre of the first pixel
    centres[:, 2] += matrix[:, :2] @ half - half

    def warped(pixels: NDArray[Any], how: int, value: int) -> NDArray[Any]:
        out = cv2.warpAffine(
            pixels, centres, (width, height), flags=how, borderValue=(value,) * 4
        )
        return out.reshape(pixels.shape)

    made: dict[str, Any] = {"image": warped(sample["image"], cv2.INTER_LINEAR, fill)}
    if sample.get("mask") is not None:
        made["mask"] = warped(sample["mask"], cv2.INTER_NEAREST, mask_fill)
    if sample.get("masks") is not None:
        masks = [warped(mask, cv2.INTER_NEAREST, mask_fill) for mask in sample["masks"]]
        made["masks"] = np.stack(masks) if masks else sample["masks"]
    if sample.get("keypoints") is not None:
        made["keypoints"] = _moved(sample["keypoints"], matrix)
    if sample.get("polygons") is not None:
        made["polygons"] = [_moved(corners, matrix) for corners in sample["polygons"]]
    if sample.get("bboxes") is not None:
        _warp_boxes(sample.replace(**made), matrix, made)
    return sample.replace(**made)


def _warp_boxes(
    sample: Sample, matrix: NDArray[np.float64], made: dict[str, Any]
) -> None:
    """Add boxes to ``made``, and what leaves with those that are dropped."""
    height, width = sample["image"].shape[:2]
    boxes = _boxes(sample["bboxes"], matrix, width, height)
    kept = np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) >= 1)
    made["bboxes"] = boxes[kept]
    objects = ["bbox_labels", "bbox_ids"]
    if sample.get("masks") is not None and len(sample["masks"]) == len(boxes):
        objects += ["masks", "mask_labels"]
    for name in objects:
        if sample.get(name) is not None:
            made[name] = sample[name][kept]


def _moved(
    points: NDArray[np.float32], matrix: NDArray[np.float64]
) -> NDArray[np.float32]:
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float32)


def _boxes(
    boxes: NDArray[np.float32], matrix: NDArray[np.float64], width: int, height: int
) -> NDArray[np.float32]:
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)
    turned = _moved(corners, matrix).reshape(-1, 4, 2)
    ends = np.concatenate([turned.min(axis=1), turned.max(axis=1)], axis=1)
    bounds = np.array([width, height] * 2, np.float32)
    return np.asarray(np.clip(ends, np.float32(0), bounds), np.float32)


def _about_centre(
    image: NDArray[Any], angle_deg: float, scale: float
) -> NDArray[np.float64]:
    """Return the map that turns counter-clockwise and scales about the centre."""
    height, width = image.shape[:2]
    centre = width / 2, height / 2
    return np.asarray(cv2.getRotationMatrix2D(centre, angle_deg, scale), np.float64)


def _range(limit: float | Sequence[float], name: str) -> tuple[float, float]:
    pair = (-limit, limit) if isinstance(limit, int | float) else tuple(limit)
    if len(pair) != 2 or not pair[0] <= pair[1]:
        raise UsageError(f"{name} is a number or (low, high), got {limit!r}")
    return float(pair[0]), float(pair[1])


class Rotate(ImageProcessor):
    """Turn about the centre by an angle drawn from a range.

    Args:
        input_path: Folder for :meth:`process`.
        output_path: Folder for :meth:`process`.
        limit: Degrees, counter-clockwise: a number for +-limit, or (low, high).
        fill: Level of pixels that come from outside, 0 to 255.
    """

    def __init__(
        self,
        input_path: Places = None,
        output_path: Places = None,
        *,
        limit: float | Sequence[float] = 90,
        fill: int = 0,
    ) -> None:
        super().__init__(input_path, output_path)
        self._limit, self._fill = _range(limit, "limit"), fill
        self._info: dict[str, Any] = {}

    def _process_sample(self, sample: Sample) -> Sample:
        angle = float(self.rng.uniform(*self._limit))
        self._info = {"angle": angle}
        matrix = _about_centre(sample["image"], angle, 1.0)
        return warp_sample(sample, matrix, fill=self._fill)

    def _process_info(self) -> dict[str, Any]:
        return self._info


class ShiftScaleRotate(ImageProcessor):
    """Turn, scale and shift, each by what is drawn from a range.

    Args:
        input_path: Folder for :meth:`process`.
        output_path: Folder for :meth:`process`.
        shift_limit: Shares of width and height: a number for +-limit, or (low, high).
        scale_limit: Added to 1: a number for +-limit, or (low, high).
        rotate_limit: Degrees: a number for +-limit, or (low, high).
        fill: Level of pixels that come from outside, 0 to 255.
    """

    def __init__(
        self,
        input_path: Places = None,
        output_path: Places = None,
        *,
        shift_limit: float | Sequence[float] = 0.0625,
        scale_limit: float | Sequence[float] = 0.1,
        rotate_limit: float | Sequence[float] = 45,
        fill: int = 0,
    ) -> None:
        super().__init__(input_path, output_path)
        self._shift = _range(shift_limit, "shift_limit")
        self._scale = _range(scale_limit, "scale_limit")
        self._rotate = _range(rotate_limit, "rotate_limit")
        if self._scale[0] <= -1:
            raise UsageError(f"scale_limit must be above -1, got {scale_limit!r}")
        self._fill = fill
        self._info: dict[str, Any] = {}

    def _process_sample(self, sample: Sample) -> Sample:
        angle = float(self.rng.uniform(*self._rotate))
        scale = 1 + float(self.rng.uniform(*self._scale))
        shift = self.rng.uniform(*self._shift, 2)
        self._info = {"angle": angle, "scale": scale, "shift": shift.tolist()}
        matrix = _about_centre(sample["image"], angle, scale)
        matrix[:, 2] += shift * sample["image"].shape[1::-1]
        return warp_sample(sample, matrix, fill=self._fill)

    def _process_info(self) -> dict[str, Any]:
        return self._info


class Flip(ImageProcessor):
    """Mirror: bit for bit the same pixels, in another place.

    Args:
        input_path: Folder for :meth:`process`.
        output_path: Folder for :meth:`process`.
        direction: ``horizontal``, ``vertical``, ``both``, or ``random`` (one of these
            or none, each as likely).
    """

    def __init__(
        self,
        input_path: Places = None,
        output_path: Places = None,
        *,
        direction: str = "horizontal",
    ) -> None:
        super().__init__(input_path, output_path)
        if direction not in {"horizontal", "vertical", "both", "random"}:
            raise UsageError(
                "direction must be horizontal, vertical, both or random, got"
                f" {direction!r}"
            )
        self._direction = direction
        self._drawn = direction

    def _process_sample(self, sample: Sample) -> Sample:
        self._drawn = self._direction
        if self._drawn == "random":
            self._drawn = list(_MIRRORS)[int(self.rng.integers(4))]
        x, y = _MIRRORS[self._drawn]
        height, width = sample["image"].shape[:2]
        offset = [width if x < 0 else 0, height if y < 0 else 0]
        matrix = np.array([[x, 0, offset[0]], [0, y, offset[1]]], np.float64)
        return warp_sample(sample, matrix)

    def _process_info(self) -> dict[str, Any]:
        return {"direction": self._drawn}


class ChangeCase(TextProcessor):
    """Write a caption in another case.

    Args:
        input_path: Folder for :meth:`process`.
        output_path: Folder for :meth:`process`.
        case: ``upper``, ``lower``, ``title``, ``swapcase`` or ``random``.
    """

    def __init__(
        self,
        input_path: Places = None,
        output_path: Places = None,
        *,
        case: str = "lower",
    ) -> None:
        super().__init__(input_path, output_path)
        if case not in {*_CASES, "random"}:
            raise UsageError(f"case must be one of {(*_CASES, 'random')}, got {case!r}")
        self._case = self._drawn = case

    def _process(self, text: str) -> str:
        self._drawn = self._case
        if self._drawn == "random":
            self._drawn = _CASES[int(self.rng.integers(len(_CASES)))]
        changed: str = getattr(text, self._drawn)()
        return changed

    def _process_info(self) -> dict[str, Any]:
        return {"case": self._drawn}
