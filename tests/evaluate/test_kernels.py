"""The kernel distance is the published one, and its error that of a jackknife."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import polynomial_kernel

from fiberaug.errors import UsageError
from fiberaug.evaluate import kid

SEEDS = st.integers(0, 10**6)


def normal(seed, rows, width=8):
    return np.random.default_rng(seed).normal(size=(rows, width))


def by_definition(x, y):
    """Equation (4) with scikit-learn's kernel: pairs of others within a set."""
    n, m = len(x), len(y)
    xx, yy, xy = (
        polynomial_kernel(a, b, degree=3, gamma=1 / x.shape[1], coef0=1)
        for a, b in ((x, x), (y, y), (x, y))
    )
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1))
    within += (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return within - 2 * xy.mean()


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(3, 40), st.integers(3, 40), st.integers(1, 20), st.data())
def test_the_value_is_that_of_the_definition(seed, n, m, width, data):
    x, y = normal(seed, n, width), 1.5 * normal(seed + 1, m, width) + 0.3
    block = data.draw(st.integers(1, 50))

    assert np.isclose(kid(x, y, block=block).value, by_definition(x, y), rtol=1e-9)


def test_the_error_is_the_jackknife():
    x, y = normal(0, 12), normal(1, 9) + 0.2
    without_x = [by_definition(np.delete(x, i, 0), y) for i in range(12)]
    without_y = [by_definition(x, np.delete(y, i, 0)) for i in range(9)]
    variance = 11 * np.var(without_x) + 8 * np.var(without_y)

    assert np.isclose(kid(x, y).error, variance**0.5, rtol=1e-9)


def test_the_error_is_the_spread_of_repetitions():
    values, errors = zip(
        *(kid(normal(3 * i, 60), normal(3 * i + 1, 80) + 0.4) for i in range(300)),
        strict=True,
    )

    assert 0.85 < np.mean(errors) / np.std(values) < 1.15


def test_it_is_right_on_average_at_few_samples():
    values = [kid(normal(3 * i, 20), normal(3 * i + 1, 20)).value for i in range(600)]

    assert abs(np.mean(values)) < 3 * np.std(values) / 600**0.5


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_order_and_rotation_change_nothing(seed):
    x, y = normal(seed, 30), normal(seed + 1, 40) * 2
    turn = np.linalg.qr(normal(seed + 2, 8))[0]
    rng = np.random.default_rng(seed)
    expected = kid(x, y)

    assert np.allclose(kid(rng.permutation(x), rng.permutation(y)), expected)
    assert np.allclose(kid(x @ turn, y @ turn), expected)
    assert np.allclose(kid(y, x), expected)


def test_subsets_draw_without_repetition_and_give_their_mean():
    """A subset of everything is everything, so all subsets agree."""
    x, y = normal(0, 20), normal(1, 20) * 2

    found = kid(x, y, subsets=4, subset_size=20)

    assert np.isclose(found.value, by_definition(x, y))
    assert found.error < 1e-12


def test_more_subsets_than_fit_side_by_side_do_not_lessen_the_error():
    x, y = normal(0, 100), normal(1, 100) * 1.5
    few = np.mean(
        [kid(x, y, subsets=4, subset_size=25, seed=s).error for s in range(40)]
    )
    many = kid(x, y, subsets=400, subset_size=25).error

    assert 0.8 < many / few < 1.25
    assert kid(x, y, subsets=9, subset_size=9) == kid(x, y, subsets=9, subset_size=9)
    assert kid(x, y, subsets=9, subset_size=9) != kid(
        x, y, subsets=9, subset_size=9, seed=1
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"subsets": 1}, "subsets must be None or >= 2, got 1"),
        ({"subsets": 2}, r"subset_size must be in \[3, 9\], the smaller set, got 1000"),
        ({"subsets": 2, "subset_size": 2}, "got 2"),
        ({"subsets": 2, "subset_size": 5, "seed": -1}, "seed"),
    ],
)
def test_subsets_that_cannot_be_drawn_are_refused(arguments, words):
    with pytest.raises(UsageError, match=words):
        kid(normal(0, 12), normal(1, 9), **arguments)
