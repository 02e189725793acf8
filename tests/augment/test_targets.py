"""Annotations stay with their objects, and keep their form."""

from functools import partial

import albumentations as A
import numpy as np
import pytest

import fiberaug
from fiberaug.augment.cpu import CpuEngine
from fiberaug.augment.pipeline import as_pipeline
from fiberaug.seeding import key

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
BOXES = np.array([[0, 0, 10, 20], [30, 10, 60, 40], [70, 50, 80, 64]], np.float32)


def run(transform, visit=0, ignore_index=None, **fields):
    sample = {"image": IMAGE, **fields}
    engine = CpuEngine(as_pipeline(transform), list(sample), ignore_index=ignore_index)
    return engine(sample, partial(key, 0, 0, 0, visit, 0)).fields


CROP = A.Crop(25, 5, 80, 64)  # loses the first box


@pytest.mark.parametrize(
    "params", [None, A.BboxParams("pascal_voc", label_fields=["classes"])]
)
def test_what_belongs_to_a_box_leaves_with_it(params):
    names = np.array(["left", "middle", "right"])
    out = run(
        A.Compose([CROP], bbox_params=params),
        bboxes=BOXES,
        bbox_labels=np.array([7, 8, 9]),
        bbox_ids=np.array([100, 101, 2**40]),
        masks=np.stack([np.full((64, 80), i, np.uint8) for i in (1, 2, 3)]),
        mask_labels=np.array([4, 5, 6]),
    )
    assert names[[1, 2]].tolist() == ["middle", "right"]
    assert out["bboxes"].tolist() == [[5, 5, 35, 35], [45, 45, 55, 59]]
    assert out["bbox_labels"].tolist() == [8, 9]
    assert out["bbox_ids"].tolist() == [101, 2**40]
    assert out["masks"].shape == (2, 59, 55)
    assert [int(m.max()) for m in out["masks"]] == [2, 3]
    assert out["mask_labels"].tolist() == [5, 6]


def test_masks_that_are_not_one_for_each_box_all_stay():
    masks = np.zeros((2, 64, 80), np.uint8)
    out = run(CROP, bboxes=BOXES, bbox_labels=np.arange(3), masks=masks)

    assert (len(out["bboxes"]), len(out["masks"])) == (2, 2)


def test_no_masks_are_no_masks_of_the_new_size():
    out = run(CROP, masks=np.zeros((0, 64, 80), np.uint8), bboxes=BOXES[:0])

    assert out["masks"].shape == (0, 59, 55)
    assert out["bboxes"].shape == (0, 4)


@pytest.mark.parametrize(
    "labels",
    [np.array([1.5, 2.5, 3.5], np.float32), ["a", "b", "c"], np.array(["x", "y", "z"])],
    ids=["float32", "list of text", "array of text"],
)
def test_labels_of_any_kind_come_back_as_they_were(labels):
    params = A.BboxParams("pascal_voc", label_fields=["quality"])
    out = run(A.Compose([CROP], bbox_params=params), bboxes=BOXES, quality=labels)

    assert type(out["quality"]) is type(labels)
    assert list(out["quality"]) == list(labels[1:])


def test_points_get_a_processor_and_their_labels_follow():
    points = np.array([[5, 5], [30, 20], [79, 63]], np.float32)
    flipped = run(
        A.HorizontalFlip(p=1), keypoints=points, keypoint_labels=["a", "b", "c"]
    )
    assert flipped["keypoints"].tolist() == [[74, 5], [49, 20], [0, 63]]
    assert flipped["keypoint_labels"] == ["a", "b", "c"]
    params = A.KeypointParams("xy", label_fields=["keypoint_labels"])  # drops invisible
    out = run(
        A.Compose([CROP], keypoint_params=params),
        keypoints=points,
        keypoint_labels=["a", "b", "c"],
    )
    assert out["keypoints"].tolist() == [[5, 15], [54, 58]]
    assert out["keypoint_labels"] == ["b", "c"]


