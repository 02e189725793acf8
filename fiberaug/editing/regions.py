"""Where a photo is edited: windows around boxes, around a mask's components, or tiles.

A window lies inside of the photo and is square, as far as the photo is wide and high
enough: its side is what the region needs with its margin, at least the least and in
steps of 8 px. It is cut at the photo's own resolution; only where the region needs more
than the most side is the window scaled down for the editor.
"""

from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.editing.blending import BAND
from fiberaug.editing.objects import Objects, component_at
from fiberaug.editing.options import EditOptions
from fiberaug.errors import SampleBroken
from fiberaug.tiling import Window

__all__ = ["Region", "draw_regions", "find_regions", "seed_of", "window_around"]

_LEAST_PX = 16  # of a component: smaller ones are specks
_STEP = 8  # of a window's side, px


class Region(NamedTuple):
    """One place of a photo that is edited."""

    kind: str
    """``bboxes``, ``mask`` or ``grid``."""

    box: Window
    """What the region is: the pixels of its box or component, or of its tile."""

    window: Window
    """What the editor sees."""

    label: int = -1
    """Class id of the object; -1: there is none."""

    number: int = -1
    """Number of the box in the sample; -1: it is none."""

    at: tuple[int, int] = (0, 0)
    """(x, y) of a pixel of the component."""

    @property
    def place(self) -> tuple[Any, ...]:
        """What tells it from the photo's others: no order of annotations is in it."""
        return *self.box, self.label, *self.at


def find_regions(
    objects: Objects, options: EditOptions, wanted: Callable[[int], bool]
) -> list[Region]:
    """Return all regions of a photo, sorted by where they lie.

    Boxes without pixels, second boxes of the same place and class, and components of
    less than 16 px are none.

    Args:
        objects: What is annotated in the photo.
        options: How it is edited.
        wanted: Whether objects of a class are edited.

    Raises:
        SampleBroken: The photo has no mask, and ``region`` is ``mask``.
    """
    finder = {"bboxes": _boxes, "mask": _components, "grid": _tiles}[options.region]
    found = {region.place: region for region in finder(objects, options, wanted)}
    return [found[place] for place in sorted(found)]


def draw_regions(
    regions: list[Region], most: int | None, seed: int, name: str
) -> list[Region]:
    """Return at most ``most`` of the regions, drawn by a seed, in their order.

    Args:
        regions: Sorted.
        most: None: all.
        seed: In [0, 2**64).
        name: Of the sample and its copy: what is drawn depends on it.
    """
    if most is None or len(regions) <= most:
        return regions
    drawn = sorted(regions, key=lambda one: (seed_of(seed, name, one), one.place))
    chosen = {one.place for one in drawn[:most]}
    return [one for one in regions if one.place in chosen]


def seed_of(seed: int, name: str, region: Region) -> int:
    """Return the seed of one edit, in [0, 2**63).

    It depends on the seed, the sample, the place and the class alone, not on the order
    of annotations.

    Source: BLAKE2, RFC 7693.
    """
    told = f"{seed} {region.kind} {list(region.place)} {name}"
    digest = blake2b(told.encode(errors="surrogateescape"), digest_size=8,
                     person=b"fa-edit")  # fmt: skip
    return int.from_bytes(digest.digest(), "little") >> 1


def window_around(
    box: Window, width: int, height: int, *, rim: int, least: int
) -> Window:
    """Return the window of a region.

    Args:
        box: The region, inside of the photo.
        width: Of the photo, px.
        height: Of the photo, px.
        rim: Px that the window has beyond the region, as far as the photo goes.
        least: Least side, px.

    >>> window_around(Window(10, 40, 30, 50), 640, 480, rim=8, least=64)
    Window(x_min=0, y_min=13, x_max=64, y_max=77)
    """
    need = max(box.x_max - box.x_min, box.y_max - box.y_min) + 2 * rim
    side = max(least, -(-need // _STEP) * _STEP)
    starts, ends = [], []
    for low, high, whole in (
        (box.x_min, box.x_max, width), (box.y_min, box.y_max, height),
    ):  # fmt: skip
        length = min(side, whole)
        start = min(max(0, (low + high - length) // 2), whole - length)
        starts.append(start)
        ends.append(start + length)
    return Window(*starts, *ends)


def _window(box: Window, objects: Objects, options: EditOptions) -> Window:
    return window_around(
        box, objects.width, objects.height, rim=options.rim, least=options.sides[0]
    )


def _boxes(
    objects: Objects, options: EditOptions, wanted: Callable[[int], bool]
) -> Iterator[Region]:
    for i, (ends, label) in enumerate(
        zip(objects.boxes.tolist(), objects.labels, strict=True)
    ):
        box = Window(*ends)
        if box.x_max > box.x_min and box.y_max > box.y_min and wanted(label):
            yield Region("bboxes", box, _window(box, objects, options), label, i)


def _components(
    objects: Objects, options: EditOptions, wanted: Callable[[int], bool]
) -> Iterator[Region]:
    mask = objects.mask
    if mask is None:
        raise SampleBroken(
            "it has no mask, and regions of one were asked for", stage="edit"
        )
    for ident in _idents(mask):
        if ident == 0 or not wanted(ident):
            continue
        of_class = (mask == ident).astype(np.uint8)
        contours, nested = cv2.findContours(
            of_class, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
        )
        del of_class
        for i, contour in enumerate(contours):
            x, y, wide, high = cv2.boundingRect(contour)
            if nested[0][i][3] >= 0 or wide * high < _LEAST_PX:  # a hole, or a speck
                continue
            box = Window(x, y, x + wide, y + high)
            ys, xs = contour[:, 0, 1], contour[:, 0, 0]
            first = np.lexsort((xs, ys))[0]
            at = int(xs[first]), int(ys[first])
            if int(component_at(mask, ident, box, at).sum()) >= _LEAST_PX:
                window = _window(box, objects, options)
                yield Region("mask", box, window, ident, at=at)


def _idents(mask: NDArray[Any]) -> list[int]:
    """Return the classes of a mask, sorted."""
    found: set[int] = set()
    for start in range(0, len(mask), BAND):
        found.update(np.unique(mask[start : start + BAND]).tolist())
    return sorted(found)


def _tiles(
    objects: Objects, options: EditOptions, wanted: Callable[[int], bool]
) -> Iterator[Region]:
    del wanted  # tiles have no class
    width, height = objects.width, objects.height
    side = options.sides[0] - 2 * options.rim
    columns, rows = _edges(width, side), _edges(height, side)
    for y0, y1 in pairwise(rows):
        for x0, x1 in pairwise(columns):
            box = Window(x0, y0, x1, y1)
            yield Region("grid", box, _window(box, objects, options))


def _edges(length: int, most: int) -> list[int]:
    """Return where a side is cut into the fewest equal parts of at most ``most`` px."""
    count = -(-length // most)
    return [i * length // count for i in range(count + 1)]
