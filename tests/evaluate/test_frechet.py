"""The Frechet distance is that of two Gaussians."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from fiberaug.evaluate import frechet_distance

SEEDS = st.integers(0, 10**6)


def mixed(seed, rows, width):
    """Gaussian rows whose columns go together."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, width)) @ rng.normal(size=(width, width)) + 3


def by_definition(x, y):
    one, other = np.cov(x.T).reshape(2 * [x.shape[1]]), np.cov(y.T)
    other = other.reshape(2 * [y.shape[1]])
    root = np.real(sqrtm(one @ other))
    apart = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return apart + np.trace(one + other - 2 * root)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(20, 60), st.integers(20, 60), st.integers(1, 12), st.data())
def test_the_value_is_that_of_the_definition(seed, n, m, width, data):
    x, y = mixed(seed, n, width), mixed(seed + 1, m, width)
    block = data.draw(st.integers(1, 70))

    found = frechet_distance(x, y, block=block)

    assert np.isclose(found, by_definition(x, y), rtol=1e-6)


def test_of_gaussians_along_one_axis_it_is_in_closed_form():
    """Fewer rows than columns: the covariances are singular, the roots exact."""
    x, y = np.zeros((3, 50)), np.zeros((3, 50))
    x[:, 0], y[:, 0] = [-1, 0, 1], [2, 5, 8]  # means 0 and 5, deviations 1 and 3

    assert np.isclose(frechet_distance(x, y), 25 + (3 - 1) ** 2, rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(1e-3, 1e3))
def test_scale_shift_rotation_and_order(seed, scale):
    rng = np.random.default_rng(seed)
    x, y = mixed(seed, 40, 6), mixed(seed + 1, 50, 6)
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    expected = frechet_distance(x, y)

    assert np.isclose(frechet_distance(scale * x, scale * y), scale**2 * expected)
    assert np.isclose(frechet_distance(x + 7, y + 7), expected)
    assert np.isclose(frechet_distance(x @ turn, y @ turn), expected)
    assert np.isclose(frechet_distance(rng.permutation(x), y), expected)
    assert np.isclose(frechet_distance(y, x), expected)
    assert 0 <= frechet_distance(x, x) < 1e-9 * np.trace(np.cov(x.T))


def test_its_bias_at_few_samples_is_the_one_that_is_written_down():
    rng = np.random.default_rng(0)
    for n, written in ((400, 5.6), (1000, 2.2)):
        values = [frechet_distance(*rng.normal(size=(2, n, 64))) for _ in range(10)]
        assert abs(np.mean(values) / written - 1) < 0.04
