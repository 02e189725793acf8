"""Laws of the rendered cabinets."""

import numpy as np
import pytest

from fiberaug.demo.cabinet import (
    CABINET_CLASSES,
    CABINET_MASK_CLASSES,
    render_cabinet,
)

SMALL = (378, 504)
CABLE = CABINET_MASK_CLASSES.index("cable")


@pytest.fixture(scope="module")
def scenes():
    return [render_cabinet(seed=seed, size=SMALL) for seed in range(4)]


def saturation(pixels):
    """Return the mean of (max - min) / max over RGB pixels of any shape."""
    values = pixels.reshape(-1, 3).astype(np.float64)
    high = values.max(axis=1)
    return float(((high - values.min(axis=1)) / np.maximum(high, 1.0)).mean())


def test_the_same_seed_gives_the_same_scene(scenes):
    again = render_cabinet(seed=0, size=SMALL)

    np.testing.assert_array_equal(again.image, scenes[0].image)
    np.testing.assert_array_equal(again.mask, scenes[0].mask)
    np.testing.assert_array_equal(again.bboxes, scenes[0].bboxes)
    assert again.bbox_labels == scenes[0].bbox_labels


def test_another_seed_gives_another_cabinet(scenes):
    assert (scenes[0].image != scenes[1].image).mean() > 0.5
    assert (scenes[0].mask != scenes[1].mask).mean() > 0.01


@pytest.mark.parametrize("size", [SMALL, (300, 300), (400, 260), (129, 200)])
def test_a_scene_has_the_promised_shapes_and_types(size):
    scene = render_cabinet(seed=5, size=size)

    assert scene.image.shape == (*size, 3)
    assert scene.mask.shape == size
    assert scene.bboxes.shape == (len(scene.bbox_labels), 4)
    assert scene.image.dtype == scene.mask.dtype == np.uint8
    assert scene.bboxes.dtype == np.float32
    assert scene.label is None
    assert set(np.unique(scene.mask)) == {0, CABLE}


def test_every_box_lies_inside_the_picture_and_has_an_area(scenes):
    for scene in scenes:
        low, high = scene.bboxes[:, :2], scene.bboxes[:, 2:]

        assert (low >= 0).all()
        assert (high <= np.array(SMALL[::-1])).all()
        assert (low < high).all()


def test_every_class_is_seen_in_every_cabinet(scenes):
    for scene in scenes:
        assert set(scene.bbox_labels) == set(CABINET_CLASSES)


def test_cables_cover_a_visible_part_of_the_picture(scenes):
    for scene in scenes:
        assert 0.02 < (scene.mask == CABLE).mean() < 0.3


def test_cables_are_more_colourful_than_what_is_behind_them(scenes):
    for scene in scenes:
        cable = scene.mask == CABLE

        assert saturation(scene.image[cable]) > 1.5 * saturation(scene.image[~cable])


def test_the_labels_of_one_seed_scale_with_the_size(scenes):
    double = render_cabinet(seed=0, size=(2 * SMALL[0], 2 * SMALL[1]))
    small, large = (
        s.bboxes[s.bbox_labels.index("splitter")] for s in (scenes[0], double)
    )

    assert (double.mask[::2, ::2] != scenes[0].mask).mean() < 0.05
    np.testing.assert_allclose(2.0 * small, large, atol=4.0)


def test_a_picture_too_small_for_a_cabinet_is_refused():
    with pytest.raises(ValueError, match="at least"):
        render_cabinet(seed=0, size=(127, 500))
