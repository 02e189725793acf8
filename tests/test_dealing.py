"""How often samples are dealt: exact totals, even over epochs, nested parts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.dealing import Balance, allocate, spread

COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=8)
LABELS = st.lists(
    st.lists(st.integers(0, 3), max_size=9), min_size=1, max_size=5
).filter(any)


def balanced(labels, total, unit=1, weights=None):
    """Return a uniform balance of shards of labels, as ``make_balance`` builds it."""
    groups = np.unique(np.concatenate(labels)).astype(np.int64)
    per = [[(np.asarray(own) == g).sum() for g in groups] for own in labels]
    starts = np.concatenate([np.zeros((1, len(groups)), int), np.cumsum(per, axis=0)])
    deals = np.asarray(allocate(total, [1.0] * len(groups)))
    return Balance(groups=groups, deals=deals, starts=starts, unit=unit)


def dealt(balance, labels, epoch):
    """Return how often each sample is dealt in an epoch, by (shard, sample)."""
    times = {}
    for shard, own in enumerate(labels):
        rows, repeats = balance.rows(epoch, shard, np.asarray(own, np.int64))
        for row, repeat in zip(rows.tolist(), repeats.tolist(), strict=True):
            assert repeat == times.get((shard, row), 0)  # repeats count up from 0
            times[shard, row] = repeat + 1
    return times


@given(COUNTS, st.data())
def test_a_part_has_its_size_and_lies_within_every_larger_part(counts, data):
    most = data.draw(st.integers(0, sum(counts)))
    larger = data.draw(st.integers(most, sum(counts)))
    part, whole = spread(counts, most), spread(counts, larger)
    assert sum(part) == most
    assert all(0 <= a <= b <= c for a, b, c in zip(part, whole, counts, strict=True))


@given(COUNTS, st.data())
def test_a_part_takes_nearly_the_same_share_of_every_shard(counts, data):
    most = data.draw(st.integers(0, sum(counts)))
    share = most / max(1, sum(counts))
    for part, count in zip(spread(counts, most), counts, strict=True):
        assert abs(part - share * count) <= 1 + share


@given(st.integers(0, 10**12), st.lists(st.floats(0.01, 100), min_size=1, max_size=9))
def test_what_is_allocated_sums_up_and_follows_the_weights(total, weights):
    parts = allocate(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - total * weight / sum(weights)) <= 1 + 1e-9 * total


@given(LABELS, st.integers(1, 60), st.integers(0, 50))
def test_every_group_is_dealt_exactly_its_share_in_every_epoch(labels, total, epoch):
    balance = balanced(labels, total)
    times = dealt(balance, labels, epoch)
    for group, deals in zip(balance.groups, balance.deals, strict=True):
        assert deals == sum(
            count for (s, row), count in times.items() if labels[s][row] == group
        )
    sizes = balance.counts(epoch)
    assert sizes.sum() == balance.total == total
    for shard, size in enumerate(sizes.tolist()):
        assert size == sum(count for (s, _), count in times.items() if s == shard)


@given(LABELS, st.integers(1, 60), st.integers(0, 9))
def test_in_as_many_epochs_as_a_class_has_samples_each_is_dealt_equally(
    labels, total, first
):
    balance = balanced(labels, total)
    for group, deals in zip(
        balance.groups.tolist(), balance.deals.tolist(), strict=True
    ):
        members = [
            (s, row)
            for s, own in enumerate(labels)
            for row, label in enumerate(own)
            if label == group
        ]
        epochs = range(first, first + len(members))
        times = [dealt(balance, labels, epoch) for epoch in epochs]
        assert all(sum(t.get(m, 0) for t in times) == deals for m in members)


@given(LABELS, st.integers(1, 60), st.integers(0, 9))
def test_in_one_epoch_the_samples_of_a_class_differ_by_one_turn_at_most(
    labels, total, epoch
):
    times = dealt(balanced(labels, total), labels, epoch)
    for group in {label for own in labels for label in own}:
        turns = [
            times.get((s, row), 0)
            for s, own in enumerate(labels)
            for row, label in enumerate(own)
            if label == group
        ]
        assert max(turns) - min(turns) <= 1


def test_a_class_of_ten_billion_is_dealt_without_overflow():
    size = 10**10
    balance = Balance(
        groups=np.asarray([0]),
        deals=np.asarray([size - 1]),
        starts=np.asarray([[0], [size // 2], [size]]),
    )
    for epoch in (0, 1, 7_000_000_000):
        counts = balance.counts(epoch)
        assert counts.sum() == size - 1
        assert abs(int(counts[0]) - size // 2) <= 1
