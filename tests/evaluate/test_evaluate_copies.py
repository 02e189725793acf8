"""Copies of training samples are told from samples of the same kind."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from fiberaug.errors import UsageError
from fiberaug.evaluate import closer_to_train, near_copies
from fiberaug.evaluate.intervals import wilson

SEEDS = st.integers(0, 10**6)


def normal(seed, rows, width=8):
    return np.random.default_rng(seed).normal(size=(rows, width))


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(2, 40), st.integers(1, 40), st.integers(1, 40), st.data())
def test_the_share_is_counted_by_hand_and_balanced(seed, n, k, m, data):
    block = data.draw(st.integers(1, 50))
    train, held, new = normal(seed, n), normal(seed + 1, k), normal(seed + 2, m)
    near, far = (
        [min(np.linalg.norm(row - other) for other in table) for row in new]
        for table in (train, held)
    )
    raw = np.mean([a < b for a, b in zip(near, far, strict=True)])
    expected = raw * k / (raw * k + (1 - raw) * n)

    share, low, high = closer_to_train(new, train, held, block=block)

    assert np.isclose(share, expected)
    assert 0 <= low <= share <= high <= 1


@pytest.mark.parametrize(("n", "k"), [(300, 300), (900, 100), (100, 900)])
def test_samples_of_the_same_kind_get_a_half_whatever_the_sizes(n, k):
    found = [
        closer_to_train(normal(3 * i, 400), normal(3 * i + 1, n), normal(3 * i + 2, k))
        for i in range(60)
    ]

    assert abs(np.mean([share for share, _, _ in found]) - 0.5) < 0.02
    assert np.mean([low <= 0.5 <= high for _, low, high in found]) > 0.85


@pytest.mark.parametrize(("n", "k"), [(300, 300), (900, 100), (100, 900)])
def test_copies_get_1_whatever_the_sizes_and_the_noise(n, k):
    train, held = normal(0, n), normal(1, k)
    noisy = train + 0.1 * normal(2, n)

    for copies in (train.copy(), noisy):
        share, low, high = closer_to_train(copies, train, held)
        assert share > 0.99
        assert low > 0.9
        assert high == pytest.approx(1)


def test_a_tenth_of_copies_is_evidence_at_2000_samples():
    train, held, new = normal(0, 2000), normal(1, 500), normal(2, 2000)
    clean = closer_to_train(new, train, held)
    new[:400] = train[:400]

    assert clean.low < 0.5 < clean.high
    assert closer_to_train(new, train, held).low > 0.5


def test_ties_are_halves():
    train, held = normal(0, 20), normal(1, 30)
    held[:20] = train  # the same pictures stand in both sets

    balanced = closer_to_train(train, train, held).value
    assert np.isclose(balanced, 0.5 * 30 / (0.5 * 30 + 0.5 * 20))


def test_the_same_sample_again_and_again_is_one_piece_of_evidence():
    train, held = normal(0, 200), normal(1, 200)

    once = closer_to_train(train[:1], train, held)
    often = closer_to_train(train[:1].repeat(500, 0), train, held)
    unequal = closer_to_train(train[[0, 0, 0, 1]], train, held)

    assert np.allclose(often, once)
    assert often.low < 0.5
    assert np.isclose(unequal.low, wilson(1.6, 1.6).low)  # 16 / (9 + 1)


def test_a_wider_confidence_has_a_wider_interval():
    sets = normal(0, 50), normal(1, 50), normal(2, 50)
    narrow, wide = (closer_to_train(*sets, confidence=c) for c in (0.5, 0.99))

    assert wide.low < narrow.low < narrow.value == wide.value < narrow.high < wide.high


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(0, 1), st.integers(1, 50))
def test_near_copies_are_nearer_than_a_quantile_of_training_samples(seed, q, block):
    train, new = normal(seed, 60, 3), normal(seed + 1, 40, 3)
    new[7] = train[13]
    judge = NearestNeighbors(n_neighbors=1).fit(train)
    limit = np.sort(judge.kneighbors()[0][:, 0])[int(np.floor(59 * q))]
    distances, rows = (table[:, 0] for table in judge.kneighbors(new))
    expected = np.flatnonzero(distances <= limit * (1 + 1e-12))

    found = near_copies(new, train, quantile=q, block=block)

    assert np.isclose(found.threshold, limit)
    assert found.indices.tolist() == expected.tolist()
    assert found.parents.tolist() == rows[expected].tolist()
    assert np.allclose(found.distances, distances[expected], atol=1e-6)
    assert dict(zip(found.indices, found.parents, strict=True))[7] == 13
    assert found.share == len(found) / 40


def test_another_real_split_has_about_the_share_of_the_quantile():
    shares = [
        near_copies(normal(2 * i, 500), normal(2 * i + 1, 500), quantile=0.05).share
        for i in range(20)
    ]

    assert 0.04 < np.mean(shares) < 0.06


def test_where_training_samples_are_twice_there_only_exact_copies_count():
    train = normal(0, 30).repeat(2, 0)
    new = np.concatenate([train[:3], train[:3] + 1e-6])

    found = near_copies(new, train)

    assert found.threshold == 0
    assert found.indices.tolist() == [0, 1, 2]
    assert near_copies(new, train, threshold=1e-4).share == 1


@pytest.mark.parametrize(
    ("function", "arguments", "words"),
    [
        (near_copies, {"quantile": 1.5}, "quantile must be in"),
        (near_copies, {"threshold": -1}, "threshold must be >= 0, got -1"),
        (near_copies, {"threshold": float("nan")}, "threshold must be >= 0, got nan"),
        (closer_to_train, {"confidence": 1}, r"confidence must be in \(0, 1\), got 1"),
    ],
)
def test_arguments_out_of_range_are_refused(function, arguments, words):
    others = (normal(2, 9),) if function is closer_to_train else ()
    with pytest.raises(UsageError, match=words):
        function(normal(0, 9), normal(1, 9), *others, **arguments)


def test_one_training_sample_has_no_neighbours_to_make_a_rule_of():
    with pytest.raises(UsageError, match=r"give threshold="):
        near_copies(normal(0, 9), normal(1, 1))
    assert near_copies(normal(1, 1), normal(1, 1), threshold=0).share == 1
