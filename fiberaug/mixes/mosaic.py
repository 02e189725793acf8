"""Mosaic: four images around a point, each with one of its corners there.

Source: A. Bochkovskiy et al., "YOLOv4: Optimal Speed and Accuracy of Object Detection",
2020, section 3.3; the geometry is that of the YOLO family.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fiberaug.errors import UsageError
from fiberaug.mixes.arguments import Choice, Number, Pair, argument
from fiberaug.mixes.base import SHARE, Composition, Params, RowDraw
from fiberaug.mixes.objects import check_alike, joined, mask_dtype, window_of
from fiberaug.mixes.scaling import nearest, resized
from fiberaug.tiling import Window

__all__ = ["Mosaic"]

_SIDES = Pair(Number(1, 8192, whole=True), rising=False, optional=True)
_SPATIAL = ("bboxes", "masks", "mask", "keypoints", "polygons")


class _Piece(NamedTuple):
    source: Window  # of the sample, px
    place: Window  # on the canvas, px

    @property
    def size(self) -> tuple[int, int]:
        return self.place.y_max - self.place.y_min, self.place.x_max - self.place.x_min

    @property
    def pixels(self) -> tuple[slice, slice]:
        left, top, right, bottom = self.place
        return slice(top, bottom), slice(left, right)


@dataclass(frozen=True, kw_only=True)
class Mosaic(Composition):
    """Four images on one canvas: the sample's, and those of three partners.

    A point of the canvas is drawn; it has four quadrants, and each image gets one. An
    image is scaled, its sides alike, laid with a corner on the point, and cut to its
    quadrant: that on the upper left shows its lower right part. Boxes, masks, points
    and outlines go along; those of the sample come first.
    """

    count = 3

    p: float = argument(0.5, SHARE)
    """Probability that a sample becomes a mosaic."""

    size: tuple[int, int] | None = argument(None, _SIDES)
    """Height and width of the canvas, px; None: those of the sample's image."""

    center_range: tuple[float, float] = argument((0.25, 0.75), Pair(SHARE))
    """Where the point is, along both sides: uniform in this part of the canvas."""

    fit: str = argument("canvas", Choice(("canvas", "quadrant")))
    """What scale 1 is. ``canvas``: the image would just fit into the canvas, so that
    objects keep their size. ``quadrant``: it just covers its quadrant, without gap."""

    scale: tuple[float, float] = argument((0.5, 1.0), Pair(Number(0.05, 4)))
    """Range of the scale, uniform, drawn for each of the four."""

    visibility: float = argument(0.1, SHARE)
    """Least part of a box's area that its quadrant must show for it to stay."""

    fill: float = argument(114.0, Number(0, 255))
    """Level of gaps, of 255 in uint8; a 255th part of it in floats, 257 times it in
    uint16."""

    fill_mask: int = argument(0, Number(-(2**15), 2**16 - 1, whole=True))
    """Class id of gaps, and of images without ``mask`` among others that have one."""

    def _params(self, rng: np.random.Generator, rows: int) -> list[Params]:
        centers = rng.uniform(*self.center_range, (rows, 2)).tolist()
        scales = rng.uniform(*self.scale, (rows, 4)).tolist()
        quadrants = rng.random((rows, 4)).argsort(axis=1).tolist()
        return [
            {"center": centers[i], "scales": scales[i], "quadrants": quadrants[i]}
            for i in range(rows)
        ]

    def compose(
        self,
        own: Mapping[str, Any],
        partners: Sequence[Mapping[str, Any]],
        draw: RowDraw,
    ) -> dict[str, Any]:
        """Return the mosaic of a sample and its three partners."""
        if not draw.applied:
            return dict(own)
        check_alike(own, partners)
        samples = [own, *partners]
        size = self.size or own["image"].shape[:2]
        if min(size) < 2:  # no four quadrants
            return dict(own)
        kind, channels = own["image"].dtype, own["image"].shape[2]
        image = np.full((*size, channels), _level(self.fill, kind), kind)
        ids = mask_dtype(samples, self.fill_mask)
        mask = None if ids is None else np.full(size, self.fill_mask, ids)
        parts = []
        for i, sample in enumerate(samples):
            piece = self._piece(i, sample["image"].shape[:2], size, draw.params)
            part = window_of(sample, piece.source, self.visibility)
            image[piece.pixels] = resized(part["image"], piece.size)
            if mask is not None and part.get("mask") is not None:
                mask[piece.pixels] = nearest(part["mask"], piece.size)
            parts.append(_moved(part, piece, size))
        made = {**own, "image": image, **joined(parts)}
        return made if mask is None else {**made, "mask": mask}

    def _piece(
        self, number: int, shape: tuple[int, int], size: tuple[int, int], params: Params
    ) -> _Piece:
        """Return which part of an image stands where."""
        quadrant = params["quadrants"][number]
        after = quadrant // 2, quadrant % 2  # below the point, to its right
        point = [
            min(max(1, int(share * side + 0.5)), side - 1)
            for share, side in zip(params["center"][::-1], size, strict=True)
        ]
        rooms = [
            side - at if behind else at
            for at, side, behind in zip(point, size, after, strict=True)
        ]
        target, choose = (size, min) if self.fit == "canvas" else (rooms, max)
        ratio = choose(t / side for t, side in zip(target, shape, strict=True))
        ratio *= params["scales"][number]
        spans = []
        for at, room, side, behind in zip(point, rooms, shape, after, strict=True):
            length = min(room, max(1, int(side * ratio + 0.5)))
            shown = min(side, max(1, int(length / ratio + 0.5)))
            start, first = (at, 0) if behind else (at - length, side - shown)
            spans.append((first, first + shown, start, start + length))
        (y0, y1, top, bottom), (x0, x1, left, right) = spans
        return _Piece(Window(x0, y0, x1, y1), Window(left, top, right, bottom))

    def check(self, fields: Iterable[str], kinds: Mapping[str, str]) -> None:
        """Check that the targets of a sample have a place in a mosaic."""
        fields = list(fields)
        if "label" in fields and not set(_SPATIAL) & set(fields):
            raise UsageError(
                f"{self.name} has no rule for the label of a whole image, and the set"
                f" has none of {list(_SPATIAL)}: use MixUp or CutMix"
            )
        super().check(fields, kinds)


def _level(level: float, dtype: np.dtype[Any]) -> Any:  # noqa: ANN401  # of that dtype
    if dtype.kind == "f":
        return dtype.type(level / 255)
    return dtype.type(int(level * (np.iinfo(dtype).max // 255) + 0.5))


def _moved(
    part: Mapping[str, Any], piece: _Piece, size: tuple[int, int]
) -> dict[str, Any]:
    """Return the objects of a part, in the pixels of the canvas."""
    moved = dict(part)
    source, place = np.reshape(piece.source, (2, 2)), np.reshape(piece.place, (2, 2))
    ratio = (place[1] - place[0]) / (source[1] - source[0])
    for name in ("bboxes", "keypoints"):
        points = part.get(name)
        if points is not None:
            pairs = points.reshape(-1, 2) * ratio + place[0]
            moved[name] = pairs.astype(points.dtype).reshape(points.shape)
    if part.get("polygons") is not None:
        moved["polygons"] = [
            (one * ratio + place[0]).astype(one.dtype) for one in part["polygons"]
        ]
    masks = part.get("masks")
    if masks is not None:
        planes = np.zeros((len(masks), *size), masks.dtype)
        planes[:, *piece.pixels] = nearest(masks, piece.size)
        moved["masks"] = planes
    return moved
