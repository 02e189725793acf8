"""A box that was pushed out of the image is gone, also where the library keeps it."""

from functools import partial

import albumentations as A
import numpy as np
import pytest

from fiberaug.augment.cpu import CpuEngine
from fiberaug.augment.pipeline import as_pipeline
from fiberaug.seeding import key

GRAY, SIDE = 40, 12
PLACES = [(0, 0), (148, 0), (0, 108), (148, 108), (70, 50), (0, 54), (148, 54)]
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255),
           (0, 255, 255), (255, 255, 255)]  # fmt: skip


def scene():
    """Seven coloured squares, six of them at the border."""
    image = np.full((120, 160, 3), GRAY, np.uint8)
    for (x, y), colour in zip(PLACES, COLOURS, strict=True):
        image[y : y + SIDE, x : x + SIDE] = colour
    boxes = np.array([[x, y, x + SIDE, y + SIDE] for x, y in PLACES], np.float32)
    return {"image": image, "bboxes": boxes, "bbox_labels": np.arange(len(boxes))}


DISTORTIONS = [
    A.ElasticTransform(alpha=300, sigma=12, p=1),
    A.GridDistortion(num_steps=9, distort_limit=(-0.99, 0.99), p=1),
    A.OpticalDistortion(distort_limit=(-1.0, -0.5), p=1),
    A.ThinPlateSpline(scale_range=(0.3, 0.5), p=1),
]


@pytest.mark.parametrize("transform", DISTORTIONS, ids=lambda t: type(t).__name__)
def test_every_box_that_is_delivered_has_pixels_and_those_without_are_gone(transform):
    sample = scene()
    engine = CpuEngine(as_pipeline(transform), list(sample))
    dropped = 0
    for seed in range(30):
        out = engine(sample, partial(key, seed, 0, 0, 0, 0)).fields
        image = out["image"].astype(int)
        for label in range(len(PLACES)):
            seen = (np.abs(image - COLOURS[label]).max(-1) < 40).sum()
            delivered = label in out["bbox_labels"]
            assert delivered or seen <= 4, (seed, label)
            if delivered and not seen:
                x_min, y_min, x_max, y_max = out["bboxes"][
                    list(out["bbox_labels"]).index(label)
                ].round()  # a border that was interpolated away
                area = image[int(y_min) : int(y_max), int(x_min) : int(x_max)]
                assert min(area.shape[:2]) <= 3 or (area != GRAY).any(), (seed, label)
            dropped += not delivered
    # The cells of GridDistortion fill the image, however they are drawn.
    assert (dropped > 0) == (type(transform) is not A.GridDistortion)


def test_a_box_that_did_not_move_stays():
    still = A.GridDistortion(distort_limit=(0, 0), p=1)
    sample = scene()
    engine = CpuEngine(as_pipeline(still), list(sample))
    out = engine(sample, partial(key, 0, 0, 0, 0, 0)).fields

    assert out["bbox_labels"].tolist() == list(range(len(PLACES)))


@pytest.mark.parametrize("operation", ["dilation", "erosion"])
@pytest.mark.parametrize("height", [60, 300])
def test_each_box_grows_and_shrinks_as_its_pixels_do(operation, height):
    """The library lets boxes of a list run into each other, or fails."""
    image = np.zeros((height, 700, 3), np.uint8)
    boxes = np.array(
        [[10, 10, 30, 25], [300, 20, 303, 50], [640, 0, 700, 20]], np.float32
    )
    for x_min, y_min, x_max, y_max in boxes.astype(int):
        image[y_min:y_max, x_min:x_max] = 255
    transform = A.Morphological(scale=(7, 5), operation=operation, p=1)
    sample = {"image": image, "bboxes": boxes, "bbox_labels": np.array([4, 5, 6])}
    engine = CpuEngine(as_pipeline(transform), list(sample))
    out = engine(sample, partial(key, 0, 0, 0, 0, 0)).fields
    expected = [4, 5, 6] if operation == "dilation" else [4, 6]

    assert out["bbox_labels"].tolist() == expected
    for box, label in zip(out["bboxes"], expected, strict=True):
        x_min, _, x_max, _ = boxes[label - 4].astype(int)
        part = out["image"].copy()
        part[:, : max(0, x_min - 9)] = part[:, x_max + 9 :] = 0
        rows, columns, _ = part.nonzero()
        extent = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.abs(box - extent).max() < 1e-3
