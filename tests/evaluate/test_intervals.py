"""Intervals hold the true share as often as they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from fiberaug.errors import UsageError
from fiberaug.evaluate.intervals import mean_share, wilson


@given(st.integers(1, 500), st.data(), st.floats(0.5, 0.999))
def test_it_is_the_interval_of_scipy(trials, data, confidence):
    hits = data.draw(st.integers(0, trials))
    expected = binomtest(hits, trials).proportion_ci(confidence, "wilson")

    share, low, high = wilson(hits, trials, confidence)

    assert share == hits / trials
    assert np.allclose((low, high), (expected.low, expected.high), atol=1e-12)


@pytest.mark.parametrize(("p", "q"), [(0.5, 0.5), (0.9, 0.7), (0.98, 0.6)])
def test_the_mean_of_two_shares_is_held_as_often_as_asked(p, q):
    n, m = 60, 90
    rows, columns = np.arange(n + 1), np.arange(m + 1)
    weight = np.outer(binom.pmf(rows, n, p), binom.pmf(columns, m, q))
    held = [
        [
            (s := mean_share([(a, n), (b, m)])).low <= (p + q) / 2 <= s.high
            for b in columns
        ]
        for a in rows
    ]

    assert 0.93 < (weight * held).sum() < 0.98


def test_one_part_is_its_own_mean():
    assert mean_share([(7, 20)], 0.9) == pytest.approx(wilson(7, 20, 0.9))
    assert mean_share([(20, 20), (0, 20)]).value == 0.5


@pytest.mark.parametrize("confidence", [0, 1, -1, float("nan")])
def test_a_confidence_is_a_share(confidence):
    with pytest.raises(UsageError, match="confidence must be in"):
        wilson(1, 2, confidence)
