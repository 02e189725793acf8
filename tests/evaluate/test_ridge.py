"""The closed form is that of scikit-learn, the penalty that of left-out rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from fiberaug.evaluate import ridge


def by_scikit_learn(one, other, unseen):
    """Fit each row left out in turn, for each penalty; then all rows with the best."""
    seen = np.concatenate([one, other])
    n, m = len(one), len(other)
    weight = np.repeat([0.5 / n, 0.5 / m], [n, m])
    mean = weight @ seen
    spread = np.sqrt(weight @ (seen - mean) ** 2)
    tables = [np.clip((t - mean) / spread, -5, 5) for t in (seen, unseen)]
    seen, unseen = (np.hstack([t, t**2]) for t in tables)
    seen, unseen = seen / len(mean) ** 0.5, unseen / len(mean) ** 0.5
    middle = weight @ seen
    answer = np.repeat([-1.0, 1.0], [n, m])

    def fit(rows, penalty):
        model = Ridge(alpha=penalty, fit_intercept=False, solver="svd")
        return model.fit((seen - middle)[rows], answer[rows], weight[rows])

    def error(penalty):
        everything = np.arange(n + m)
        return sum(
            weight[i]
            * (answer[i] - fit(everything != i, penalty).predict(seen[[i]] - middle)[0])
            ** 2
            for i in everything
        )

    penalties = ridge._STRENGTHS / (n + m)
    best = min(penalties, key=error)
    return fit(slice(None), best).predict(unseen - middle)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(5, 14), st.integers(5, 14), st.integers(1, 9))
def test_scores_are_those_of_a_weighted_ridge_regression(seed, n, m, width):
    """Narrow and wide tables take other ways to the same numbers."""
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=(n, width)), rng.normal(size=(m, width)) + 0.7
    unseen = rng.normal(size=(6, width))

    found = ridge._scores(one, other, unseen, np.full(width, width**-0.5))

    assert np.allclose(found, by_scikit_learn(one, other, unseen), atol=1e-7)


@pytest.mark.parametrize(("n", "m"), [(200, 200), (300, 30)])
def test_what_does_not_differ_is_a_half_and_what_differs_is_told(n, m):
    rng = np.random.default_rng(0)

    def balanced(shift, spread):
        one, other = rng.normal(size=(n, 20)), rng.normal(size=(m, 20)) * spread + shift
        hits = ridge.cross_validated(one, other, folds=5, draw=rng)
        return (hits[0] / n + hits[1] / m) / 2

    assert abs(np.mean([balanced(0, 1) for _ in range(10)]) - 0.5) < 0.04
    assert balanced(1, 1) > 0.9
    assert balanced(0, 2) > 0.85  # by the squares alone


def test_constant_columns_say_nothing_and_ties_are_halves():
    rng = np.random.default_rng(0)
    flat = np.full((20, 3), 7.0)

    assert ridge.cross_validated(flat, flat, folds=4, draw=rng) == (10, 10)
    with_dead = np.hstack([flat, rng.normal(size=(20, 1))])
    other = with_dead + np.array([0, 0, 0, 9])
    assert ridge.cross_validated(with_dead, other, folds=4, draw=rng) == (20, 20)


def test_a_wide_group_does_not_drown_a_narrow_one():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 100, 401))
    other[:, 400] += 2

    hits = {
        widths: sum(ridge.cross_validated(one, other, folds=5, draw=rng, widths=widths))
        for widths in (None, (400, 1))
    }

    assert hits[400, 1] > 145 > hits[None] + 20
