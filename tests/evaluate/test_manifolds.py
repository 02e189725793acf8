"""Precision, recall, density and coverage are the published ones."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from fiberaug.errors import UsageError
from fiberaug.evaluate import density_coverage, precision_recall

SEEDS = st.integers(0, 10**6)


def normal(seed, rows, width=6):
    return np.random.default_rng(seed).normal(size=(rows, width))


def balls(x, k):
    """The distance of each row to its k-th nearest other row, one at a time."""
    found = []
    for i, row in enumerate(x):
        others = [math.dist(row, other) for j, other in enumerate(x) if j != i]
        found.append(sorted(others)[k - 1])
    return found


def by_definition(x, y, k):
    """Both pairs as plain loops."""
    real, fake = balls(x, k), balls(y, k)
    within = [[math.dist(a, b) <= r for a, r in zip(x, real)] for b in y]  # noqa: B905
    back = [[math.dist(a, b) <= r for b, r in zip(y, fake)] for a in x]  # noqa: B905
    return (
        (np.mean([any(row) for row in within]), np.mean([any(row) for row in back])),
        (
            sum(map(sum, within)) / (k * len(y)),
            np.mean([any(column) for column in zip(*within, strict=True)]),
        ),
    )


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(5, 30), st.integers(5, 30), st.integers(1, 4), st.data())
def test_the_values_are_those_of_the_definitions(seed, n, m, k, data):
    width = data.draw(st.integers(1, 10))
    block = data.draw(st.integers(1, 40))
    x, y = normal(seed, n, width), normal(seed + 1, m, width) * 1.2 + 0.2
    expected = by_definition(x, y, k)

    assert np.allclose(precision_recall(x, y, k=k, block=block), expected[0])
    assert np.allclose(density_coverage(x, y, k=k, block=block), expected[1])


def test_they_agree_with_scikit_learn_at_400_samples():
    x, y = normal(0, 400, 32), normal(1, 400, 32) * 1.1
    judges = [NearestNeighbors().fit(table) for table in (x, y)]

    def share(judge, k, points):
        radii = judge.kneighbors(n_neighbors=k)[0][:, -1]
        reach, ids = judge.kneighbors(points, n_neighbors=400)
        return reach <= radii[ids], ids

    precise, _ = share(judges[0], 3, y)
    recalled, _ = share(judges[1], 3, x)
    dense, ids = share(judges[0], 5, y)

    found = precision_recall(x, y)
    assert np.allclose(found, (precise.any(1).mean(), recalled.any(1).mean()))
    covered = len(np.unique(ids[dense])) / 400
    assert np.allclose(density_coverage(x, y), (dense.sum() / (5 * 400), covered))


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_scale_shift_rotation_and_order_change_nothing(seed, scale, shift):
    x, y = normal(seed, 40), normal(seed + 1, 30)
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    for function in (precision_recall, density_coverage):
        expected = function(x, y)
        assert function(scale * x + shift, scale * y + shift) == expected
        assert function(x @ turn, y @ turn) == expected
        assert function(rng.permutation(x), rng.permutation(y)) == expected


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_precision_and_recall_change_places_with_the_sets(seed):
    x, y = normal(seed, 40), normal(seed + 1, 30) * 1.3

    assert precision_recall(x, y) == precision_recall(y, x)[::-1]


def test_exact_copies_are_within_closed_balls():
    """Each ball holds its centre and k neighbours, the k-th on its border."""
    x = normal(0, 50)

    assert precision_recall(x, x.copy()) == (1, 1)
    assert density_coverage(x, x.copy(), k=5) == (1.2, 1)


def test_alike_sets_have_the_density_and_coverage_that_are_written_down():
    n, m, k = 60, 90, 5
    found = [
        density_coverage(normal(2 * i, n), normal(2 * i + 1, m), k=k)
        for i in range(200)
    ]
    f = math.factorial
    missed = f(n - 1) * f(n + m - 1 - k) / (f(n + m - 1) * f(n - 1 - k))

    density, coverage = np.mean(found, 0)
    assert abs(density - 1) < 0.02
    assert abs(coverage - (1 - missed)) < 0.005


@pytest.mark.parametrize("function", [precision_recall, density_coverage])
def test_a_ball_needs_its_neighbours(function):
    with pytest.raises(UsageError, match="k must be >= 1, got 0"):
        function(normal(0, 9), normal(1, 9), k=0)
    with pytest.raises(UsageError, match="real must have at least 5 samples here, got"):
        function(normal(0, 4), normal(1, 9), k=4)
    with pytest.raises(UsageError, match="synthetic must have at least 5 samples"):
        function(normal(0, 9), normal(1, 4), k=4)
