"""Bounds are exact: checked against an independent implementation, and by counting."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from fiberaug.auditing.binomial import band, beta_share, bounds

SIZES = st.floats(0.02, 1e6)


@given(a=SIZES, b=SIZES, x=st.floats(-0.5, 1.5))
def test_beta_shares_are_those_of_scipy(a, b, x):
    expected = special.betainc(a, b, min(1.0, max(0.0, x)))
    assert beta_share(a, b, x) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(trials=st.integers(1, 10**6), share=st.floats(0, 1), power=st.integers(1, 8))
def test_bounds_are_quantiles_of_beta_distributions(trials, share, power):
    hits, alpha = round(share * trials), 10.0**-power
    low, high = bounds(hits, trials, alpha)
    below = stats.beta.ppf(alpha / 2, hits, trials - hits + 1) if hits else 0.0
    above = stats.beta.ppf(1 - alpha / 2, hits + 1, trials - hits)
    assert low == pytest.approx(below, rel=1e-6, abs=1e-9)
    assert high == pytest.approx(above if hits < trials else 1.0, rel=1e-6)


@pytest.mark.parametrize("chance", [0.001, 0.1, 0.5, 0.97])
@pytest.mark.parametrize("trials", [1, 7, 40])
def test_a_probability_is_outside_no_more_often_than_said(chance, trials):
    alpha, wrong = 0.05, 0.0
    for hits in range(trials + 1):
        low, high = bounds(hits, trials, alpha)
        if not low <= chance <= high:
            wrong += stats.binom.pmf(hits, trials, chance)
    assert wrong <= alpha


def test_published_bounds_are_met():
    # C. J. Clopper, E. S. Pearson 1934, as tabulated since: 0 of 10, and 10 of 100.
    assert bounds(0, 10, 0.05) == pytest.approx((0.0, 0.30850), abs=5e-5)
    assert bounds(10, 100, 0.05) == pytest.approx((0.04900, 0.17622), abs=5e-5)
    assert bounds(0, 0, 0.05) == (0.0, 1.0)


def test_a_band_is_left_no_more_often_than_said():
    generator, alpha, size, runs = np.random.default_rng(0), 0.1, 50, 2000
    values = np.sort(generator.random((runs, size)), axis=1)
    steps = np.arange(1, size + 1) / size
    far = np.maximum(abs(steps - values), abs(values - steps + 1 / size)).max(axis=1)
    assert (far > band(size, alpha)).mean() <= alpha
    assert (far > band(size, alpha)).mean() > alpha / 4
    assert band(200, 0.001) == pytest.approx(math.sqrt(math.log(2000) / 400))
