"""What is annotated in a photo, and which pixels of a window are of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.tiling import Window

__all__ = ["Objects", "component_at"]

_POINT_PX = 4  # radius of the disc that protects a keypoint


@dataclass(frozen=True, kw_only=True)
class Objects:
    """The annotations of one photo, in the upright frame."""

    width: int
    """Of the photo, px."""

    height: int
    """Of the photo, px."""

    boxes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 4), np.int64))
    """(x_min, y_min, x_max, y_max) of the pixels that boxes touch, [N, 4], clipped to
    the photo; one without pixels has no width or no height."""

    labels: tuple[int, ...] = ()
    """Class id of each box; -1: it has none."""

    mask: NDArray[Any] | None = None
    """Class ids [H, W], 0 for what is no object."""

    masks: NDArray[np.uint8] | None = None
    """Masks of single objects [N, H, W]."""

    outlines: tuple[NDArray[np.float32], ...] = ()
    """Polygons [K, 2]."""

    points: NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((0, 2), np.float32)
    )
    """Keypoints [N, 2]."""

    @classmethod
    def of(cls, fields: Mapping[str, Any], width: int, height: int) -> "Objects":
        """Return the annotations among the decoded fields of a sample.

        Args:
            fields: ``bboxes`` [N, 4], ``bbox_labels`` [N], ``mask`` [H, W], ``masks``
                [N, H, W], ``polygons`` and ``keypoints`` [N, 2], as far as they are
                there; px of the upright photo.
            width: Of the photo, px.
            height: Of the photo, px.
        """
        given = fields.get("bboxes")
        edges = np.zeros((0, 4)) if given is None else np.asarray(given, np.float64)
        low, high = np.floor(edges[:, :2]), np.ceil(edges[:, 2:])
        ends = np.concatenate([low, high], axis=1)
        most = np.array([width, height, width, height])
        labels = fields.get("bbox_labels")
        points = fields.get("keypoints")
        return cls(
            width=width, height=height,
            boxes=np.clip(ends, 0, most).astype(np.int64),
            labels=tuple(
                [-1] * len(edges) if labels is None else map(int, labels.tolist())
            ),
            mask=fields.get("mask"), masks=fields.get("masks"),
            outlines=tuple(fields.get("polygons") or ()),
            points=np.zeros((0, 2), np.float32) if points is None else points,
        )  # fmt: skip

    def inside(self, window: Window) -> NDArray[np.uint8]:
        """Return which pixels of a window are of any object: 0 or 1, [h, w]."""
        x0, y0, x1, y1 = window
        found = np.zeros((y1 - y0, x1 - x0), np.uint8)
        for box in self.boxes.tolist():
            part = _clipped(box, window)
            found[part[1] : part[3], part[0] : part[2]] = 1
        if self.mask is not None:
            found |= self.mask[y0:y1, x0:x1] != 0
        for plane in () if self.masks is None else self.masks:
            found |= plane[y0:y1, x0:x1] != 0
        for outline in self.outlines:
            corners = np.floor(outline - (x0, y0)).astype(np.int32)
            cv2.fillPoly(found, [corners], 1)
            cv2.polylines(found, [corners], isClosed=True, color=1, thickness=3)
        for x, y in (self.points - (x0, y0)).tolist():
            at = math.floor(x), math.floor(y)
            if max(map(abs, at)) < 2**20:
                cv2.circle(found, at, _POINT_PX, 1, cv2.FILLED)
        return found

    def touched(self, changed: NDArray[np.uint8]) -> list[float]:
        """Return which part of each box was changed, 0 to 1.

        Args:
            changed: [H, W], 0 where the photo is as it was.
        """
        found = []
        for x0, y0, x1, y1 in self.boxes.tolist():
            part = changed[y0:y1, x0:x1]
            found.append(float(np.count_nonzero(part)) / max(1, part.size))
        return found


def component_at(
    mask: NDArray[Any], ident: int, window: Window, at: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return the connected component of a class that holds a pixel: 0 or 1, [h, w].

    Pixels that touch at a corner are connected.

    Args:
        mask: Class ids [H, W].
        ident: The class.
        window: Where it is looked for; the whole component lies in it.
        at: (x, y) of a pixel of the component.
    """
    x0, y0, x1, y1 = window
    of_class = (mask[y0:y1, x0:x1] == ident).astype(np.uint8)
    _, numbers = cv2.connectedComponents(of_class, connectivity=8)
    found: NDArray[np.int32] = np.asarray(numbers, np.int32)
    own: NDArray[np.bool_] = found == found[at[1] - y0, at[0] - x0]
    return own.astype(np.uint8)


def _clipped(box: list[int], window: Window) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = window
    low = max(box[0], x0) - x0, max(box[1], y0) - y0
    high = max(min(box[2], x1) - x0, low[0]), max(min(box[3], y1) - y0, low[1])
    return *low, *high
