"""Policies draw what the papers say: operations, strengths, signs, probabilities."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import fiberaug
from fiberaug.augmixing import AugMixPolicy
from fiberaug.erasing import ErasingPolicy
from fiberaug.magnitudes import NOTHING, OPERATIONS
from fiberaug.policies import (
    AutoAugmentPolicy,
    RandAugmentPolicy,
    TrivialAugmentPolicy,
)
from fiberaug.warping import composed, inverse, source_pixels

LAW = settings(deadline=None, max_examples=60)
ROWS = 20_000
SIZE = 200, 331  # (height, width); the searches' images had sides of 331 px

MOVING = ["ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"]
FACTORS = ["Brightness", "Color", "Contrast", "Sharpness"]
REST = ["Posterize", "Solarize", "AutoContrast", "Equalize"]
FOURTEEN = ["Identity", *MOVING, *FACTORS, *REST]
SIGNED = {*MOVING, *FACTORS}

# AutoAugment, table 9 of the paper's appendix: ImageNet's policy.
IMAGENET = """
Posterize 0.4 8 Rotate 0.6 9 | Solarize 0.6 5 AutoContrast 0.6 5
Equalize 0.8 8 Equalize 0.6 3 | Posterize 0.6 7 Posterize 0.6 6
Equalize 0.4 7 Solarize 0.2 4 | Equalize 0.4 4 Rotate 0.8 8
Solarize 0.6 3 Equalize 0.6 7 | Posterize 0.8 5 Equalize 1.0 2
Rotate 0.2 3 Solarize 0.6 8 | Equalize 0.6 8 Posterize 0.4 6
Rotate 0.8 8 Color 0.4 0 | Rotate 0.4 9 Equalize 0.6 2
Equalize 0.0 7 Equalize 0.8 8 | Invert 0.6 4 Equalize 1.0 8
Color 0.6 4 Contrast 1.0 8 | Rotate 0.8 8 Color 1.0 2
Color 0.8 8 Solarize 0.8 7 | Sharpness 0.4 7 Invert 0.6 8
ShearX 0.6 5 Equalize 1.0 9 | Color 0.4 0 Equalize 0.6 3
Equalize 0.4 7 Solarize 0.2 4 | Solarize 0.6 5 AutoContrast 0.6 5
Invert 0.6 4 Equalize 1.0 8 | Color 0.6 4 Contrast 1.0 8
Equalize 0.8 8 Equalize 0.6 3
"""
PAIRS = [
    [(w[0], float(w[1]), int(w[2])), (w[3], float(w[4]), int(w[5]))]
    for w in (p.split() for p in IMAGENET.strip().replace("\n", "|").split("|"))
]


class Numbers:
    """A source of numbers: numpy's generator, or numbers that a test chose."""

    def __init__(self, seed=0, *, chosen=()):
        self._rng = np.random.default_rng(seed)
        self._chosen = list(chosen)

    def uniform(self, shape):
        if not self._chosen:
            return self._rng.random(shape)
        return np.broadcast_to(np.array(self._chosen.pop(0), np.float64), shape)

    def gamma(self, alpha, shape):
        return self._rng.standard_gamma(alpha, shape)


def searched(name, share):
    """RandAugment's and AutoAugment's strength at a share of the way, unsigned."""
    if name in FACTORS:
        return 0.9 * share
    return {
        "ShearX": 0.3 * share,
        "ShearY": 0.3 * share,
        "TranslateX": math.floor(150 * share + 1e-9),
        "TranslateY": math.floor(200 * 150 / 331 * share),
        "Rotate": 30 * share,
        "Posterize": 8 - round(4 * share),
        "Solarize": 1 - share,
    }.get(name, 0)


def wide(name, share):
    """The wide space of TrivialAugment."""
    if name in [*FACTORS, "ShearX", "ShearY"]:
        return 0.99 * share
    return {
        "TranslateX": math.floor(32 * share + 1e-9),
        "TranslateY": math.floor(32 * share + 1e-9),
        "Rotate": 135 * share,
        "Posterize": 8 - round(6 * share),
        "Solarize": 1 - share,
    }.get(name, 0)


def mixed(name, share):
    """AugMix's strength."""
    if name == "Posterize":
        return 4 - round(4 * share)
    if name in ("TranslateX", "TranslateY"):
        side = SIZE[1] if name == "TranslateX" else SIZE[0]
        return math.floor(side / 3 * share + 1e-9)
    return searched(name, share)


