"""Labels of blended rows against the definition, a row at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.mixes.base import UNMIXED, RowDraw
from fiberaug.mixes.labels import mix_labels


@st.composite
def drawn(draw):
    lam = draw(st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=6))
    return [
        UNMIXED
        if one is None
        else RowDraw(applied=True, partners=(0,), params={"lam": one})
        for one in lam
    ]


@given(drawn(), st.integers(1, 5), st.floats(0, 1), st.integers(0, 2**32))
def test_class_ids_become_shares_of_mass_one(draws, classes, smoothing, seed):
    rng = np.random.default_rng(seed)
    own, other = rng.integers(0, classes, (2, len(draws)))

    made = mix_labels(own, other, draws, classes, smoothing)

    assert (made.dtype, made.shape) == (np.float32, (len(draws), classes))
    np.testing.assert_allclose(made.sum(axis=1), 1, rtol=1e-6)
    for i, draw in enumerate(draws):
        expected = [smoothing / classes] * classes
        lam = draw.params["lam"] if draw.applied else 1
        expected[own[i]] += (1 - smoothing) * lam
        expected[other[i]] += (1 - smoothing) * (1 - lam)
        np.testing.assert_allclose(made[i], expected, atol=1e-6)


@given(drawn(), st.integers(0, 2**32), st.sampled_from([(), (3,)]))
def test_vectors_and_values_are_blended(draws, seed, shape):
    rng = np.random.default_rng(seed)
    own, other = rng.random((2, len(draws), *shape)).astype(np.float32)

    made = mix_labels(torch.from_numpy(own), torch.from_numpy(other), draws)

    for i, draw in enumerate(draws):
        if draw.applied:
            lam = draw.params["lam"]
            expected = lam * own[i] + (1 - lam) * other[i]
            np.testing.assert_allclose(made[i], expected, rtol=1e-5, atol=1e-7)
        else:
            np.testing.assert_array_equal(made[i], own[i])


def test_the_partner_of_a_row_that_is_not_mixed_is_not_looked_at():
    assert mix_labels([1], [-99], [UNMIXED], 2).tolist() == [[0, 1]]
    own = np.float32([[0.25, 1]])
    assert mix_labels(own, own * np.nan, [UNMIXED], 2).tolist() == own.tolist()


def test_labels_that_do_not_fit_are_refused():
    draws = [RowDraw(applied=True, partners=(0,), params={"lam": 0.5})]
    for labels, options, words in (
        ([5], {"num_classes": 5}, r"label 5 must be in \[0, 5\)"),
        ([-1], {"num_classes": 5}, "label -1 must be in"),
        ([1], {}, "need num_classes="),
        ([[1, 0]], {"num_classes": 2}, r"must be \[B\], got \(1, 2\)"),
        ([[0.5, 0.5]], {"num_classes": 3}, "vectors of 2, but num_classes is 3"),
        ([[0.5, 0.5]], {"smoothing": 0.1}, "smoothing=0.1 is for class ids"),
        ([1, 1], {"num_classes": 5}, "one row for each row"),
    ):
        with pytest.raises(UsageError, match=words):
            mix_labels(labels, labels, draws, **options)
    with pytest.raises(UsageError, match="label 7"):
        mix_labels([0], [7], draws, 2)
