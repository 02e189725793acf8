"""CopyPaste: objects of another image of the unit, pasted.

Source: G. Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for
Instance Segmentation", CVPR 2021, section 3.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.cutting import outline_within
from fiberaug.errors import UsageError
from fiberaug.mixes.arguments import Choice, Number, Pair, argument
from fiberaug.mixes.base import SHARE, Composition, Params, RowDraw
from fiberaug.mixes.objects import (
    check_alike,
    is_linked,
    joined,
    linked_names,
    mask_dtype,
    taken,
)
from fiberaug.mixes.outlines import covered_area, drawn_shape, hull, shape_of
from fiberaug.mixes.pasting import Copy, paste, shrunk
from fiberaug.tiling import Window

__all__ = ["CopyPaste"]

_SLACK = 1e-6  # float32 areas


class _Seen(NamedTuple):
    copy: Copy
    pixels: NDArray[np.bool_]  # of the canvas: no other copy lies on them


@dataclass(frozen=True, kw_only=True)
class CopyPaste(Composition):
    """Objects of a partner on the sample's image, with all that belongs to them.

    An object has the pixels of its mask, else of its outline, else of its box; a mask
    and an outline are its own where the sample has as many as boxes. What is pasted
    hides what lies below: masks lose the pixels, their boxes shrink with them, and an
    object of which too little is seen goes. Outlines stay whole. The sample's objects
    come first.
    """

    p: float = argument(0.5, SHARE)
    """Probability that a sample gets objects."""

    objects: tuple[int, int] = argument((1, 3), Pair(Number(1, 32, whole=True)))
    """Range of the number of objects, uniform; fewer where the partner has fewer."""

    scale: tuple[float, float] = argument((0.5, 1.5), Pair(Number(0.05, 4)))
    """Range of an object's scale, uniform: 1 as if the partner's image were resized to
    fit into the sample's. No object becomes larger than the image."""

    position: str = argument("random", Choice(("random", "same")))
    """Where objects go. ``random``: anywhere in the image, whole. ``same``: their
    centre where it is in the partner's image, relative to its sides."""

    flip: float = argument(0.0, SHARE)
    """Probability that an object is mirrored, left to right."""

    feather: float = argument(0.0, Number(0, 64))
    """Width of a soft edge, px, inside of the object; 0: none."""

    visibility: float = argument(0.1, SHARE)
    """Least part of an object that must be seen for it to stay, or to be pasted: of its
    pixels, or of its box's area where it has neither mask nor outline."""

    fill_mask: int = argument(0, Number(-(2**15), 2**16 - 1, whole=True))
    """Class id of pasted pixels whose sample has no ``mask``, where the own has one."""

    def _params(self, rng: np.random.Generator, rows: int) -> list[Params]:
        low, most = self.objects
        counts = rng.integers(low, most, rows, endpoint=True).tolist()
        picks = rng.random((rows, most)).tolist()
        scales = rng.uniform(*self.scale, (rows, most)).tolist()
        places = rng.random((rows, most, 2)).tolist()
        flips = (rng.random((rows, most)) < self.flip).tolist()
        return [
            {
                "picks": picks[row][:count],
                "scales": scales[row][:count],
                "places": places[row][:count],
                "flips": flips[row][:count],
            }
            for row, count in enumerate(counts)
        ]

    def compose(
        self,
        own: Mapping[str, Any],
        partners: Sequence[Mapping[str, Any]],
        draw: RowDraw,
    ) -> dict[str, Any]:
        """Return the sample with objects of its partner."""
        if not draw.applied:
            return dict(own)
        (partner,) = partners
        check_alike(own, partners)
        size = own["image"].shape[:2]
        seen, cover = self._seen(self._copies(size, partner, draw.params), size)
        if not seen:
            return dict(own)
        image, mask = own["image"].copy(), own.get("mask")
        if mask is not None:
            mask = mask.astype(mask_dtype([own, partner], self.fill_mask))  # a copy
        for one in seen:
            paste(
                one.copy, partner, image, mask,
                feather=self.feather, fill_mask=self.fill_mask,
            )  # fmt: skip
        objects = joined(
            [self._receiving(own, cover), _pasted(own, partner, seen, size)]
        )
        made = {**own, "image": image, **objects}
        return made if mask is None else {**made, "mask": mask}

    def _copies(
        self, size: tuple[int, int], partner: Mapping[str, Any], params: Params
    ) -> list[Copy]:
        """Return the objects to paste, the lowest first."""
        boxes = partner.get("bboxes")
        rows = list(range(0 if boxes is None else len(boxes)))
        copies = []
        drawn = (params[name] for name in ("picks", "scales", "places", "flips"))
        for pick, scale, at, flip in zip(*drawn, strict=True):
            if not rows:
                break
            row = rows.pop(int(pick * len(rows)))
            copy = self._copy(row, partner, size, scale, at, flip=flip)
            copies += [] if copy is None else [copy]
        return copies

    def _copy(
        self, row: int, partner: Mapping[str, Any], size: tuple[int, int],
        scale: float, at: Sequence[float], *, flip: bool,
    ) -> Copy | None:  # fmt: skip
        shape = shape_of(partner, row)
        if shape is None:
            return None
        whole, window = partner["image"].shape[:2], shape.window
        ratios = [side / n for side, n in zip(size, whole, strict=True)]
        limits = [side / n for side, n in zip(size, shape.inside.shape, strict=True)]
        ratio = min(scale * min(ratios), *limits)
        high, wide = (max(1, int(n * ratio + 0.5)) for n in shape.inside.shape)
        if self.position == "random":
            x, y = int(at[0] * (size[1] - wide + 1)), int(at[1] * (size[0] - high + 1))
        else:
            x = round((window.x_min + window.x_max) / 2 * ratios[1] - wide / 2)
            y = round((window.y_min + window.y_max) / 2 * ratios[0] - high / 2)
        return Copy.of(row, shape, (x, y), (high, wide), flip=flip)

    def _seen(
        self, copies: list[Copy], size: tuple[int, int]
    ) -> tuple[list[_Seen], NDArray[np.bool_]]:
        """Return the copies of which enough is seen, and the pixels that they cover."""
        cover = np.zeros(size, bool)
        seen: list[_Seen] = []
        for copy in reversed(copies):  # the last one lies on top
            plane = copy.plane(size)
            pixels = plane & ~cover
            if self._enough(_count(pixels), _count(copy.inside)):
                seen.insert(0, _Seen(copy, pixels))
                cover |= plane
        return seen, cover

    def _enough(self, seen: float, whole: float) -> bool:
        least = self.visibility * (1 - _SLACK)
        return seen > _SLACK * whole and seen >= least * whole

    def _receiving(
        self, own: Mapping[str, Any], cover: NDArray[np.bool_]
    ) -> dict[str, Any]:
        """Return the sample's own objects, with what is left of them."""
        names = ("masks", "mask_labels", "polygons")
        part: dict[str, Any] = {name: own.get(name) for name in names}
        masks, boxes = own.get("masks"), own.get("bboxes")
        if masks is not None:
            part["masks"] = np.where(cover, 0, masks).astype(masks.dtype)
        if boxes is None:
            return part
        part["bboxes"] = boxes.copy()
        rows = []
        for row, box in enumerate(boxes):
            shape = drawn_shape(own, row)
            if shape is None:
                whole = float(np.prod(np.maximum(0, box[2:] - box[:2])))
                seen = whole - covered_area(box, cover)
            else:
                left, top, right, bottom = shape.window
                rest = shape.inside & ~cover[top:bottom, left:right]
                whole, seen = _count(shape.inside), _count(rest)
                if is_linked(own, "masks") and 0 < seen < whole:
                    left_over = hull(part["masks"][row] > 0)
                    part["bboxes"][row] = shrunk(box, shape.window, left_over)
            if not whole or self._enough(seen, whole):
                rows.append(row)
        having = {**own, **part}
        return part | {
            name: taken(having.get(name), rows) for name in linked_names(own)
        }

    def check(self, fields: Iterable[str], kinds: Mapping[str, str]) -> None:
        """Check that samples have boxes, and no points."""
        fields = list(fields)
        if "bboxes" not in fields:
            raise UsageError(
                f"{self.name} pastes objects and needs the field bboxes, got {fields};"
                " use MixUp, CutMix or Mosaic"
            )
        if "keypoints" in fields:
            raise UsageError(
                f"{self.name} cannot know which of the keypoints belong to an object:"
                " leave the field out, or use Mosaic"
            )
        super().check(fields, kinds)


