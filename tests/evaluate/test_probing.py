"""Real and synthetic are told apart exactly where they differ, and by the right cue."""

import io
import json
import logging

import cv2
import numpy as np
import pytest
from PIL import Image

from fiberaug.errors import UsageError
from fiberaug.evaluate import Features, probe
from fiberaug.evaluate.cues import CUES, blockiness, sharpness

N = 120


def scenes(seed, count=N, side=48):
    """Smooth pictures with edges and fine grain, as of a camera."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(count, 6, 6, 3)) + 2 * rng.normal(size=(count, 6, 6, 1))
    found = []
    for grid in coarse:
        smooth = cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
        grain = rng.normal(size=(side, side, 3)) * 0.08
        found.append(np.clip((smooth + grain) * 25 + 128, 0, 255).astype(np.uint8))
    return np.stack(found)


def jpeg(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def chroma_halved(image):
    planes = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    small = cv2.resize(planes, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    planes[:, :, 1:] = cv2.resize(small, planes.shape[1::-1])[:, :, 1:]
    return cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB)


TINT = np.array([40, 0, -40])
REAL, OTHER = scenes(0), scenes(1)
LABELS = np.arange(N) % 3


def changed(change):
    return [change(image) for image in OTHER]


def test_another_real_split_cannot_be_told_apart():
    found = probe(REAL, OTHER, LABELS, LABELS)

    assert found.overall.low < 0.5 < found.overall.high
    assert found.per_class.keys() == {0, 1, 2}
    assert found.trivial == ()
    assert all(cue.low < 0.5 < cue.high for cue in found.cues.values())


@pytest.mark.parametrize(
    ("cue", "change"),
    [
        ("blockiness", lambda image: jpeg(image, 85)),
        ("sharpness", lambda image: cv2.GaussianBlur(image, (0, 0), 0.7)),
        ("colour", lambda image: np.clip(image + TINT, 0, 255).astype("u1")),
        ("contrast", lambda image: (image * 0.3 + 90).astype(np.uint8)),
        ("size", lambda image: image[:-1]),
        ("size", lambda image: image[:, :, 1]),
        ("chroma", chroma_halved),
    ],
    ids=["codec", "blur", "tint", "contrast", "height", "channels", "chroma"],
)
def test_a_mismatch_is_found_by_its_name(cue, change):
    found = probe(REAL, changed(change), LABELS, LABELS)

    assert found.overall.low > 0.6
    assert cue in found.trivial
    assert found.cues[cue].value >= max(s.value for s in found.cues.values()) - 0.05


def test_a_shift_of_classes_is_no_cue_within_classes():
    """Each class has its own brightness, and the sets hold other shares of classes."""
    light = np.where(LABELS == 0, 60, 0)[:, None, None, None]
    real = np.clip(REAL + light, 0, 255).astype(np.uint8)
    other = np.clip(OTHER + light, 0, 255).astype(np.uint8)
    some = (LABELS == 0) | (np.arange(N) % 2 == 0)

    within = probe(real, other[some], LABELS, LABELS[some])
    across = probe(real, other[LABELS == 0])

    assert within.overall.low < 0.5 < within.overall.high
    assert across.overall.low > 0.55


def test_the_class_that_differs_is_the_one_that_is_told():
    odd = OTHER.copy()
    odd[LABELS == 1] = 255 - odd[LABELS == 1] // 2

    found = probe(REAL, odd, LABELS, LABELS).per_class

    assert found[1].low > 0.8
    assert max(found[0].low, found[2].low) < 0.5


def test_features_are_probed_with_the_labels_that_they_carry():
    rng = np.random.default_rng(0)
    one, two = np.float32(rng.normal(size=(2, N, 40)))
    two[LABELS == 2] += 0.8
    sets = [Features(values=v, labels=LABELS, extractor="a" * 64) for v in (one, two)]

    found = probe(*sets)

    assert found.per_class[2].low > 0.8
    assert found.per_class[0].low < 0.5
    assert (found.cues, found.trivial) == ({}, ())
    assert found == probe(one, two, LABELS, LABELS)


def test_a_class_with_too_few_images_is_named(caplog):
    labels = np.where(np.arange(N) < 3, 7, 0)
    with caplog.at_level(logging.WARNING, "fiberaug"):
        found = probe(REAL, OTHER, labels, np.zeros(N, int))

    assert found.skipped == {7: (3, 0)}
    assert found.per_class.keys() == {0}
    assert "class 7 is left out of the probe: 3 real and 0 synthetic" in caplog.text


def test_few_images_of_a_class_are_enough_and_many_are_cut():
    few = probe(REAL[:6], OTHER[:5], folds=5)
    cut = probe(REAL, changed(lambda image: image // 2), per_class=20)
    whole = probe(REAL, changed(lambda image: image // 2))

    assert few.overall.high - few.overall.low > 0.3
    assert cut.overall.high - cut.overall.low > whole.overall.high - whole.overall.low


def test_it_is_a_function_of_the_seed_and_fit_for_json():
    found = probe(REAL[:40], OTHER[:40], seed=3)

    assert found == probe(REAL[:40], OTHER[:40], seed=3)
    assert found != probe(REAL[:40], OTHER[:40], seed=4)
    assert json.loads(json.dumps(found.to_dict()))["trivial"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((REAL, np.zeros((9, 4))), "images twice or features twice"),
        ((REAL[:3], OTHER[:3]), r"no class has 5 real and 5 synthetic.*\(3, 3\)"),
        ((REAL, OTHER, LABELS, LABELS + 3), "are the class ids the same"),
        ((REAL, OTHER, LABELS), "labels of both sets or of none"),
        ((REAL, OTHER, LABELS[1:], LABELS), r"real_labels must be class ids \[120\]"),
        ((REAL, OTHER, LABELS, LABELS / 2), r"synthetic_labels must be .* float64"),
        ((REAL, OTHER[:0]), "synthetic has no images"),
    ],
)
def test_sets_that_do_not_fit_are_refused(arguments, words):
    with pytest.raises(UsageError, match=words):
        probe(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"folds": 1}, {"per_class": 4}, {"side": 0}, {"confidence": 1}, {"seed": -1}],
)
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(UsageError, match=next(iter(arguments))):
        probe(REAL, OTHER, **arguments)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 40, 3), (17, 9, 1), (8, 8, 3)])
@pytest.mark.parametrize("level", [0, 255])
def test_cues_are_finite_for_every_image(shape, level):
    for name, cue in CUES.items():
        assert np.isfinite(cue(np.full(shape, level, np.uint8))).all(), name


def test_the_grid_of_a_codec_is_seen_only_where_it_lies():
    clean = scenes(5, 1, 96)[0]
    coded = jpeg(clean, 50)
    moved = coded[3:-5, 3:-5]

    assert blockiness(coded)[0] > blockiness(clean)[0] + 0.2
    assert blockiness(coded)[1] > 0.1 > abs(blockiness(clean)[1])
    assert blockiness(moved)[0] < blockiness(coded)[0]
    assert blockiness(moved)[1] < blockiness(coded)[1] / 2


def test_sharpness_falls_with_blur_and_its_ratio_ignores_contrast():
    image = scenes(6, 1)[0]
    soft, faint = cv2.GaussianBlur(image, (0, 0), 1), (image // 2 + 64).astype("u1")

    assert sharpness(soft)[0] < sharpness(image)[0]
    assert abs(sharpness(faint)[1] - sharpness(image)[1]) < 0.2
