"""Each fault of a generator is seen by the figure that is for it, and by which not.

What a figure does not see is as much a law as what it sees: that is why there are
several. docs/evaluate.md has the same table from real images.
"""

import numpy as np
import pytest

from fiberaug.evaluate import measure, probe

N, D = 400, 16


def normal(seed):
    return np.random.default_rng(seed).normal(size=(N, D))


REAL, HELD_OUT, OTHER = normal(0), normal(1), normal(2)
SETS = {
    "alike": OTHER,
    "copies": REAL.copy(),
    "noisy copies": REAL + 0.1 * normal(3),
    "collapsed": OTHER[np.random.default_rng(4).integers(0, N // 20, N)],
    "one image": OTHER[:1].repeat(N, 0),
    "blurred": 0.6 * OTHER,
    "noisy": OTHER + normal(5),
    "diverse": 2 * OTHER,
    "shifted": OTHER + 0.5,
}


@pytest.fixture(scope="module")
def found():
    return {name: measure(REAL, table, HELD_OUT) for name, table in SETS.items()}


def test_another_real_split_is_in_order_everywhere(found):
    alike = found["alike"]

    assert abs(alike.kid) < 3 * alike.kid_error
    assert alike.frechet < 1.5
    assert min(alike.precision, alike.recall) > 0.7
    assert 0.85 < alike.density < 1.15
    assert alike.coverage > 0.93
    assert alike.near_copies < 0.04
    assert alike.closer_to_train_low < 0.5 < alike.closer_to_train_high


@pytest.mark.parametrize("name", ["copies", "noisy copies"])
def test_copies_are_caught_by_both_detectors(found, name):
    assert found[name].closer_to_train_low > 0.95
    assert found[name].near_copies == 1


@pytest.mark.parametrize("name", ["copies", "noisy copies"])
def test_copies_look_better_than_another_real_split_to_all_else(found, name):
    """So nothing but a comparison with held-out samples must rule them out."""
    copies, alike = found[name], found["alike"]

    assert copies.kid < alike.kid
    assert copies.frechet < alike.frechet
    assert copies.precision >= alike.precision
    assert copies.recall >= alike.recall
    assert copies.coverage >= alike.coverage


def test_a_collapse_is_caught_by_recall_and_coverage(found):
    collapsed = found["collapsed"]

    assert collapsed.recall < 0.05
    assert collapsed.coverage < 0.4
    assert collapsed.kid > 5 * collapsed.kid_error


def test_a_collapse_is_not_caught_by_precision_nor_by_copy_detectors(found):
    collapsed = found["collapsed"]

    assert collapsed.precision > 0.7
    assert collapsed.near_copies < 0.1
    assert collapsed.closer_to_train_low < 0.5  # few images, a wide interval
    assert collapsed.closer_to_train_high - collapsed.closer_to_train_low > 0.3


def test_one_image_over_and_over_has_no_diversity(found):
    assert found["one image"].recall == 0
    assert found["one image"].coverage < 0.02
    assert found["one image"].frechet > 10


def test_blur_is_caught_by_recall_and_density_but_not_by_precision(found):
    """Near the middle of the features all real balls meet."""
    blurred = found["blurred"]

    assert blurred.recall < 0.5
    assert blurred.density > 2
    assert blurred.kid > 5 * blurred.kid_error
    assert blurred.precision > 0.95


def test_blur_looks_like_copies_to_one_detector_and_not_to_the_other(found):
    assert found["blurred"].near_copies > 0.05 > found["alike"].near_copies
    assert found["blurred"].closer_to_train_low < 0.5


@pytest.mark.parametrize("name", ["noisy", "diverse"])
def test_noise_and_too_much_diversity_are_caught_by_precision(found, name):
    noisy = found[name]

    assert noisy.precision < 0.35
    assert noisy.density < 0.35
    assert noisy.coverage < 0.6
    assert noisy.kid > 5 * noisy.kid_error


@pytest.mark.parametrize("name", ["noisy", "diverse"])
def test_noise_and_too_much_diversity_are_not_caught_by_recall(found, name):
    assert found[name].recall > found["alike"].recall
    assert found[name].near_copies < 0.02
    assert found[name].closer_to_train_low < 0.5


def test_a_shift_is_caught_by_distances_and_the_probe(found):
    shifted = found["shifted"]

    assert shifted.kid > 5 * shifted.kid_error
    assert shifted.frechet > 2 * found["alike"].frechet
    assert probe(REAL, SETS["shifted"]).overall.low > 0.75


@pytest.mark.parametrize(
    ("name", "told_apart"),
    [("alike", False), ("blurred", True), ("noisy", True), ("diverse", True)],
)
def test_the_probe_tells_spread_apart(name, told_apart):
    assert (probe(REAL, SETS[name]).overall.low > 0.6) is told_apart


def test_the_probe_gets_less_than_a_half_on_copies():
    """The twin of each row is on the other side."""
    assert probe(REAL, REAL.copy()).overall.high < 0.5