def by_name(drawn):
    """Magnitudes by operation, of all that was drawn."""
    flat = drawn.operations.ravel(), drawn.magnitudes.ravel()
    found = {}
    for number, magnitude in zip(*flat, strict=True):
        if number != NOTHING:
            found.setdefault(OPERATIONS[number], []).append(magnitude)
    return found


def assert_even(counts, total, share):
    """Counts of a share of the draws, within five standard deviations."""
    spread = 5 * math.sqrt(total * share * (1 - share))
    assert all(abs(count - total * share) <= spread for count in counts), counts


# ---- RandAugment, TrivialAugment -----------------------------------------------------


@given(bin_=st.integers(0, 30))
@settings(LAW, max_examples=31)
def test_randaugment_gives_each_operation_the_strength_of_its_bin(bin_):
    policy = RandAugmentPolicy(num_ops=3, magnitude=bin_)
    found = by_name(policy.draw(Numbers(bin_), 200, SIZE))

    assert set(found) == set(FOURTEEN)
    for name, magnitudes in found.items():
        strength = searched(name, bin_ / 30)
        signs = {1, -1} if name in SIGNED and strength else {1}
        assert np.allclose(np.abs(magnitudes), strength, rtol=0, atol=1e-12), name
        assert {-1 if m < 0 else 1 for m in magnitudes} == signs, name


def test_randaugment_draws_fourteen_operations_evenly_and_signs_by_a_coin():
    drawn = RandAugmentPolicy().draw(Numbers(), ROWS, SIZE)
    found = by_name(drawn)

    assert drawn.operations.shape == (ROWS, 2)
    assert_even([len(found[name]) for name in FOURTEEN], 2 * ROWS, 1 / 14)
    for name in SIGNED:
        assert_even([(np.array(found[name]) < 0).sum()], len(found[name]), 1 / 2)
    both = drawn.operations[:, 0] == drawn.operations[:, 1]
    assert_even([both.sum()], ROWS, 1 / 14)  # steps are drawn apart


def test_trivialaugment_draws_one_operation_at_any_bin_evenly():
    drawn = TrivialAugmentPolicy().draw(Numbers(), ROWS, SIZE)
    found = by_name(drawn)

    assert drawn.operations.shape == (ROWS, 1)
    assert_even([len(found[name]) for name in FOURTEEN], ROWS, 1 / 14)
    for name, magnitudes in found.items():
        strengths = {round(wide(name, bin_ / 30), 9) for bin_ in range(31)}
        assert {round(abs(m), 9) for m in magnitudes} == strengths, name
        negative = (np.array(magnitudes) < 0).sum()
        half = 30 / 31 / 2  # the weakest has no sign
        assert_even([negative], len(magnitudes), half * (name in SIGNED))
    angles = np.abs(found["Rotate"])
    assert_even(np.histogram(angles, 31, (-2.25, 137.25))[0], len(angles), 1 / 31)


# ---- AutoAugment ---------------------------------------------------------------------


@pytest.mark.parametrize("pair", range(25))
def test_autoaugment_does_the_pairs_of_the_paper_with_their_probabilities(pair):
    for done in ([True, True], [True, False], [False, True], [False, False]):
        expected = []
        chances = []
        for (name, chance, bin_), want in zip(PAIRS[pair], done, strict=True):
            chances.append(chance - 1e-9 if want and chance else chance + 1e-9)
            if chances[-1] < chance:
                strength = searched(name, bin_ / 9)
                expected.append((name, -strength if name in SIGNED else strength))
        numbers = [(pair + 0.5) / 25, *chances, 0.49, 0.49]
        drawn = AutoAugmentPolicy().draw(Numbers(chosen=[numbers]), 1, SIZE)
        found = list(zip(drawn.operations[0], drawn.magnitudes[0], strict=True))
        found = [(OPERATIONS[n], round(m, 9)) for n, m in found if n != NOTHING]
        assert found == [(name, round(m, 9)) for name, m in expected]


def test_autoaugment_draws_each_pair_evenly():
    found = by_name(AutoAugmentPolicy().draw(Numbers(), ROWS, SIZE))
    for name in OPERATIONS:
        mean = sum(chance for pair in PAIRS for n, chance, _ in pair if n == name) / 25
        count = len(found.get(name, []))
        assert abs(count - mean * ROWS) <= 5 * math.sqrt(ROWS * max(mean, 1e-9)), name


