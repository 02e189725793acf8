"""One object of a sample on its way into another: where it goes, what is seen of it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.mixes.outlines import Shape, hull
from fiberaug.mixes.scaling import nearest, resized
from fiberaug.tiling import Window

__all__ = ["Copy", "paste", "shrunk"]


class Copy(NamedTuple):
    """An object as it is to be pasted."""

    row: int
    """Of the object in its sample."""

    source: Window
    """Which pixels of its sample, px."""

    place: Window
    """Where they go, px of the canvas; can reach beyond it."""

    flip: bool
    """Whether it is mirrored, left to right."""

    inside: NDArray[np.bool_]
    """Which pixels of the place are the object's, [height, width]."""

    @classmethod
    def of(
        cls, row: int, shape: Shape, corner: tuple[int, int], size: tuple[int, int],
        *, flip: bool,
    ) -> "Copy":  # fmt: skip
        """Return the copy of an object.

        Args:
            row: Of the object.
            shape: Its pixels.
            corner: Upper left corner (x, y) of its place, px.
            size: Height and width of its place, px.
            flip: Whether it is mirrored.
        """
        inside = _turned(nearest(shape.inside, size), flip=flip)
        place = Window(*corner, corner[0] + size[1], corner[1] + size[0])
        return cls(row, shape.window, place, flip, inside)

    def region(
        self, size: tuple[int, int]
    ) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return its pixels on a canvas of (height, width), and these in its place."""
        left, top = max(0, self.place.x_min), max(0, self.place.y_min)
        right, bottom = min(size[1], self.place.x_max), min(size[0], self.place.y_max)
        right, bottom = max(left, right), max(top, bottom)
        x, y = self.place[:2]
        return (slice(top, bottom), slice(left, right)), (
            slice(top - y, bottom - y),
            slice(left - x, right - x),
        )

    def plane(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """Return which pixels of a canvas of (height, width) it covers, [H, W]."""
        canvas, own = self.region(size)
        plane = np.zeros(size, bool)
        plane[canvas] = self.inside[own]
        return plane

    def moved(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return points (x, y), [N, 2], px, from its sample to the canvas."""
        source = np.reshape(np.asarray(self.source, np.float64), (2, 2))
        place = np.reshape(np.asarray(self.place, np.float64), (2, 2))
        share = (points - source[0]) / (source[1] - source[0])
        if self.flip:
            share[:, 0] = 1 - share[:, 0]
        moved: NDArray[np.float64] = place[0] + share * (place[1] - place[0])
        return moved

    def box(
        self,
        box: NDArray[np.floating],
        size: tuple[int, int],
        seen: NDArray[np.bool_] | None,
    ) -> NDArray[np.float64]:
        """Return its box on a canvas, cut at the border.

        Args:
            box: In its sample, (x_min, y_min, x_max, y_max), px.
            size: Height and width of the canvas, px.
            seen: Its pixels that are seen, [H, W]; the box shrinks to them. None: it
                does not.
        """
        corners = self.moved(box.astype(np.float64).reshape(2, 2))
        moved = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
        before = hull(self.inside)
        if seen is not None and before is not None:
            x, y = self.place[:2]
            shifted = (before[0] + x, before[1] + y, before[2] + x, before[3] + y)
            moved = shrunk(moved, Window(*shifted), hull(seen))
        return moved.clip(0, [*size[::-1], *size[::-1]])


def shrunk(
    box: NDArray[np.floating], before: Window, after: Window | None
) -> NDArray[np.float64]:
    """Return a box whose sides follow those of a mask that lost pixels.

    A side stays where the mask still reaches as far, however the box was drawn.

    Args:
        box: (x_min, y_min, x_max, y_max), px.
        before: Window of the whole mask.
        after: Window of what is left; None: nothing is.
    """
    sides = zip(box.tolist(), before, after or before, strict=True)
    return np.asarray([side if old == new else new for side, old, new in sides])


def paste(
    copy: Copy,
    sample: Mapping[str, Any],
    image: NDArray[Any],
    mask: NDArray[Any] | None,
    *,
    feather: float,
    fill_mask: int,
) -> None:
    """Write an object into an image and a mask.

    Args:
        copy: The object.
        sample: The sample that it is of.
        image: [H, W, C], written to.
        mask: Class ids, [H, W], written to; or None.
        feather: Width of the soft edge inside of the object, px.
        fill_mask: Class id where the sample has no mask.
    """
    rows, columns = (
        slice(copy.source.y_min, copy.source.y_max),
        slice(copy.source.x_min, copy.source.x_max),
    )
    canvas, own = copy.region(image.shape[:2])
    inside, size = copy.inside[own], copy.inside.shape
    pixels = resized(sample["image"][rows, columns], (size[0], size[1]))
    pixels = _turned(pixels, flip=copy.flip)[own]
    if feather:
        weight = _soft(copy.inside, feather)[own][..., None]
        pixels = _over(pixels, image[canvas], weight)
    np.copyto(image[canvas], pixels, where=inside[..., None])
    if mask is not None:
        ids = np.asarray(fill_mask, mask.dtype)
        if sample.get("mask") is not None:
            found = nearest(sample["mask"][rows, columns], (size[0], size[1]))
            ids = _turned(found, flip=copy.flip)[own].astype(mask.dtype)
        np.copyto(mask[canvas], ids, where=inside)


def _soft(inside: NDArray[np.bool_], feather: float) -> NDArray[np.float32]:
    """Return the weight of an object's pixels, from its edge to ``feather`` px inside.

    Outside of it the weight is 0: what surrounds a pasted object is never touched.
    """
    padded = np.pad(inside.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    weight: NDArray[np.float32] = np.minimum(1, depth[1:-1, 1:-1] / (feather + 1))
    return weight


def _over(
    top: NDArray[Any], below: NDArray[Any], weight: NDArray[np.float32]
) -> NDArray[Any]:
    exact = np.result_type(top.dtype, np.float32)  # of uint8 and uint16: float32
    mixed = weight.astype(exact) * top + (1 - weight.astype(exact)) * below
    if top.dtype.kind in "iu":
        np.rint(mixed, out=mixed)
    made: NDArray[Any] = mixed.astype(top.dtype, copy=False)
    return made


def _turned(pixels: NDArray[Any], *, flip: bool) -> NDArray[Any]:
    return pixels[:, ::-1] if flip else pixels
