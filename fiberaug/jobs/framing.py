"""Annotations of a source to the upright frame of their image, as shards have them."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.annotations import Frame
from fiberaug.decode.header import ImageHeader
from fiberaug.errors import SampleBroken, UsageError
from fiberaug.jobs.items import Raw

__all__ = ["FRAMES", "FrameUnknown", "Placing", "is_stored"]

FRAMES = ("stored", "upright")


class FrameUnknown(UsageError):
    """Nothing tells whether annotations are for the stored or the upright pixels."""


def is_stored(raw: Raw, header: ImageHeader, frame: str | None) -> bool:
    """Return whether annotations are in the frame of the stored pixels.

    Args:
        raw: The sample.
        header: Header of its image.
        frame: ``stored`` or ``upright`` where the user says it; None: what the
            annotations state.

    Raises:
        SampleBroken: The size that the annotations state is neither that of the stored
            nor that of the upright image.
        FrameUnknown: The image is turned by its EXIF orientation and nothing tells.
    """
    stored = header.width, header.height
    if raw.stated is not None and raw.stated not in {stored, header.upright}:
        turned = "" if stored == header.upright else f", upright {_px(header.upright)}"
        raise SampleBroken(
            f"the annotations are for an image of {_px(raw.stated)}, the file has"
            f" {_px(stored)}{turned}"
        )
    if header.orientation == 1:
        return False
    if raw.stated is not None and stored != header.upright:
        return raw.stated == stored
    said = raw.frame or frame
    if said is None:
        raise FrameUnknown(
            f"the image has EXIF orientation {header.orientation}, and nothing tells"
            " whether its annotations are for the stored or for the upright pixels; say"
            ' annotation_frame="stored" or "upright" (--annotation-frame)'
        )
    return said == "stored"


class Placing:
    """Brings coordinates and masks of one image to where its written pixels are.

    Args:
        header: Header of the image as the source has it.
        stored: Annotations are in the frame of the stored pixels.
        size: Width and height of the written image, px, upright.
    """

    def __init__(
        self, header: ImageHeader, *, stored: bool, size: tuple[int, int]
    ) -> None:
        self._frame = Frame(header, header.orientation if stored else 1)
        self._turn = header.orientation if stored else 1
        self.size = size
        """Width and height of the written image, px."""

        width, height = header.upright
        self._scale = np.array([size[0] / width, size[1] / height])
        self.left_out: list[str] = []
        """What could not be brought there."""

    def notes(self, notes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the content of the JSON member with coordinates where they belong.

        Raises:
            SampleBroken: A coordinate is no finite number.
        """
        if self._turn == 1 and (self._scale == 1).all():
            self._check(notes)
            return dict(notes)
        placed = dict(notes)
        if "objects" in notes:
            placed["objects"] = [
                self._object(one, i) for i, one in enumerate(notes["objects"])
            ]
        if "keypoints" in notes:
            placed["keypoints"] = self._points(notes["keypoints"], "keypoints")
        return placed

    def _check(self, notes: Mapping[str, Any]) -> None:
        boxes = [one["bbox"] for one in notes.get("objects", ()) if "bbox" in one]
        self._frame.boxes(boxes, "bboxes")
        self._frame.points(notes.get("keypoints"), "keypoints")

    def _object(self, one: Mapping[str, Any], number: int) -> dict[str, Any]:
        placed = dict(one)
        if "bbox" in one:
            box = self._frame.boxes([one["bbox"]], "bboxes")[0].reshape(2, 2)
            placed["bbox"] = _numbers(box * self._scale)
        if "polygons" in one:
            placed["polygons"] = [
                self._points(polygon, "polygons") for polygon in one["polygons"]
            ]
        if "keypoints" in one:
            points = self._points([p[:2] for p in one["keypoints"]], "keypoints")
            placed["keypoints"] = [
                list(old) if len(old) > 2 and not old[2] else [*point, *old[2:]]
                for point, old in zip(points, one["keypoints"], strict=True)
            ]  # what is not labelled stays at 0, 0
        if isinstance(one.get("area"), int | float):
            placed["area"] = round(one["area"] * float(self._scale.prod()), 4)
        if "segmentation" in one:
            self._outline(placed, number)
        return placed

    def _outline(self, placed: dict[str, Any], number: int) -> None:
        """Bring COCO's outline where it belongs; runs of pixels cannot follow."""
        outline = placed.pop("segmentation")
        if isinstance(outline, list):
            polygons = self._frame.polygons(outline, "segmentation")
            placed["segmentation"] = [_numbers(one * self._scale) for one in polygons]
        else:
            self.left_out.append(
                f"the outline of object {number} is no list of polygons (an RLE?) and"
                " cannot follow an image that is turned or gets another size: it was"
                " left out; masks=True (--masks) keeps what it covers"
            )

    def _points(self, points: Any, name: str) -> list[list[float]]:  # noqa: ANN401  # JSON
        found = self._frame.points(points, name) * self._scale
        return [_numbers(point) for point in found]

    def mask(self, mask: NDArray[Any]) -> NDArray[Any]:
        """Return a mask [H, W] as large and as turned as the written image.

        Raises:
            SampleBroken: It has another size than the image.
        """
        mask = self._frame.mask(mask, "mask")
        if (mask.shape[1], mask.shape[0]) == self.size:
            return mask
        return np.asarray(
            cv2.resize(mask, self.size, interpolation=cv2.INTER_NEAREST), mask.dtype
        )


def _numbers(array: NDArray[Any]) -> list[float]:
    return [round(float(value), 4) for value in array.ravel()]


def _px(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} px"