# ---- AugMix --------------------------------------------------------------------------


@pytest.mark.parametrize("all_ops", [True, False])
def test_augmix_draws_chains_of_one_to_three_weak_operations(all_ops):
    drawn = AugMixPolicy(all_ops=all_ops).draw(Numbers(), ROWS // 3, SIZE).chains
    names = [*MOVING, *REST, *(FACTORS if all_ops else [])]
    found = by_name(drawn)
    total = sum(map(len, found.values()))
    lengths = (drawn.operations != NOTHING).sum(-1).ravel()

    assert drawn.operations.shape == (ROWS // 3, 3, 3)
    assert set(found) == set(names)
    assert_even([len(found[name]) for name in names], total, 1 / len(names))
    assert_even(np.bincount(lengths, minlength=4)[1:], len(lengths), 1 / 3)
    for name, magnitudes in found.items():
        strengths = {round(mixed(name, bin_ / 9), 9) for bin_ in range(3)}
        assert {round(abs(m), 9) for m in magnitudes} == strengths, name


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_augmix_weights_are_beta_and_dirichlet(alpha):
    policy = AugMixPolicy(alpha=alpha, mixture_width=4)
    own, *chains = policy.draw(Numbers(), ROWS, SIZE).weights.T

    assert np.allclose(own + sum(chains), 1)
    assert all((weight >= 0).all() for weight in [own, *chains])
    assert own.mean() == pytest.approx(0.5, abs=0.02)
    assert own.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)
    share = chains[0] / (1 - own).clip(1e-300)
    assert share.mean() == pytest.approx(1 / 4, abs=0.02)
    assert share.var() == pytest.approx(3 / 16 / (4 * alpha + 1), rel=0.05)


def test_augmix_takes_a_depth_a_width_and_a_severity():
    policy = AugMixPolicy(severity=10, mixture_width=2, chain_depth=5)
    chains, weights = policy.draw(Numbers(), 3000, SIZE)

    assert chains.operations.shape == (3000, 2, 5)
    assert (chains.operations != NOTHING).all()
    assert weights.shape == (3000, 3)
    bits = {round(mixed("Posterize", bin_ / 9)) for bin_ in range(10)}
    assert set(by_name(chains)["Posterize"]) == bits


# ---- random erasing ------------------------------------------------------------------


@LAW
@given(st.integers(4, 300), st.integers(4, 300), st.integers(0, 99))
def test_what_is_erased_lies_inside_and_is_of_the_size_and_shape_asked_for(h, w, seed):
    boxes, seeds = ErasingPolicy().draw(Numbers(seed), 50, (h, w))
    top, left, height, width = boxes.T

    assert (boxes >= 0).all()
    assert ((top + height <= h) & (left + width <= w)).all()
    assert ((height < h) & (width < w)).all()
    # Sides are rounded to whole pixels.
    most = 0.33 * h * w
    assert ((height - 0.5).clip(0) * (width - 0.5).clip(0) <= most + 1e-9).all()
    fits = height > 0
    least = (height[fits] + 0.5) * (width[fits] + 0.5)
    assert (least >= 0.02 * h * w - 1e-9).all()
    assert ((height[fits] - 0.5) <= 3.3 * (width[fits] + 0.5) + 1e-9).all()
    assert ((height[fits] + 0.5) >= 0.3 * (width[fits] - 0.5) - 1e-9).all()
    assert ((seeds >= 0) & (seeds < 2**32)).all()


def test_areas_are_uniform_and_shapes_uniform_in_the_logarithm():
    boxes = ErasingPolicy().draw(Numbers(), ROWS, (1000, 1000)).boxes
    top, left, height, width = boxes.T.astype(float)
    area, ratio = height * width / 1e6, np.log(height / width)

    assert_even(np.histogram(area, 10, (0.02, 0.33))[0], ROWS, 1 / 10)
    low, high = math.log(0.3), math.log(3.3)
    assert_even(np.histogram(ratio, 10, (low, high))[0], ROWS, 1 / 10)
    assert (top / (1000 - height)).mean() == pytest.approx(0.5, abs=0.01)
    assert (left / (1000 - width)).mean() == pytest.approx(0.5, abs=0.01)


def test_the_first_of_ten_rectangles_that_fits_is_taken_and_none_where_none_does():
    fits = [[0.0, 0.5, 0.5, 0.999], [0.1, 0.5, 0, 0]]
    tall = [[[0.9, 0.999, 0, 0]] * 8 + fits]
    policy = ErasingPolicy(scale=(0.1, 1.0), ratio=(0.25, 4))
    box = policy.draw(Numbers(chosen=[tall, 0.5]), 1, (100, 100)).boxes[0]
    assert box.tolist() == [34, 68, 32, 32]  # a tenth of the area, square

    never = policy.draw(Numbers(chosen=[0.999, 0.5]), 1, (100, 100)).boxes[0]
    assert never.tolist() == [0, 0, 0, 0]


# ---- arguments -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "arguments", "words"),
    [
        (RandAugmentPolicy, {"num_ops": 0}, "num_ops .* 1 to 16, got 0"),
        (RandAugmentPolicy, {"num_ops": 2.0}, "num_ops .* whole number"),
        (RandAugmentPolicy, {"magnitude": 31}, "magnitude .* 0 to 30, got 31"),
        (RandAugmentPolicy, {"num_magnitude_bins": 1}, "2 to 1000, got 1"),
        (TrivialAugmentPolicy, {"num_magnitude_bins": True}, "whole number"),
        (AugMixPolicy, {"severity": 11}, "severity .* 1 to 10, got 11"),
        (AugMixPolicy, {"chain_depth": 0}, "chain_depth .* 1 to 8, got 0"),
        (AugMixPolicy, {"alpha": 0}, "alpha must be above 0"),
        (AugMixPolicy, {"all_ops": 1}, "True or False, got 1"),
        (AugMixPolicy, {"mixture_width": 9}, "1 to 8, got 9"),
        (ErasingPolicy, {"scale": (0.3, 0.1)}, "scale .* rise"),
        (ErasingPolicy, {"scale": (0.3, 1.1)}, r"from 0 to 1, got \(0.3, 1.1\)"),
        (ErasingPolicy, {"ratio": (0, 1)}, "ratio .* 0.01 to 100"),
        (ErasingPolicy, {"ratio": 2}, "two numbers"),
    ],
)
def test_an_argument_out_of_bounds_is_refused_with_value_and_bound(
    policy, arguments, words
):
    with pytest.raises(fiberaug.UsageError, match=words):
        policy(**arguments)