@pytest.mark.parametrize("points", [None, np.array([[1, 2], [3, 4]], np.float32)])
def test_corners_of_polygons_go_where_the_pixels_go(points):
    square = np.array([[10, 10], [20, 10], [20, 30]], np.float32)
    line = np.array([[0, 0], [80, 64]], np.float32)
    more = {} if points is None else {"keypoints": points, "keypoint_labels": [1, 2]}
    out = run(A.HorizontalFlip(p=1), polygons=[square, line], **more)

    # Albumentations moves points as centres of pixels: 79 - x.
    assert [p.tolist() for p in out["polygons"]] == [
        [[69, 10], [59, 10], [59, 30]],
        [[79, 0], [-1, 64]],
    ]
    if points is not None:
        assert out["keypoints"].tolist() == [[78, 2], [76, 4]]
        assert list(out["keypoint_labels"]) == [1, 2]
    assert run(A.HorizontalFlip(p=1), polygons=[])["polygons"] == []


def test_polygons_that_would_lose_corners_are_refused_when_the_engine_is_built():
    params = A.KeypointParams("xy", remove_invisible=True)
    with pytest.raises(fiberaug.UsageError, match="remove_invisible=False"):
        run(A.Compose([CROP], keypoint_params=params), polygons=[])


@pytest.mark.parametrize("name", ["image2", "mask", "depth"])
def test_a_plane_of_another_size_is_that_samples_error(name):
    compose = A.Compose([CROP], additional_targets={"image2": "image", "depth": "mask"})
    plane = np.zeros((64, 79, 3) if name == "image2" else (64, 79), np.uint8)
    with pytest.raises(fiberaug.SampleBroken, match=f"{name} is 79x64 px, .* 80x64"):
        run(compose, **{name: plane})
    with pytest.raises(fiberaug.SampleBroken, match="masks is 80x63"):
        run(compose, masks=np.zeros((2, 63, 80), np.uint8))


def test_several_images_get_the_same_draw():
    compose = A.Compose(
        [A.RandomCrop(32, 32), A.HorizontalFlip(), A.ColorJitter(p=1), A.Normalize()],
        additional_targets={"right": "image", "depth": "mask"},
    )
    engine = CpuEngine(as_pipeline(compose), ["image", "right", "depth"])
    assert engine.images == engine.normalized == {"image", "right"}
    assert engine.masks == {"mask", "depth"}
    for visit in range(8):
        sample = {"image": IMAGE, "right": IMAGE.copy(), "depth": IMAGE[..., 0].copy()}
        out = engine(sample, partial(key, 0, 0, 0, visit, 0)).fields
        assert np.array_equal(out["image"], out["right"])
        assert out["depth"].shape == (32, 32)


MASKS = ["uint8", "bool", "int32", "int64", "uint16", "float32"]
SPATIAL = [
    A.Rotate((20, 20), p=1), A.Affine(rotate=15, p=1), A.Perspective(p=1),
    A.ElasticTransform(p=1), A.D4(p=1), A.PadIfNeeded(100, 100, p=1), A.Resize(32, 32),
    A.ColorJitter(p=1), A.CoarseDropout(p=1), A.GridDistortion(p=1),
]  # fmt: skip


