"""Boxes, masks and points land where the pixels went: coloured markers tell."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import albumentations as A
import cv2
import markers
import numpy as np
import pytest
from markers import FILL, PALETTE, RADIUS_PX, SIZE, Case, coloured, extent
from sets import DATA

from fiberaug.augment.cpu import CpuEngine
from fiberaug.augment.pipeline import as_pipeline
from fiberaug.errors import UsageError
from fiberaug.seeding import key

BCCD, CABLES = DATA / "bccd", DATA / "cables"
TRANSFORMS = list(markers.cases(*SIZE))
NO_BOXES = {"PiecewiseAffine"}  # too slow
STRETCH = 5  # how far distortions pull apart two pixels, see EXCEPTIONS
KINDS = ("marks", "ellipses", "white", "few")


def real(test):
    """Mark a test that needs the photos."""
    skip = pytest.mark.skipif(not DATA.is_dir(), reason="FIBERAUG_DATA names no folder")
    return pytest.mark.data(pytest.mark.slow(skip(test)))


class Found(NamedTuple):
    what: str
    key: str
    label: int
    off_px: float


def measure(
    before: Mapping[str, Any], after: Mapping[str, Any], case: Case
) -> Iterator[Found]:
    """Compare a delivered sample with the markers that are seen in its image."""
    key, image = after["__key__"], after["image"]
    hidden = coloured(image, FILL) | (image == 0).all(2)
    white = case.picture == "white"
    for row, label in enumerate(before["bbox_labels"]):
        colour = (255,) * 3 if white else PALETTE[label]
        seen, old = coloured(image, colour), before["bboxes"][row]
        seen = _largest(seen) if white else seen
        off = _mask(seen, after["mask"] == label + 1, hidden)
        yield Found("mask", key, label, off)
        rows = [row]
        if "bboxes" in after:
            rows = np.nonzero(after["bbox_labels"] == label)[0]
            boxes = after["bboxes"][rows]
            back = not seen.any() and len(boxes) == 1
            back = back and np.abs(boxes[0] - old).max() < 0.1
            if back and (case.keeps or case.distorts):
                yield Found("box", key, label, 0 if case.keeps else np.inf)
            else:
                cut = case.rule == "cut"
                off = _cut(hidden, boxes, old) if cut else _box(seen, boxes, case, old)
                yield Found("box", key, label, off)
        for one in after["masks"][rows] if "masks" in after else ():
            yield Found("masks", key, label, _mask(seen, one > 0, hidden))
    for label in before["keypoint_labels"]:
        seen = coloured(image, (255,) * 3 if white else PALETTE[label])
        rows = after["keypoints"][after["keypoint_labels"] == label]
        shrunk = case.distorts and seen.sum() < 0.9 * np.pi * RADIUS_PX**2
        off = () if shrunk and not len(rows) else _points(seen, rows, hidden)
        yield Found("point", key, label, max(off, default=0))


def _largest(seen: np.ndarray) -> np.ndarray:
    _, parts, stats, _ = cv2.connectedComponentsWithStats(np.uint8(seen))
    return parts == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()


def _box(seen, rows, case: Case, old) -> float:
    """How far boxes of one label end from the pixels of its colour, px."""
    if case.rule == "pieces":
        count, parts = cv2.connectedComponents(np.uint8(seen))
        if count == len(rows) + 1:
            ends = np.array([extent(parts == i) for i in range(1, count)])
            return np.abs(ends[:, None] - rows).max(2).min(1).max(initial=0)
        filled = np.zeros(seen.shape, bool)  # mirrored ones can touch
        for x, y, x_end, y_end in rows.round().astype(int):
            filled[y:y_end, x:x_end] = True
        return _mask(seen, filled, np.zeros_like(seen))
    if not len(rows):
        area = (old[2] - old[0]) * (old[3] - old[1])
        return 0 if seen.sum() <= 0.002 * area else np.inf
    if case.rule == "holds":
        at, ends = np.argwhere(seen)[:, ::-1], rows[:, None]
        beyond = np.maximum(ends[:, :, :2] - at, at + 1 - ends[:, :, 2:]).max(2)
        return beyond.min(0).max(initial=0)
    (box,) = rows
    inside = box[:2].min() > 0.5 and (box[2:] < np.array(seen.shape[::-1]) - 0.5).all()
    left = case.rule == "corners" and not inside
    if not seen.any():
        return 0 if left else min(box[2:] - box[:2])
    beyond = (extent(seen) - box) * (-1, -1, 1, 1)
    spare = -beyond / (1, 1, STRETCH, STRETCH) if case.distorts else -beyond
    return max(0, beyond.max(), 0 if left else spare.max())


def _cut(hidden, rows, old) -> float:
    """How far a box is from what is not hidden of the old one, cut to pixels, px."""
    off = np.inf
    for less in product((0, 1), repeat=4):
        x, y, x_end, y_end = np.maximum(0, np.int64(old) - less)
        open_ = ~hidden[y:y_end, x:x_end]
        if len(rows) and open_.any():
            ends = extent(open_) + np.array([x, y, x, y])
            off = min(off, np.abs(ends - rows[0]).max())
        elif not len(rows) and not open_.any():
            off = 0
    return off


def _mask(seen, mask, hidden) -> float:
    """How deep in a mask, or how far from it, the two disagree, px."""
    off = _depth(~mask)[seen & ~mask].max(initial=0)
    return float(max(off, _depth(mask)[mask & ~seen & ~hidden].max(initial=0)))


def _depth(inside):
    framed = np.pad(np.uint8(inside), 1)  # the frame of the picture is not inside
    return cv2.distanceTransform(framed, cv2.DIST_L2, 5)[1:-1, 1:-1]


def _points(seen, rows, hidden) -> Iterator[float]:
    """How far points of one label are from the middle of a disc of its colour, px."""
    _, parts, _, middles = cv2.connectedComponentsWithStats(np.uint8(seen))
    beside = cv2.dilate(np.uint8(hidden), np.ones((5, 5))) > 0
    beside[[0, -1]] = beside[:, [0, -1]] = True
    if not len(rows) and seen.sum() > 9:
        yield 0 if (seen & beside).any() else np.inf
    for x, y in np.asarray(rows, np.float64):
        at = round(y), round(x)
        if not (0 <= at[0] < seen.shape[0] and 0 <= at[1] < seen.shape[1]):
            continue
        if not seen.any():
            yield 0 if beside[at] else np.inf
            continue
        off = np.hypot(*(middles[1:] - (x, y)).T)
        if (beside & (parts == 1 + off.argmin())).any():  # only a part of it is seen
            off = np.hypot(*(np.argwhere(seen)[:, ::-1] - (x, y)).T) - RADIUS_PX
        yield max(0, off.min())


def found_by(transform, case: Case, folder, before, **options) -> list[Found]:
    """Everything that can be measured after a transform."""
    after = list(markers.delivered(folder, transform, case, **options))
    assert [row["__key__"] for row in after] == list(before)
    return [f for row in after for f in measure(before[row["__key__"]], row, case)]


def check(name: str, sets: Mapping[str, Any], *, loose: bool = False) -> None:
    """Compare all cases with what they allow; loose objects do not fill their boxes."""
    for case in markers.cases(*sets["size"])[name]:
        if loose and case.rule != "cut":
            if case.picture == "ellipses":
                continue  # such a box is one of an ellipse alone
            case = case._replace(rule="holds")  # noqa: PLW2901
        found = found_by(markers.build(name, case), case, *sets[case.picture])
        most = {"box": case.box_px, "point": case.point_px}
        wrong = [f for f in found if f.off_px > most.get(f.what, case.mask_px)]
        assert not wrong, (name, case.arguments, wrong[:9])
        assert {"mask", "masks"} <= {f.what for f in found}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder, sets = tmp_path_factory.mktemp("drawn"), {"size": SIZE}
    for kind in KINDS:
        made = markers.pictures(1 if kind == "few" else 6, kind, *SIZE)
        sets[kind] = folder / kind, markers.write(folder / kind, made)
    return sets


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder, sets = tmp_path_factory.mktemp("cells"), {"size": (480, 640)}
    photos = sorted((BCCD / "Annotations").glob("*.xml"))[::12]
    for kind in KINDS:
        made = [
            markers.boxed(f"{path.stem}-{turn}", image, boxes[turn::2], kind)
            for path in photos[: 1 if kind == "few" else None]
            for image, boxes in [cell_boxes(path)]
            for turn in range(2)
        ]
        sets[kind] = folder / kind, markers.write(folder / kind, filter(None, made))
    return sets


def cell_boxes(annotation: Path) -> tuple[np.ndarray, list[list[int]]]:
    image = cv2.imread(str(BCCD / "JPEGImages" / f"{annotation.stem}.jpg"))[:, :, ::-1]
    found = ET.parse(annotation).iter("bndbox")  # noqa: S314  # files of our own
    names = ("xmin", "ymin", "xmax", "ymax")
    return image, [[int(box.findtext(name)) for name in names] for box in found]


@pytest.fixture(scope="module")
def cables(tmp_path_factory):
    folder, sets = tmp_path_factory.mktemp("cables"), {"size": (480, 640)}
    photos = sorted(CABLES.glob("cable_dataset_[hs]*/*.jpg"))[::6]
    for kind in KINDS:
        made = [cable(path, kind) for path in photos]
        made = [sample for sample in made if sample][: 1 if kind == "few" else None]
        sets[kind] = folder / kind, markers.write(folder / kind, made)
    return sets


def cable(path: Path, kind: str) -> dict[str, Any] | None:
    """A photo with cables in colours that nothing else in it has."""
    image, palette = cv2.imread(str(path))[:, :, ::-1], PALETTE
    if kind == "white":
        image, palette = image // 3, {0: (255,) * 3}
    labels = [n for n in palette if n < 6 and not coloured(image, palette[n]).any()]
    found = sorted(path.parent.glob(f"{path.stem}_mask_[0-9].png"))
    masks = [cv2.imread(str(one), cv2.IMREAD_GRAYSCALE) > 127 for one in found]
    objects = dict(zip(labels, (m for m in masks if m.sum() > 500), strict=False))
    name = f"{path.parent.name}-{path.stem}"
    return markers.painted(name, image, objects, {}, palette) if objects else None


def test_every_transform_that_takes_boxes_has_a_case():
    takes = set()
    for name, kind in vars(A).items():
        targets = getattr(kind, "_targets", ())
        if isinstance(targets, tuple) and "BBoxes" in {t.value for t in targets}:
            takes.add(name)
    # Lambda does what its functions do, Mosaic has a test of its own.
    assert takes == set(TRANSFORMS) | {"Lambda", "Mosaic"}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_boxes_masks_and_points_are_where_the_pixels_went(name, drawn):
    check(name, drawn)


@real
@pytest.mark.parametrize("name", TRANSFORMS)
def test_boxes_of_cells_are_where_their_pixels_went(name, cells):
    check(name, cells)


@real
@pytest.mark.parametrize("name", TRANSFORMS)
def test_masks_of_cables_are_where_their_pixels_went(name, cables):
    check(name, cables, loose=True)


@real
@pytest.mark.parametrize("name", sorted(set(TRANSFORMS) - NO_BOXES))
def test_boxes_without_an_area_are_survived_and_not_delivered(name, tmp_path):
    samples = []
    for stem in ("BloodImage_00338", "BloodImage_00343"):
        image, boxes = cell_boxes(BCCD / "Annotations" / f"{stem}.xml")
        sample = markers.boxed(stem, image, boxes, "marks")
        labels = [9 if box[0] == box[2] else 0 for box in boxes]
        assert labels.count(9) == 1
        samples.append(sample | {"bboxes": boxes, "bbox_labels": labels})
    markers.write(tmp_path / "set", samples)
    case = markers.cases(480, 640)[name][0]
    for row in markers.delivered(tmp_path / "set", markers.build(name, case), case):
        assert set(row["bbox_labels"].tolist()) == {0}
        assert (row["bboxes"][:, 2:] > row["bboxes"][:, :2]).all()


PADS = [
    (name, case)
    for name, found in markers.cases(*SIZE).items()
    for case in found
    if {"fill_mask", "border_mode"} <= vars(markers.build(name, case)).keys()
    and "border_mode" not in case.arguments
    and case.picture != "few"
]


@pytest.mark.parametrize("ignore_index", [255, -100])
@pytest.mark.parametrize(("name", "case"), PADS)
def test_only_what_comes_from_outside_is_ignored(name, case, ignore_index, drawn):
    folder, transform = drawn[case.picture][0], markers.build(name, case)
    colour, near = np.broadcast_to(case.arguments.get("fill", FILL), 3), np.ones((5, 5))
    options = {"ignore_index": ignore_index}
    for row in markers.delivered(folder, transform, case, **options):
        outside, ignored = coloured(row["image"], colour), row["mask"] == ignore_index
        sure = cv2.erode(np.uint8(outside), near, borderValue=1) > 0
        maybe = cv2.dilate(np.uint8(outside), near) > 0
        maybe[[0, 1, -2, -1]] = maybe[:, [0, 1, -2, -1]] = True
        assert not (sure & ~ignored).any()
        assert not (ignored & ~maybe).any()
        assert row["mask"].dtype == (np.uint8 if ignore_index == 255 else np.int32)
        assert row["masks"].dtype == row["mask"].dtype
        assert all(((one == ignore_index) == ignored).all() for one in row["masks"])


@pytest.mark.parametrize(
    ("transform", "case", "what", "least_px"),
    [
        (A.GridDistortion(distort_limit=0.5, p=1), Case(), "point", 1.3),
        (A.OpticalDistortion((-0.6, -0.4), keypoint_remapping_method="direct", p=1),
         Case(), "point", 50),
        (A.MaskDropout(p=1), Case(), "box", 10),
        (A.Affine(rotate=(30, 30), fit_output=True, p=1), Case(rule="corners"),
         "box", 1.25),
        (A.CoarseDropout(num_holes_range=(8, 8), p=1), Case(), "box", 0.9),
        (A.RandomScale((-0.3, -0.1), p=1), Case(), "point", 0.9),
        (A.Pad(40, border_mode=cv2.BORDER_REFLECT_101), Case(rule="pieces"),
         "point", 1.9),
        (A.CropAndPad(px=40, keep_size=False, border_mode=cv2.BORDER_REFLECT),
         Case(rule="pieces"), "box", 5),
    ],
)  # fmt: skip
def test_the_exceptions_are_there_still(transform, case, what, least_px, tmp_path):
    ground, objects = np.full((*SIZE, 3), 90, np.uint8), np.zeros((2, *SIZE), bool)
    objects[0, :16, :16] = objects[1, 60:100, 70:130] = True
    inputs = ground, dict(enumerate(objects)), {6: (185, 130), 7: (30, 120)}
    made = [markers.painted(f"s{i}", *inputs) for i in range(8)]
    before = markers.write(tmp_path / "set", made)
    found = found_by(transform, case, tmp_path / "set", before)
    assert max(f.off_px for f in found if f.what == what) > least_px


def test_boxes_of_objects_that_mask_dropout_took_leave_when_they_must_be_visible(drawn):
    params = A.BboxParams("pascal_voc", min_visibility=0.1)
    transform = A.Compose([A.MaskDropout(p=1)], bbox_params=params)
    found = found_by(transform, Case(), *drawn["marks"])
    assert max(f.off_px for f in found) < 0.01


def test_grid_elastic_deform_leaves_background_where_nothing_came_from(drawn):
    transform = A.GridElasticDeform((4, 4), 20)
    rows = markers.delivered(drawn["marks"][0], transform, ignore_index=255)
    assert not any((row["mask"] == 255).any() for row in rows)


def test_boxes_and_the_mask_of_a_mosaic_are_where_the_pixels_went(drawn):
    folder, before = drawn["marks"]
    other = markers.pictures(7, "marks", *SIZE)[-1]
    names = ("image", "mask", "bboxes", "bbox_labels", "keypoints")
    other = {name: np.asarray(other[name]) for name in names}
    other["keypoint_labels"] = list(markers.POINTS)

    def feed(sample):
        return {**sample, "mosaic_metadata": [other] * 3}

    mosaic = A.Mosaic(target_size=(280, 380), cell_shape=SIZE, fill=FILL, p=1)
    fields = {"mosaic_metadata": "json:crop"}
    case = Case(rule="holds", fields=fields, without=("masks",))
    for row in markers.delivered(folder, [feed, mosaic], case):
        for f in measure(before[row["__key__"]], row, case):
            assert f.off_px <= {"point": 1, "mask": 2}.get(f.what, 1.5), f


def test_corners_of_polygons_stay_with_their_polygon_when_others_are_lost():
    far = np.array([[2, 2], [20, 2], [20, 20], [2, 20]], np.float32)
    near = far + 100
    fields = {"keypoints": near[:2] + 60, "polygons": [far, near]}
    fields["image"] = np.zeros((240, 320, 3), np.uint8)

    def run(transform):
        engine = CpuEngine(as_pipeline(transform), list(fields))
        return engine(fields, partial(key, 0, 0, 0, 0, 0)).fields

    out = run(A.OpticalDistortion((-0.9, -0.9), p=1))
    assert [len(polygon) for polygon in out["polygons"]] == [0, 4]
    assert np.abs(out["polygons"][1] - near).max() < 8
    assert np.abs(out["keypoints"] - fields["keypoints"]).max() < 8
    with pytest.raises(UsageError, match="mirrors points"):
        run(A.Pad(100, border_mode=cv2.BORDER_REFLECT))


@pytest.mark.parametrize(
    "target", ["bboxes", "bbox_labels", "keypoints", "masks", "mask"]
)
def test_a_target_that_is_3_px_off_or_in_another_order_is_seen(target, drawn):
    folder, before = drawn["marks"]
    for row in markers.delivered(folder, A.HorizontalFlip(p=1)):
        old, moved = before[row["__key__"]], row[target]
        assert max(f.off_px for f in measure(old, row, Case())) < 0.01
        if target == "bbox_labels":
            moved = moved[::-1]
        else:
            moved = np.roll(moved, 3, -1) if moved.dtype == np.uint8 else moved + 3
        wrong = measure(old, row | {target: moved}, Case())
        assert max(f.off_px for f in wrong) >= 2.9
