"""Coloured markers, painted into pictures before a transform and found after it.

    python tests/markers.py FOLDER [NAME ...]

writes to FOLDER a contact sheet for each transform of Albumentations that takes boxes:
before and after, with boxes, masks and points drawn over the markers.
"""

import inspect
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2
import numpy as np

import fiberaug
from fiberaug.overlay import draw_annotations

PALETTE = {
    0: (0, 255, 0), 1: (255, 0, 255), 2: (0, 255, 255), 3: (0, 0, 255),
    6: (255, 255, 0), 7: (255, 0, 0),
}  # fmt: skip
"""Colour by label: objects have 0 to 3, points 6 and 7."""

POINTS = (6, 7)
FILL = (255, 128, 0)
NEAR = 80
"""A pixel has a colour where no channel is further off: it is half covered at least."""

RADIUS_PX = 6
GAP_PX = 10
SIZE = (150, 200)
"""Height and width of the drawn pictures, px."""

FIELDS = {
    "image": "png", "mask": "mask.png", "masks": "masks.npy",
    "bboxes": "json:objects[].bbox", "bbox_labels": "json:objects[].label",
    "keypoints": "json:keypoints", "keypoint_labels": "json:names",
}  # fmt: skip


class Case(NamedTuple):
    """A transform under arguments that move pixels, and how near its targets come."""

    arguments: Mapping[str, Any] = {}
    rule: str = "tight"
    """``tight``: the box ends where the colour ends. ``corners``: the box of the turned
    corners, so it is tight where none of them left the picture. ``pieces``: an object
    can come apart or be mirrored; each piece has a box. ``cut``: the box of what
    no hole hides. ``holds``: the colour is in the box."""

    box_px: float = 0.01
    mask_px: float = 0.0
    point_px: float = 0.01
    picture: str = "marks"
    """Kind of the pictures, see :func:`boxed`; ``few``: not many of them."""

    fields: Mapping[str, str] = {}
    without: tuple[str, ...] = ()
    distorts: bool = False
    """It moves by a map of its own: targets are off by more, small spots are lost."""

    keeps: bool = False
    """A box of which no pixel is left stays at its place."""


PLAIN = Case()
SCALED = {"box_px": 1.0, "mask_px": 2.0, "point_px": 0.75}
TURNED = {"rule": "corners", "box_px": 1.25, "mask_px": 2.0, "point_px": 0.5}
FITTED = TURNED | {"box_px": 2.5}
WARPED = {"box_px": 2.5, "mask_px": 2.0, "point_px": 4.0, "distorts": True}
CUT = {"rule": "cut"}
REFLECT = {"border_mode": cv2.BORDER_REFLECT}
MIRRORED = {"rule": "pieces", "box_px": 0.01, "point_px": 1.5}

EXCEPTIONS = {
    "distortions, boxes": (
        "ElasticTransform, GridDistortion, OpticalDistortion, PiecewiseAffine and"
        " ThinPlateSpline move a mask that is 1 px too large at the right and below:"
        " too large by 1 px times the local stretch, up to 10 px at a fold"
    ),
    "distortions, points": (
        "the same five move a spot of 5 px and return the first pixel of its upper row:"
        " off by up to 4 px, PiecewiseAffine 6 px; where a picture shrinks the spot,"
        " and so the point, can be lost, in spite of remove_invisible=False; with"
        ' keypoint_remapping_method="direct" a point that has left lies at (0, 0)'
    ),
    "MaskDropout, boxes": (
        "the box of an object that was taken away stays, unless BboxParams has a"
        " min_visibility of 0.1 or so"
    ),
    "fit_output, boxes": (
        "Affine and SafeRotate fit picture and boxes apart, each to whole pixels: off"
        " by up to 2.2 px"
    ),
    "whole pixels": (
        "RandomGridShuffle, GridElasticDeform, Erasing and dropouts cut boxes to whole"
        " pixels, 49.999996 to 49: off by 1 px, beside a hole by its width more"
    ),
    "RandomScale, points": (
        "points are scaled by what was drawn, pictures to whole pixels: off by 1 px an"
        " axis at the far end"
    ),
    "mirrored points": (
        "mirrored copies are off by 1 px an axis with BORDER_REFLECT, and by 2 px (of"
        " boxes 1 px) with BORDER_REFLECT_101"
    ),
    "mirrored objects": (
        "copies of objects have boxes where Pad, PadIfNeeded, pad_if_needed, Affine and"
        " rotations mirror; never of CropAndPad, Perspective, distortions, BORDER_WRAP"
    ),
    "GridElasticDeform, masks": (
        "there is no fill_mask: what comes from outside is 0, not ignore_index"
    ),
    "turned corners": (
        "Affine, Perspective and rotations make the box of the four turned corners:"
        " larger than the object, and it can stay when the object has left"
    ),
}
"""Where the library leaves targets elsewhere than the pixels."""


