"""How often samples are dealt: exact totals, even over epochs, nested parts."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fiberaug.dealing import Balance, allocate, spread
from fiberaug.errors import UsageError

LAW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
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


@LAW
@given(COUNTS, st.data())
def test_a_part_has_its_size_and_lies_within_every_larger_part(counts, data):
    most = data.draw(st.integers(0, sum(counts)))
    larger = data.draw(st.integers(most, sum(counts)))
    part, whole = spread(counts, most), spread(counts, larger)
    assert sum(part) == most
    assert all(0 <= a <= b <= c for a, b, c in zip(part, whole, counts, strict=True))


@LAW
@given(COUNTS, st.data())
def test_a_part_takes_nearly_the_same_share_of_every_shard(counts, data):
    most = data.draw(st.integers(0, sum(counts)))
    share = most / max(1, sum(counts))
    for part, count in zip(spread(counts, most), counts, strict=True):
        assert abs(part - share * count) <= 1 + share


@LAW
@given(st.integers(0, 10**12), st.lists(st.floats(0.01, 100), min_size=1, max_size=9))
def test_what_is_allocated_sums_up_and_follows_the_weights(total, weights):
    parts = allocate(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - total * weight / sum(weights)) <= 1 + 1e-9 * total


@LAW
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


@LAW
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


@LAW
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


@LAW
@given(COUNTS, st.data())
def test_a_part_is_the_first_of_all_samples_sorted_by_their_place_in_their_shard(
    counts, data
):
    """The closed form against the list that it stands for."""
    most = data.draw(st.integers(0, sum(counts)))
    places = sorted(
        (Fraction(2 * i + 1, 2 * count), shard)
        for shard, count in enumerate(counts)
        for i in range(count)
    )
    taken = [shard for _, shard in places[:most]]

    assert spread(counts, most) == tuple(map(taken.count, range(len(counts))))


@LAW
@given(
    st.integers(1, 10**15), st.lists(st.integers(0, 999), min_size=1, max_size=9)
)  # fmt: skip
def test_remainders_are_exact_where_floats_are_not(total, weights):
    weights = [*weights, 1]
    parts = allocate(total, weights)
    shares = [Fraction(total * weight, sum(weights)) for weight in weights]
    lower = [share.numerator // share.denominator for share in shares]
    raised = [
        i for i, (part, low) in enumerate(zip(parts, lower, strict=True)) if part != low
    ]
    rests = [share - low for share, low in zip(shares, lower, strict=True)]

    assert sum(parts) == total
    assert all(parts[i] == lower[i] + 1 for i in raised)
    assert min([rests[i] for i in raised], default=1) >= max(
        [rests[i] for i in range(len(parts)) if i not in raised], default=0
    )


@LAW
@given(
    st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=5).filter(
        lambda weights: any(map(sum, weights))
    ),
    st.integers(1, 60),
    st.integers(0, 9),
)
def test_by_weights_a_sample_is_dealt_in_proportion_within_one_turn(
    weights, total, epoch
):
    """The unit of a weight does not matter."""
    sums = np.cumsum([0, *map(sum, weights)])
    for unit in (1, 65_536):
        balance = Balance(
            groups=np.asarray([-1]),
            deals=np.asarray([total]),
            starts=sums[:, None] * unit,
            unit=unit,
        )
        found = []
        for shard, own in enumerate(weights):
            sizes = np.asarray(own, np.int64) * unit
            rows, _ = balance.rows(epoch, shard, np.zeros(len(own)), sizes)
            turns = np.bincount(rows, minlength=len(own)).tolist()
            assert sum(turns) == balance.counts(epoch)[shard]
            for weight, turn in zip(own, turns, strict=True):
                assert abs(turn - total * weight / sums[-1]) < 1
            found += turns
        assert sum(found) == total


def test_labels_that_were_not_counted_are_refused():
    balance = balanced([[0, 0, 1], [1]], 8)
    for labels in ([0, 1, 1], [0, 0, 2], [0, 0], [0, 0, 1, 1], [0, 0, -1]):
        with pytest.raises(UsageError, match="shard 0 has other classes"):
            balance.rows(0, 0, np.asarray(labels))
