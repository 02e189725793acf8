"""Annotations are drawn where they are, over an image that can be looked at."""

import numpy as np
import pytest

from fiberaug.overlay import draw_annotations, viewable


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 6, 1), np.uint8),
        np.zeros((4, 6, 2), np.uint8),
        np.zeros((4, 6, 4), np.uint8),
        np.full((4, 6, 3), 65535, np.uint16),
        np.linspace(-2, 2, 72, dtype=np.float32).reshape(4, 6, 3),
        np.zeros((4, 6), np.uint8),
    ],
    ids=["gray", "gray and alpha", "rgba", "16 bits", "normalised", "plane"],
)
def test_any_image_can_be_looked_at(image):
    shown = viewable(image)

    assert (shown.dtype, shown.shape) == (np.uint8, (4, 6, 3))
    if image.dtype == np.uint16:
        assert shown.min() == 255
    if image.dtype == np.float32:
        assert (shown.min(), shown.max()) == (0, 255)


def test_lines_and_tints_are_where_the_annotations_are():
    image = np.full((400, 500, 3), 128, np.uint8)
    mask = np.zeros((400, 500), np.uint8)
    mask[300:, :100] = 2
    instance = np.zeros((1, 400, 500), np.uint8)
    instance[0, :40, 450:] = 1
    fields = {
        "image": image,
        "mask": mask,
        "masks": instance,
        "bboxes": np.array([[100, 120, 220, 260]], np.float32),
        "bbox_labels": np.array([1]),
        "keypoints": np.array([[400, 300]], np.float32),
        "polygons": [np.array([[300, 20], [360, 20], [360, 90]], np.float32)],
    }
    changed = (draw_annotations(fields, ["dirt", "chip"]) != image).any(-1)

    assert changed[310:390, 10:90].all()
    assert changed[5:35, 455:495].all()
    assert changed[120:260, 100].all()
    assert changed[260, 100:220].all()
    assert changed[300, 400]
    assert changed[20, 300:360].all()
    assert not changed[140:240, 120:200].any()
    assert not changed[350:, 200:380].any()


def test_a_small_image_is_enlarged_with_its_annotations():
    fields = {"image": np.zeros((32, 40, 3), np.uint8), "keypoints": [[20, 16]]}
    drawn = draw_annotations(fields)

    assert drawn.shape == (320, 400, 3)
    rows, columns = drawn.any(-1).nonzero()
    assert abs(rows.mean() - 160) < 2
    assert abs(columns.mean() - 200) < 2


def test_a_sample_without_annotations_is_its_image():
    image = np.random.default_rng(0).integers(0, 256, (320, 330, 3), np.uint8)
    fields = {"image": image, "mask": None, "bboxes": np.zeros((0, 4), np.float32)}

    assert np.array_equal(draw_annotations(fields), image)
