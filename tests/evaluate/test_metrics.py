"""All figures together, and what is refused before anything is measured."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.evaluate import (
    Features,
    closer_to_train,
    density_coverage,
    frechet_distance,
    kid,
    measure,
    near_copies,
    precision_recall,
)

PAIRS = [kid, frechet_distance, precision_recall, density_coverage, measure]


def normal(seed, rows=20, width=5):
    return np.random.default_rng(seed).normal(size=(rows, width))


def named(values, extractor="a" * 64):
    return Features(values=np.float32(values), labels=None, extractor=extractor)


def test_it_gathers_what_the_functions_give():
    x, y, z = normal(0), normal(1), normal(2)
    found = measure(x, y, z, extractor="mine")
    share = closer_to_train(y, x, z)

    assert (found.kid, found.kid_error) == kid(x, y)
    assert found.frechet == frechet_distance(x, y)
    assert (found.precision, found.recall) == precision_recall(x, y)
    assert (found.density, found.coverage) == density_coverage(x, y)
    assert found.near_copies == near_copies(y, x).share
    assert found.closer_to_train == share.value
    assert (found.closer_to_train_low, found.closer_to_train_high) == share[1:]
    assert (found.real, found.synthetic, found.extractor) == (20, 20, "mine")


def test_metrics_of_features_load_no_torch():
    code = "import sys, fiberaug.evaluate.metrics; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_can_be_written_as_json():
    found = measure(normal(0), np.float32(normal(1)))
    again = json.loads(json.dumps(found.to_dict()))

    assert again == found.to_dict()
    assert again["closer_to_train"] is None


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.sampled_from(["f2", "f4", "f8"]))
def test_order_and_block_change_nothing(seed, block, dtype):
    rng = np.random.default_rng(seed)
    sets = [normal(seed + i, 25).astype(dtype) for i in range(3)]
    expected = measure(*sets).to_dict()
    mixed = measure(*map(rng.permutation, sets), block=block).to_dict()

    assert expected.pop("extractor") is mixed.pop("extractor") is None
    assert mixed == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_metrics_of_one_extractor_are_compared():
    z = named(normal(2))
    one, two = (measure(named(normal(0)), named(normal(i)), z) for i in (1, 3))
    without = measure(named(normal(0)), named(normal(3)))

    assert one.extractor == "a" * 64
    assert one.minus(two)["kid"] == one.kid - two.kid
    assert "closer_to_train" in one.minus(two)
    assert "closer_to_train" not in one.minus(without)
    assert without.minus(one).keys() == one.minus(without).keys()


@pytest.mark.parametrize(("one", "two"), [("a", "b"), (None, None), ("a", None)])
def test_metrics_of_other_or_unknown_extractors_are_not_compared(one, two):
    found = [measure(normal(0), normal(1), extractor=name) for name in (one, two)]

    with pytest.raises(UsageError, match="different extractors cannot be compared"):
        found[0].minus(found[1])


@pytest.mark.parametrize("function", [*PAIRS, near_copies])
def test_features_of_other_classifiers_are_not_compared(function):
    with pytest.raises(UsageError, match="different classifiers cannot be compared"):
        function(named(normal(0)), named(normal(1), "b" * 64))


def test_held_out_features_must_be_of_the_same_classifier():
    with pytest.raises(UsageError, match="different classifiers"):
        measure(named(normal(0)), named(normal(1)), named(normal(2), "b" * 64))
    with pytest.raises(UsageError, match="different classifiers"):
        closer_to_train(normal(0), named(normal(1)), named(normal(2), "b" * 64))
    with pytest.raises(UsageError, match=r"extractor='mine' is not that"):
        measure(named(normal(0)), named(normal(1)), extractor="mine")


def with_nan(at):
    values = normal(0)
    values[at] = np.nan
    return values


@pytest.mark.parametrize("function", [*PAIRS, near_copies])
@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (with_nan((7, 2)), "must be finite and within float32, row 7 is not"),
        (normal(0) * 1e300, "must be finite and within float32, row 0 is not"),
        (np.full((20, 5), -np.inf), "row 0 is not"),
        (normal(0).astype(int), r"must be a float array \[N, D\], got ndarray of int"),
        ([[1.0, 2.0]], r"must be a float array \[N, D\], got list"),
        (normal(0)[:, :, None], r"must be \[N, D\] with D >= 1, got \[20, 5, 1\]"),
        (np.empty((20, 0)), r"got \[20, 0\]"),
        (normal(0, width=4), "must have the same width, got"),
        (normal(0, rows=0), "at least"),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_broken_features_are_refused_wherever_they_stand(
    function, broken, words, place
):
    sets = [normal(1), normal(2)]
    sets[place] = broken

    with pytest.raises(UsageError, match=words):
        function(*sets)


@pytest.mark.parametrize("function", PAIRS)
def test_constant_real_features_are_refused_and_a_dead_column_is_not(function):
    dead = normal(0)
    dead[:, 2] = 0

    with pytest.raises(UsageError, match="all 20 rows are equal"):
        function(np.ones((20, 5)), normal(1))
    assert function(dead, normal(1))


@pytest.mark.parametrize(
    ("function", "least"),
    [(kid, 3), (frechet_distance, 2), (measure, 6)],
)
def test_so_many_samples_are_needed_and_suffice(function, least):
    function(normal(0, least), normal(1, least))
    with pytest.raises(UsageError, match=f"at least {least} samples here, got"):
        function(normal(0, least), normal(1, least - 1))
