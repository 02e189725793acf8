"""Classes get exact shares of given positions, and as few samples as can be move."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.levelling import exchanges, rounded

LAW = settings(deadline=None, max_examples=150)


@given(
    shares=st.lists(st.floats(0, 50), min_size=1, max_size=12),
    seed=st.integers(0, 2**64 - 1), up=st.booleans(),
)  # fmt: skip
@LAW
def test_rounded_numbers_are_within_one_and_sum_up(shares, seed, up):
    total = int(np.floor(sum(shares))) + (up and sum(shares) % 1 > 0)
    found = rounded(np.asarray(shares), total, seed)
    assert found.sum() == total
    for share, one in zip(shares, found.tolist(), strict=True):
        assert one >= 0
        assert abs(one - share) <= 1


def test_a_small_share_is_rounded_up_as_often_as_it_says():
    shares = np.asarray([0.2, 0.5, 1.3])
    found = np.asarray([rounded(shares, 2, seed) for seed in range(4000)])
    # Four standard deviations of a mean of 4,000 draws.
    assert np.abs(found.mean(axis=0) - shares).max() < 4 * 0.5 / 4000**0.5


@st.composite
def places(draw):
    """Draw classes of positions, which are mixed in, and how many each class gets."""
    kinds = draw(st.integers(1, 5))
    labels = draw(st.lists(st.integers(0, kinds - 1), min_size=1, max_size=80))
    mixed = sorted(draw(st.sets(st.integers(0, len(labels) - 1))))
    if draw(st.booleans()):  # classes apart, and one half mixed in: many must move
        labels.sort()
        mixed = list(range(len(labels) // 2))
    seed = draw(st.integers(0, 2**64 - 1))
    shares = np.bincount(labels, minlength=kinds) * (len(mixed) / len(labels))
    return np.asarray(labels), np.asarray(mixed, np.int64), shares, seed


@given(drawn=places())
@LAW
def test_exchanges_give_each_class_what_it_is_to_have_with_as_few_as_that_takes(drawn):
    labels, mixed, shares, seed = drawn
    wanted = rounded(shares, len(mixed), seed)
    pairs = exchanges(labels, mixed, wanted.tolist(), seed)
    own = set(mixed.tolist())
    assert len(np.unique(pairs)) == 2 * len(pairs)  # no position is in two
    after = labels.copy()
    for place, other in pairs.tolist():
        assert place in own
        assert other not in own
        after[[place, other]] = labels[[other, place]]
    kinds = len(wanted)
    assert np.bincount(after[mixed], minlength=kinds).tolist() == wanted.tolist()
    have = np.bincount(labels[mixed], minlength=kinds)
    assert len(pairs) == np.maximum(0, have - wanted).sum()
    assert sorted(after) == sorted(labels)


def test_a_sample_changes_places_with_the_nearest_that_will_do():
    labels = np.asarray([1, 0, 0, 0, 0, 0, 1])
    for place, other in ((1, 0), (2, 0), (4, 6), (5, 6)):
        pairs = exchanges(labels, np.asarray([place]), [0, 1], 5)
        assert pairs.tolist() == [[place, other]]


def test_what_is_exchanged_follows_from_the_words_alone():
    labels = np.random.default_rng(0).integers(0, 3, 200)
    mixed = np.arange(0, 200, 3)
    wanted = [40, 20, 7]
    found = [exchanges(labels, mixed, wanted, seed).tolist() for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]