def _count(pixels: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(pixels))


def _pasted(
    own: Mapping[str, Any],
    partner: Mapping[str, Any],
    seen: Sequence[_Seen],
    size: tuple[int, int],
) -> dict[str, Any]:
    """Return the pasted objects, in the pixels of the sample."""
    rows = [one.copy.row for one in seen]
    part = {name: taken(partner.get(name), rows) for name in linked_names(partner)}
    levels = [0] * len(seen)  # of the masks; 0: there is none
    if is_linked(partner, "masks"):
        levels = part["masks"].max(axis=(1, 2), initial=0).tolist()
        planes = [one.pixels * level for one, level in zip(seen, levels, strict=True)]
        part["masks"] = np.stack(planes).astype(partner["masks"].dtype)
    boxes = [
        copy.box(partner["bboxes"][copy.row], size, pixels if level else None)
        for (copy, pixels), level in zip(seen, levels, strict=True)
    ]
    part["bboxes"] = np.stack(boxes).astype(partner["bboxes"].dtype)
    if "polygons" in part:
        part["polygons"] = [
            outline_within(
                one.copy.moved(outline).astype(outline.dtype),
                Window(0, 0, size[1], size[0]),
            )
            for one, outline in zip(seen, part["polygons"], strict=True)
        ]
    # Masks and outlines that are not of boxes are of another kind than the pasted.
    for name in ("masks", "polygons"):
        if own.get(name) is not None and not is_linked(own, name):
            part[name] = None
            part |= {"mask_labels": None} if name == "masks" else {}
    return part