def cases(height: int, width: int) -> dict[str, list[Case]]:
    """Every transform that takes boxes, so that it moves pixels of such a picture."""
    part = {"height": height * 3 // 4, "width": width * 3 // 4}
    size = (height * 3 // 4, width * 3 // 4)
    inner = {"x_min": 20, "y_min": 30, "x_max": width - 40, "y_max": height - 20}
    wide = {"height": height * 3 // 4, "width": width + 40, "pad_if_needed": True}
    outer = inner | {"x_max": width + 30, "pad_if_needed": True}
    holes = dict.fromkeys(("hole_height_range", "hole_width_range"), (0.4, 0.8))
    sides = ("crop_left", "crop_right", "crop_top", "crop_bottom")
    bars = dict.fromkeys(("mask_x_length", "mask_y_length"), height // 8)
    bars |= dict.fromkeys(("num_masks_x", "num_masks_y"), 2)
    fill = {"fill": FILL}
    return {
        "Affine": [
            Case({"rotate": (-40, 40)}, **TURNED),
            Case({"shear": (-15, 15)}, **TURNED),
            Case({"scale": (0.6, 1.4), "translate_percent": (-0.2, 0.2)}, **TURNED),
            Case({"rotate": (20, 70), "fit_output": True}, **FITTED),
        ],
        "AtLeastOneBBoxRandomCrop": [Case(part)],
        "BBoxSafeRandomCrop": [Case({"erosion_rate": 0.2})],
        "CenterCrop": [Case(part), Case(wide)],
        "CoarseDropout": [Case({"num_holes_range": (6, 9)} | fill, **CUT)],
        "ConstrainedCoarseDropout": [
            Case({"mask_indices": [1, 2], "num_holes_range": (2, 3)} | holes | fill,
                 **CUT)
        ],
        "Crop": [Case(inner), Case(outer)],
        "CropAndPad": [
            Case({"px": (-20, 30), "keep_size": False, "fill": 255}),
            Case({"percent": (-0.15, 0.2), "fill": 255}, **SCALED),
        ],
        "CropNonEmptyMaskIfExists": [Case(part)],
        "D4": [Case()],
        "ElasticTransform": [Case({"alpha": 300, "sigma": 12}, **WARPED)],
        "Erasing": [Case({"scale": (0.05, 0.3)} | fill, **CUT)],
        "FrequencyMasking": [Case({"freq_mask_param": height // 3}, **CUT)],
        "GridDistortion": [
            Case({"distort_limit": 0.5}, **WARPED),
            Case({"distort_limit": 0.6, "normalized": False}, **WARPED),
        ],
        "GridDropout": [Case({"ratio": 0.4} | fill, **CUT)],
        "GridElasticDeform": [
            Case({"num_grid_xy": (4, 4), "magnitude": 6}, **WARPED | {"point_px": 1.5})
        ],
        "HorizontalFlip": [Case()],
        "LongestMaxSize": [Case({"max_size": width * 2 // 3}, **SCALED)],
        "MaskDropout": [Case({"max_objects": (1, 2)}, keeps=True)],
        "Morphological": [
            Case({"scale": (5, 7), "operation": name}, picture="white")
            for name in ("dilation", "erosion")
        ],
        "NoOp": [Case()],
        "OpticalDistortion": [
            Case({"distort_limit": (0.3, 0.5)}, **WARPED),
            Case({"distort_limit": (-0.6, -0.4)}, **WARPED | {"box_px": 3.5}),
            Case({"distort_limit": (0.2, 0.4), "mode": "fisheye"}, **WARPED),
        ],
        "Pad": [
            Case({"padding": (10, 20, 30, 40)}),
            Case({"padding": height // 4} | REFLECT, **MIRRORED),
        ],
        "PadIfNeeded": [
            Case({"min_height": height + 31, "min_width": width + 50}),
            Case({"min_height": height + 80, "min_width": width, "position": "random"}),
        ],
        "Perspective": [
            Case({"scale": (0.05, 0.15)} | more, **TURNED | {"box_px": 2.0})
            for more in ({}, {"keep_size": False}, {"fit_output": True})
        ],
        "PiecewiseAffine": [
            Case({"scale": (0.03, 0.05)}, picture="few", **WARPED | {"point_px": 6})
        ],
        "PixelDropout": [
            Case({"dropout_prob": 0.05, "drop_value": FILL}, box_px=1, point_px=0.5)
        ],
        "RandomCrop": [Case(part), Case(wide)],
        "RandomCropFromBorders": [Case(dict.fromkeys(sides, 0.3))],
        "RandomCropNearBBox": [
            Case({"max_part_shift": 0.4}, fields={"cropping_bbox": "json:crop"})
        ],
        "RandomGridShuffle": [
            Case({"grid": (3, 4)}, "pieces", box_px=1.5, point_px=RADIUS_PX / 2)
        ],
        "RandomResizedCrop": [Case({"size": size, "scale": (0.3, 0.9)}, **SCALED)],
        "RandomRotate90": [Case()],
        "RandomScale": [
            Case({"scale_limit": (-0.4, 0.5)}, **SCALED | {"point_px": 1.75})
        ],
        "RandomSizedBBoxSafeCrop": [Case(part | {"erosion_rate": 0.2}, **SCALED)],
        "RandomSizedCrop": [
            Case({"min_max_height": (height // 2, height), "size": size}, **SCALED)
        ],
        "Resize": [Case({"height": height + 33, "width": width * 2 // 3}, **SCALED)],
        "Rotate": [
            Case({"limit": (-90, 90)}, **TURNED),
            Case({"limit": (10, 40), "crop_border": True}, **TURNED),
            Case({"limit": (10, 80), "rotate_method": "ellipse"}, picture="ellipses",
                 **TURNED),
        ],
        "SafeRotate": [Case({"limit": (-90, 90)}, **FITTED)],
        "ShiftScaleRotate": [Case({}, **TURNED)],
        "SmallestMaxSize": [Case({"max_size": height * 2 // 3}, **SCALED)],
        "SquareSymmetry": [Case()],
        "ThinPlateSpline": [Case({"scale_range": (0.1, 0.2)}, **WARPED)],
        "TimeMasking": [Case({"time_mask_param": width // 4}, **CUT)],
        "TimeReverse": [Case()],
        "Transpose": [Case()],
        "VerticalFlip": [Case()],
        "XYMasking": [Case(bars | fill, **CUT)],
    }  # fmt: skip


def build(name: str, case: Case) -> A.DualTransform:
    """The transform at p=1, with FILL where it pads."""
    kind, arguments = getattr(A, name), dict(case.arguments)
    if "border_mode" in inspect.signature(kind.__init__).parameters:
        arguments.setdefault("fill", FILL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "is an alias", "is slow"
        return kind(**arguments, p=1)


def coloured(image: np.ndarray, colour: Sequence[int]) -> np.ndarray:
    """Where a picture has a colour, bool [H, W]."""
    off = np.abs(image.astype(np.int16) - np.array(colour, np.int16))
    return off.max(2) < NEAR


def painted(
    key: str,
    image: np.ndarray,
    objects: Mapping[int, np.ndarray],
    points: Mapping[int, tuple[int, int]],
    palette: Mapping[int, Sequence[int]] = PALETTE,
) -> dict[str, Any]:
    """A sample: a picture with objects (masks by label) and discs painted over."""
    image, mask = image.copy(), np.zeros(image.shape[:2], np.uint8)
    for label, inside in objects.items():
        image[inside], mask[inside] = palette[label], label + 1
    for label, centre in points.items():
        cv2.circle(image, centre, RADIUS_PX, palette[label], -1)
    masks = np.stack([mask == label + 1 for label in objects])
    boxes = [extent(one).tolist() for one in masks]
    return {
        "__key__": key, "image": image, "mask": mask, "masks.npy": np.uint8(masks),
        "bboxes": boxes, "bbox_labels": list(objects), "keypoints": [*points.values()],
        "json": {"names": list(points), "crop": list(map(int, boxes[0]))},
    }  # fmt: skip


def boxed(
    key: str, image: np.ndarray, candidates: Iterable[Sequence[int]], kind: str
) -> dict[str, Any] | None:
    """A picture with a few boxes that do not touch painted over, None without any.

    ``ellipses`` paints what is round into the boxes; ``white`` dims the picture and
    paints one box and one point white.
    """
    palette: dict[int, Sequence[int]] = dict(PALETTE)
    if kind == "white":
        image, palette = image // 3, {0: (255,) * 3, POINTS[0]: (255,) * 3}
    free = [n for n, colour in palette.items() if not coloured(image, colour).any()]
    height, width = image.shape[:2]
    taken, objects = np.zeros((height, width), bool), {}
    labels = [label for label in free if label not in POINTS][:3]
    for x0, y0, x1, y1 in candidates:
        gap = np.s_[
            max(0, y0 - GAP_PX) : y1 + GAP_PX, max(0, x0 - GAP_PX) : x1 + GAP_PX
        ]
        if not labels or taken[gap].any() or min(x1 - x0, y1 - y0) < GAP_PX:
            continue
        taken[gap], inside = True, np.zeros((height, width), np.uint8)
        inside[y0:y1, x0:x1] = 1
        if kind == "ellipses":
            y, x = np.ogrid[0.5:height, 0.5:width]
            off_x, off_y = (2 * x - x0 - x1) / (x1 - x0), (2 * y - y0 - y1) / (y1 - y0)
            inside[off_x**2 + off_y**2 > 1] = 0
        objects[labels.pop(0)] = inside > 0
    points = {n: at for n, at in zip(POINTS, _places(taken), strict=False) if n in free}
    return painted(key, image, objects, points, palette) if objects else None


def _places(taken: np.ndarray) -> Iterator[tuple[int, int]]:
    """Places for discs that nothing is near to."""
    draw, margin = np.random.default_rng(int(taken.sum())), 2 * RADIUS_PX
    for _ in range(200):
        y, x = (int(draw.integers(margin, side - margin)) for side in taken.shape)
        near = np.s_[y - margin : y + margin, x - margin : x + margin]
        if not taken[near].any():
            taken[near] = True
            yield x, y


def delivered(
    folder: Path, transform: Any = None, case: Case = PLAIN, **options: Any
) -> Iterator[dict[str, Any]]:
    """Samples of a set as batches bring them, as arrays, image [H, W, C]."""
    fields = {n: FIELDS[n] for n in FIELDS if n not in case.without}
    dataset = fiberaug.StreamingDataset(
        folder, fields={**fields, **case.fields}, transform=transform, shuffle=False,
        on_error="raise", seed=5, record="none", **options,
    )  # fmt: skip
    with fiberaug.DataLoader(dataset, 2, collate="list") as loader:
        for batch in loader:
            for i, pad in enumerate(batch["is_pad"]):
                if not pad:
                    row = {n: np.asarray(batch[n][i]) for n in fields}
                    row["image"] = row["image"].transpose(1, 2, 0)
                    yield row | {"__key__": batch["__key__"][i]}


def extent(seen: np.ndarray) -> np.ndarray:
    """The box (x_min, y_min, x_max, y_max) of what is set, px, ends excluded."""
    y, x = np.nonzero(seen)
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], np.float64)


def pictures(count: int, kind: str, height: int, width: int) -> list[dict[str, Any]]:
    """Samples with boxes on soft pictures without any of the colours."""
    found = []
    for i in range(count):
        draw = np.random.default_rng(i)
        soft = cv2.resize(draw.integers(50, 180, (5, 6, 3), np.uint8), (width, height))
        sides = draw.integers(height // 6, height // 3, (40, 2))
        first = draw.integers(2, (width, height) - sides - 2)
        boxes = np.concatenate([first, first + sides], axis=1).tolist()
        found.append(boxed(f"s{i}", soft, boxes, kind))
    return [sample for sample in found if sample is not None]


def write(folder: Path, samples: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Write a set; its samples by key, as they come without a transform."""
    with fiberaug.ShardWriter(folder) as writer:
        for one in samples:
            writer.write(one)
    return {row["__key__"]: row for row in delivered(folder)}


def _tile(sample: Mapping[str, Any], height: int = 260, width: int = 340) -> np.ndarray:
    """A sample with its targets drawn, on a grey ground."""
    fields = {n: sample[n] for n in sample if n not in {"masks", "keypoint_labels"}}
    drawn = draw_annotations(fields)
    scale = min((height - 8) / drawn.shape[0], (width - 8) / drawn.shape[1])
    small = cv2.resize(drawn, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tile = np.full((height, width, 3), 128, np.uint8)
    tile[4 : 4 + small.shape[0], 4 : 4 + small.shape[1]] = small
    return tile


def main() -> None:
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    for kind in ("marks", "ellipses", "white", "few"):
        write(folder / kind, pictures(4, kind, *SIZE))
    for name, found in cases(*SIZE).items():
        rows = [delivered(folder / found[0].picture)]
        rows += [delivered(folder / c.picture, build(name, c), c) for c in found]
        if not names or name in names:
            tiles = [np.concatenate([*map(_tile, row)], axis=1) for row in rows]
            sheet = np.concatenate(tiles)[:, :, ::-1]
            cv2.imwrite(str(folder / f"{name}.png"), sheet)


if __name__ == "__main__":
    main()