# ---- where pixels go -----------------------------------------------------------------

moves = st.one_of(
    st.tuples(st.sampled_from(["ShearX", "ShearY"]), st.floats(-0.99, 0.99)),
    st.tuples(st.sampled_from(["TranslateX", "TranslateY"]), st.integers(-40, 40)),
    st.tuples(st.just("Rotate"), st.floats(-180, 180)),
)
sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))


@LAW
@given(moves, sizes)
def test_pixels_come_from_where_pillow_takes_them(move, size):
    height, width = size
    image = np.arange(height * width, dtype=np.int32).reshape(size) + 1
    back = inverse(*move, size)
    theirs = Image.fromarray(image).transform(
        (width, height), Image.Transform.AFFINE, back, Image.Resampling.NEAREST
    )
    at, inside = source_pixels(back, size)

    assert np.array_equal(np.asarray(theirs), np.where(inside, image.ravel()[at], 0))


@LAW
@given(st.floats(-180, 180), sizes)
def test_a_rotation_is_pillows_to_a_pixel_in_a_thousand(angle, size):
    image = np.random.default_rng(0).integers(1, 256, size, np.uint8)
    theirs = np.asarray(Image.fromarray(image).rotate(angle))
    at, inside = source_pixels(inverse("Rotate", angle, size), size)
    ours = np.where(inside, image.ravel()[at], 0)

    assert (theirs != ours).sum() <= 2 + image.size // 1000


@LAW
@given(st.lists(moves, min_size=1, max_size=4), sizes)
def test_a_chain_of_maps_takes_a_point_forward_where_the_inverses_take_it_back(
    steps, size
):
    point = np.array([3.0, 5.0, 1.0])
    found = composed(steps, size) @ point
    for step in reversed(steps):
        found = np.array([*inverse(*step, size), 0, 0, 1]).reshape(3, 3) @ found

    assert np.allclose(found, point, atol=1e-6)


def test_colours_move_nothing():
    assert composed([("Invert", 0), ("Color", 0.3), ("Identity", 0)], SIZE) is None
