"""Shipped processors move pixels, boxes, masks and points alike."""

import numpy as np
import pytest

import fiberaug
from fiberaug.processors import ChangeCase, Flip, Rotate, ShiftScaleRotate, warp_sample
from fiberaug.sample import Sample

RED, BLUE = (255, 0, 0), (0, 0, 255)


def scene():
    """Two coloured rectangles, each with box, label, id and mask."""
    image = np.full((60, 80, 3), 40, np.uint8)
    image[10:22, 20:44], image[35:55, 50:70] = RED, BLUE
    masks = np.stack([(image == colour).all(-1) for colour in (RED, BLUE)])
    return Sample(
        {
            "image": image,
            "mask": (masks[0] + 2 * masks[1]).astype(np.uint8),
            "masks": masks.astype(np.uint8),
            "mask_labels": np.array([5, 6]),
            "bboxes": np.array([[20, 10, 44, 22], [50, 35, 70, 55]], np.float32),
            "bbox_labels": np.array([1, 2]),
            "bbox_ids": np.array([11, 12]),
            "keypoints": np.array([[32, 16], [60, 45]], np.float32),
            "polygons": [
                np.array([[20, 10], [44, 10], [44, 22], [20, 22]], np.float32)
            ],
        },
        key="k",
        url="",
    )


def run(processor, seed=0):
    processor.rng = np.random.default_rng(seed)
    made = processor._process_sample(scene())
    return made, processor._process_info()


def near(image, colour):
    return (np.abs(image.astype(int) - colour).max(-1) < 60).nonzero()


@pytest.mark.parametrize(
    "processor",
    [
        Rotate(limit=30),
        Rotate(limit=(45, 45)),
        ShiftScaleRotate(),
        ShiftScaleRotate(shift_limit=0.1, scale_limit=(0.2, 0.3), rotate_limit=0),
        Flip(direction="random"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("seed", range(5))
def test_boxes_masks_and_points_land_where_the_colours_went(processor, seed):
    made, _ = run(processor, seed)
    for label, colour in ((1, RED), (2, BLUE)):
        rows, columns = near(made["image"], colour)
        kept = np.flatnonzero(made["bbox_labels"] == label)
        if not len(rows):
            continue
        (row,) = kept
        box = made["bboxes"][row]
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.abs(box - found).max() < 2.5
        assert made["bbox_ids"][row] == 10 + label
        assert made["mask_labels"][row] == 4 + label
        inside = made["masks"][row] > 0
        assert (inside[rows, columns]).mean() > 0.9
        assert ((made["mask"] == label) == inside).mean() > 0.99
        if min(found[:2]) > 3 and found[2] < 77 and found[3] < 57:  # all of it is there
            x, y = made["keypoints"][label - 1]
            assert abs(x - columns.mean() - 0.5) < 1.5
            assert abs(y - rows.mean() - 0.5) < 1.5
    assert np.abs(made["polygons"][0].mean(0) - made["keypoints"][0]).max() < 1e-3


def test_a_flip_moves_pixels_bit_for_bit():
    before = scene()
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    turned = {
        "horizontal": noise[:, ::-1],
        "vertical": noise[::-1],
        "both": noise[::-1, ::-1],
    }
    for direction, expected in turned.items():
        processor = Flip(direction=direction)
        made = processor._process_sample(before.replace(image=noise))
        assert np.array_equal(made["image"], expected)
    assert made["bboxes"].tolist() == [[36, 38, 60, 50], [10, 5, 30, 25]]
    drawn = {run(Flip(direction="random"), seed)[1]["direction"] for seed in range(40)}
    assert drawn == {"none", *turned}


def test_what_leaves_the_image_is_dropped_with_all_that_belongs_to_it():
    away = np.array([[1, 0, 40], [0, 1, 0]], np.float64)
    made = warp_sample(scene(), away, fill=9, mask_fill=255)

    assert made["bboxes"].tolist() == [[60, 10, 80, 22]]
    assert (made["bbox_labels"].tolist(), made["bbox_ids"].tolist()) == ([1], [11])
    assert (len(made["masks"]), made["mask_labels"].tolist()) == (1, [5])
    assert len(made["keypoints"]) == 2
    assert (made["image"][:, :40] == 9).all()
    assert (made["mask"][:, :40] == 255).all()


def test_what_is_logged_is_what_was_drawn():
    made, info = run(Rotate(limit=(20, 30)), 3)
    again = Rotate(limit=(info["angle"], info["angle"]))
    assert 20 <= info["angle"] <= 30
    assert np.array_equal(run(again)[0]["image"], made["image"])
    assert set(run(ShiftScaleRotate())[1]) == {"angle", "scale", "shift"}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Rotate(limit=(5, 3)), "limit is a number or"),
        (lambda: ShiftScaleRotate(scale_limit=2), "scale_limit must be above -1"),
        (lambda: Flip(direction="up"), "direction must be"),
        (lambda: ChangeCase(case="camel"), "case must be one of"),
    ],
    ids=["limit", "scale", "direction", "case"],
)
def test_arguments_out_of_range_are_refused(make, words):
    with pytest.raises(fiberaug.UsageError, match=words):
        make()
