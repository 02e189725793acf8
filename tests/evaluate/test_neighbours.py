"""Neighbours and balls are those of plain differences, in blocks of any size."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.neighbors import NearestNeighbors

from fiberaug.evaluate.neighbours import inside, nearest

SIZES = st.tuples(st.integers(4, 40), st.integers(4, 40), st.integers(1, 9))
BLOCKS = st.integers(1, 50)


def plain(x, y):
    return np.sqrt(((x[:, None].astype(float) - y[None].astype(float)) ** 2).sum(2))


def whole_numbers(size):
    """Few values: many rows are equal, and many distances."""
    n, m, width = size
    return st.tuples(
        arrays(np.float32, (n, width), elements=st.integers(0, 2).map(float)),
        arrays(np.float32, (m, width), elements=st.integers(0, 2).map(float)),
    )


@settings(max_examples=40, deadline=None)
@given(SIZES.flatmap(whole_numbers), st.integers(1, 3), BLOCKS)
def test_distances_are_exact_also_where_rows_are_equal(tables, k, block):
    x, y = tables
    found = nearest(x, y, k, block=block)

    assert np.array_equal(found.distances, np.sort(plain(x, y), 1)[:, :k])
    rows = np.arange(len(x))[:, None]
    assert np.array_equal(plain(x, y)[rows, found.rows], found.distances)


@settings(max_examples=40, deadline=None)
@given(SIZES.flatmap(whole_numbers), st.integers(1, 3), BLOCKS)
def test_no_row_is_its_own_neighbour_but_its_twin_is(tables, k, block):
    x, _ = tables
    apart = plain(x, x)
    np.fill_diagonal(apart, np.inf)

    found = nearest(x, x, k, own=True, block=block)

    assert np.array_equal(found.distances, np.sort(apart, 1)[:, :k])
    assert (found.rows != np.arange(len(x))[:, None]).all()


@settings(max_examples=40, deadline=None)
@given(SIZES.flatmap(whole_numbers), BLOCKS, st.data())
def test_balls_are_closed_and_equal_distances_are_inside(tables, block, data):
    x, y = tables
    squares = data.draw(arrays(np.int64, len(y), elements=st.integers(0, 6)))
    expected = (plain(x, y) ** 2).round() <= squares

    found = inside(x, y, np.sqrt(squares), block=block)

    assert np.array_equal(found.balls, expected.sum(1))
    assert np.array_equal(found.hit, expected.any(0))


@pytest.mark.parametrize("shift", [0, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neighbours_agree_with_scikit_learn(shift, dtype):
    """Also far from the origin, where products lose what differences keep."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(300, 32)) + shift).astype(dtype)
    y = (rng.normal(size=(400, 32)) + shift).astype(dtype)
    judge = NearestNeighbors(n_neighbors=5, algorithm="kd_tree").fit(y.astype(float))

    distances, rows = judge.kneighbors(x.astype(float))
    found = nearest(x, y, 5, block=128)

    assert np.allclose(found.distances, distances, rtol=1e-9, atol=0)
    assert np.array_equal(found.rows, rows)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-6, 1e6), BLOCKS)
def test_a_copy_has_distance_0_at_any_scale(seed, scale, block):
    x = np.random.default_rng(seed).normal(3, 1, (30, 7)) * scale

    assert (nearest(x[::-1], x, 1, block=block).distances == 0).all()
    assert inside(x, x, np.zeros(30), block=block).balls.tolist() == [1] * 30


@pytest.mark.slow
def test_memory_is_bounded_by_the_block():
    rng = np.random.default_rng(0)
    block, width = 512, 64
    bound = 40 * block**2 + 48 * block * width + 2**21
    x, y = (rng.normal(size=(6000, width)).astype(np.float32) for _ in range(2))
    tracemalloc.start()
    try:
        nearest(x, y, 5, block=block)
        inside(x, y, np.full(6000, 9.0), block=block)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < bound  # a whole table of distances takes 288 MB