@pytest.mark.parametrize("dtype", MASKS)
@pytest.mark.parametrize("transform", SPATIAL, ids=lambda t: type(t).__name__)
def test_a_mask_keeps_its_dtype_and_gains_no_class(transform, dtype):
    mask = (np.indices((64, 80)).sum(0) // 9 % 2).astype(dtype)
    out = run(transform, mask=mask, masks=mask[None])

    for name in ("mask", "masks"):
        assert out[name].dtype == np.dtype(dtype)
        assert set(np.unique(out[name]).tolist()) <= {0, 1}


@pytest.mark.parametrize("transform", SPATIAL, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_an_image_keeps_its_dtype(transform, dtype):
    image = IMAGE if dtype == "uint8" else (IMAGE / 255).astype(np.float32)
    assert run(transform, image=image)["image"].dtype == np.dtype(dtype)


def test_padding_puts_the_ignored_class_into_masks_where_the_user_does_not_say():
    mask = np.ones((64, 80), np.uint8)
    pad = A.PadIfNeeded(100, 100, position="top_left", border_mode=0, p=1)

    assert np.unique(run(pad, mask=mask)["mask"]).tolist() == [0, 1]
    assert np.unique(run(pad, 0, 255, mask=mask)["mask"]).tolist() == [1, 255]
    said = A.PadIfNeeded(100, 100, border_mode=0, fill_mask=7, p=1)
    assert np.unique(run(said, 0, 255, mask=mask)["mask"]).tolist() == [1, 7]
    negative = run(pad, 0, -100, mask=mask, masks=mask[None])
    for name in ("mask", "masks"):
        assert np.unique(negative[name]).tolist() == [-100, 1]
        assert negative[name].dtype == np.int32


def test_dropping_an_object_leaves_background_not_the_ignored_class():
    mask = np.zeros((64, 80), np.uint8)
    mask[10:30, 10:30] = 1
    out = run(A.MaskDropout((1, 1), p=1), 0, 255, mask=mask)

    assert 255 not in out["mask"]


@pytest.mark.parametrize(
    "transform",
    [A.RandomGamma(p=1), A.ColorJitter(p=1), A.AutoContrast(p=1), A.MedianBlur(p=1)],
    ids=lambda t: type(t).__name__,
)
def test_sixteen_bits_are_never_turned_into_something_else(transform):
    deep = IMAGE.astype(np.uint16) * 257
    with pytest.raises(fiberaug.UsageError, match=r"not uint16: .*ToFloat\(max_value"):
        run(transform, image=deep)
    out = run([A.ToFloat(max_value=65535), transform], image=deep)
    assert out["image"].dtype == np.float32
    assert run(A.HorizontalFlip(p=1), image=deep)["image"].dtype == np.uint16


def test_a_box_without_area_is_dropped_or_that_samples_error_as_the_user_says():
    empty = np.array([[5, 5, 5, 9], [30, 10, 60, 40]], np.float32)

    assert len(run(A.HorizontalFlip(p=1), bboxes=empty)["bboxes"]) == 1
    strict = A.Compose([A.HorizontalFlip(p=1)], bbox_params=A.BboxParams("pascal_voc"))
    with pytest.raises(fiberaug.SampleBroken, match="filter_invalid_bboxes=True"):
        run(strict, bboxes=empty)


@pytest.mark.parametrize(
    ("compose", "words"),
    [
        (A.Compose([CROP], bbox_params=A.BboxParams("yolo")), "must be 'pascal_voc'"),
        (A.Compose([CROP], keypoint_params=A.KeypointParams("yx")), "must be 'xy'"),
        (
            A.Compose([CROP], additional_targets={"boxes2": "bboxes"}),
            "images and masks, not bboxes",
        ),
        (
            A.Compose(
                [CROP], bbox_params=A.BboxParams("pascal_voc", label_fields=["a", "b"])
            ),
            "are no fields",
        ),
    ],
    ids=["yolo", "yx", "more boxes", "labels"],
)
def test_a_pipeline_that_expects_other_forms_is_refused_when_it_is_built(
    compose, words
):
    sample = {"bboxes": BOXES, "keypoints": BOXES[:, :2], "boxes2": BOXES}
    with pytest.raises(fiberaug.UsageError, match=words):
        run(compose, **sample)


def test_a_field_that_an_operation_before_has_taken_away_is_no_trouble():
    def only_boxes(sample):
        return {name: sample[name] for name in ("image", "bboxes")}

    out = run(
        [only_boxes, CROP],
        bboxes=BOXES,
        bbox_labels=np.arange(3),
        mask=np.zeros((64, 80), np.uint8),
        polygons=[BOXES[:, :2]],
    )
    assert len(out["bboxes"]) == 2
    assert out["bbox_labels"] is None


def test_fields_that_a_transform_asks_for_are_handed_to_it():
    """RandomCropNearBBox takes its box from the sample."""
    transform = A.RandomCropNearBBox(max_part_shift=0, p=1)
    out = run(transform, cropping_bbox=[10, 20, 40, 60])

    assert np.array_equal(out["image"], IMAGE[20:60, 10:40])
