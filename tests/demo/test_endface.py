"""Laws of the rendered end faces."""

import numpy as np
import pytest

from fiberaug.demo.endface import CLASSES, MASK_CLASSES, render_endface

DEFECTS = [label for label in CLASSES if label != "clean"]
DEFECT = MASK_CLASSES.index("defect")


@pytest.mark.parametrize("label", CLASSES)
def test_the_same_seed_gives_the_same_scene(label):
    first, second = (render_endface(label, seed=3, size_px=96) for _ in range(2))

    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.mask, second.mask)
    np.testing.assert_array_equal(first.bboxes, second.bboxes)


@pytest.mark.parametrize("label", CLASSES)
def test_another_seed_gives_other_pixels(label):
    first, second = (render_endface(label, seed=s, size_px=96) for s in (3, 4))

    assert (first.image != second.image).mean() > 0.5


@pytest.mark.parametrize("size_px", [32, 96, 192])
@pytest.mark.parametrize("label", CLASSES)
def test_a_scene_has_the_promised_shapes_and_types(label, size_px):
    scene = render_endface(label, seed=0, size_px=size_px)

    assert scene.image.shape == (size_px, size_px, 3)
    assert scene.mask.shape == (size_px, size_px)
    assert scene.bboxes.shape == (len(scene.bbox_labels), 4)
    assert scene.image.dtype == scene.mask.dtype == np.uint8
    assert scene.bboxes.dtype == np.float32
    assert scene.label == label
    assert set(scene.bbox_labels) <= {label}
    assert scene.mask.max() < len(MASK_CLASSES)


@pytest.mark.parametrize("label", DEFECTS)
def test_the_boxes_enclose_exactly_the_pixels_of_the_defect(label):
    for seed in range(12):
        scene = render_endface(label, seed=seed, size_px=96)
        defect = scene.mask == DEFECT
        inside = np.zeros_like(defect)
        for x_min, y_min, x_max, y_max in scene.bboxes.astype(int):
            assert 0 <= x_min < x_max <= 96
            assert 0 <= y_min < y_max <= 96
            inside[y_min:y_max, x_min:x_max] = True
            part = defect[y_min:y_max, x_min:x_max]
            for side in (part[0], part[-1], part[:, 0], part[:, -1]):
                assert side.any()

        assert defect.any()
        assert not (defect & ~inside).any()


def test_a_clean_end_face_has_neither_box_nor_defect_pixels():
    for seed in range(6):
        scene = render_endface("clean", seed=seed, size_px=96)

        assert scene.bboxes.shape == (0, 4)
        assert scene.bbox_labels == ()
        assert set(np.unique(scene.mask)) == {0, 1, 2}


@pytest.mark.parametrize("label", DEFECTS)
def test_labels_with_one_seed_differ_only_around_the_defect(label):
    clean, other = (render_endface(c, seed=8, size_px=96) for c in ("clean", label))
    changed = (clean.image != other.image).any(axis=2)
    defect = other.mask == DEFECT

    assert changed[defect].mean() > 0.8
    assert changed[~defect].mean() < 0.5
    np.testing.assert_array_equal(clean.mask[~defect], other.mask[~defect])


def test_a_scratch_fills_less_of_its_box_than_a_chip():
    def share(label):
        scenes = [render_endface(label, seed=seed, size_px=96) for seed in range(12)]
        sides = np.concatenate([s.bboxes[:, 2:] - s.bboxes[:, :2] for s in scenes])
        covered = sum(int((s.mask == DEFECT).sum()) for s in scenes)
        return covered / float(sides.prod(axis=1).sum())

    assert share("scratch") < 0.6 * share("chip")


def test_a_chip_touches_the_edge_of_the_cladding():
    for seed in range(8):
        scene = render_endface("chip", seed=seed, size_px=96)
        ferrule = np.pad(scene.mask == 0, 1)
        beside = ferrule[:-2, 1:-1] | ferrule[2:, 1:-1]
        beside |= ferrule[1:-1, :-2] | ferrule[1:-1, 2:]

        assert (beside & (scene.mask == DEFECT)).any()


def test_the_mean_brightness_does_not_tell_a_defect_from_a_clean_face():
    means = {
        label: [
            render_endface(label, seed=seed, size_px=48).image.mean()
            for seed in range(1000 * number, 1000 * number + 40)
        ]
        for number, label in enumerate(CLASSES)
    }
    spread = np.std(means["clean"])

    for label in DEFECTS:
        assert abs(np.mean(means[label]) - np.mean(means["clean"])) < spread


def test_an_unknown_label_is_refused_with_the_valid_ones():
    with pytest.raises(ValueError, match="clean, scratch, dirt, chip"):
        render_endface("crack", seed=0)


def test_a_picture_too_small_for_a_fibre_is_refused():
    with pytest.raises(ValueError, match="at least 32"):
        render_endface("clean", seed=0, size_px=31)
