"""The order of a mix is exact in every window, and each position has what it should."""

import pickle
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixworlds import FREE, POOL, ROWS, asked, make_world, plain_asked, worlds

import fiberaug.mixing
from fiberaug import Schedule
from fiberaug.mixlaw import MixLaw, place_of
from fiberaug.timeline import Timeline

LAW = settings(deadline=None, max_examples=40)
EPOCHS = 3


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    """Tables of 64 positions, so that small worlds have several."""
    patch = pytest.MonkeyPatch()
    patch.setattr(fiberaug.mixing, "_BLOCK", 64)
    yield
    patch.undo()


def spread(values):
    """Largest difference within a row of sums."""
    sums = [0]
    for value in values:
        sums.append(sums[-1] + value)
    return max(sums) - min(sums)


def source_of(deal):
    """Number of the source, as the shard says it; None: the data set itself."""
    return deal.shard - POOL if deal.shard >= POOL else None


@given(world=worlds(modes=("replace", "append"), per_class=(False,), **FREE))
@LAW
def test_any_window_has_within_one_what_was_asked_for_and_two_of_each_source(world):
    whole = 1024 * world.law.schedule.unit
    mixed, each = [], [[] for _ in world.weights]
    for epoch in range(EPOCHS):
        deals = world.deals(epoch)
        for deal, want in zip(deals, asked(world, epoch, len(deals)), strict=True):
            assert deal.source == source_of(deal)
            mixed.append(whole * (deal.source is not None) - want)
            for source, weight in enumerate(world.weights):
                part = weight / sum(world.weights)
                each[source].append(whole * (deal.source == source) - part * want)
    assert spread(mixed) < whole
    bound = 1 if len(world.weights) == 1 else 2
    assert all(spread(one) < bound * whole for one in each)


@given(world=worlds(modes=("unit",), per_class=(False,), **FREE))
@LAW
def test_every_unit_has_within_one_what_was_asked_of_it_at_any_of_its_ends(world):
    whole, unit = 1024 * world.law.schedule.unit, world.law.unit
    off, ends = 0, []
    for epoch in range(EPOCHS):
        deals = world.deals(epoch)
        wanted = asked(world, epoch, len(deals))
        for start in range(0, len(deals), unit):
            count = sum(d.source is not None for d in deals[start : start + unit])
            off += whole * count - sum(wanted[start : start + unit])
            ends.append(off)
    assert max([0, *ends]) - min([0, *ends]) < whole


@pytest.mark.parametrize("matched", [False, True])
@pytest.mark.parametrize(
    ("ratio", "count"), [(0.25, 4), (0.5, 8), (0.0625, 1), (1, 16)]
)
def test_every_whole_unit_has_the_same_number_at_places_of_its_own(
    ratio, count, matched
):
    world = make_world(
        counts=(300,), mode="unit", schedule=Schedule.constant(ratio), matched=matched
    )
    places = []
    for epoch in range(EPOCHS):
        deals = world.deals(epoch)
        for start in range(0, 288, 16):
            row = [deal.source is not None for deal in deals[start : start + 16]]
            assert sum(row) == count
            places.append(tuple(row))
    assert len(set(places)) > 10 or ratio == 1


@given(world=worlds(modes=("replace",), per_class=(True,), **FREE))
@LAW
def test_a_class_with_a_share_of_its_own_has_it_within_one_in_any_row_of_it(world):
    off = {label: [] for label in world.law.per_class}
    for epoch in range(EPOCHS):
        labels = world.labels(epoch, world.base(epoch)).tolist()
        deals = world.deals(epoch)
        for label, schedule in world.law.per_class.items():
            own = [
                deal for deal, one in zip(deals, labels, strict=True) if one == label
            ]
            wanted = plain_asked(schedule, epoch, max(1, len(own)), len(own))
            if world.plan.epoch_size is not None:
                off[label].clear()  # an epoch of other samples than the one before
            for deal, want in zip(own, wanted, strict=True):
                count = 1024 * schedule.unit * (deal.source is not None)
                off[label].append(count - want)
            assert spread(off[label]) < 1024 * schedule.unit


@given(
    world=worlds(modes=("replace", "unit"), matched=(True,), per_class=(False,), **FREE)
)
@LAW
def test_each_class_has_its_share_within_one_in_every_epoch(world):
    for epoch in range(EPOCHS):
        labels = world.labels(epoch, world.base(epoch)).tolist()
        deals = world.deals(epoch)
        found = Counter(d.row // ROWS - 1 for d in deals if d.source is not None)
        whole = Fraction(sum(asked(world, epoch, len(deals))), 1024)
        share = whole / world.law.schedule.unit / len(deals)
        for label, count in Counter(labels).items():
            assert abs(found[label] - count * share) < 1 + 1e-9


@given(world=worlds(modes=("append",), matched=(True,), **FREE))
@LAW
def test_appended_classes_have_within_one_of_their_share_in_every_epoch(world):
    classes, whole = world.law.classes, world.law.samples
    schedules = world.law.per_class or {}
    timelines = {
        label: Timeline(schedule, max(1, classes[label]), append=True)
        for label, schedule in schedules.items()
    }
    for epoch in range(EPOCHS):
        deals = world.deals(epoch)
        found = Counter(d.row // ROWS - 1 for d in deals if d.source is not None)
        total = sum(found.values())
        for label, count in classes.items():
            if label in timelines:
                span = timelines[label].epoch(epoch)
                wanted = plain_asked(schedules[label], epoch, span.scale, span.n)
                due = Fraction(sum(wanted), 1024 * span.unit)
                assert found[label] == span.n - max(1, count)
                assert abs(found[label] - due) < 1
            else:
                assert abs(found[label] - Fraction(total * count, whole)) < 1


@given(world=worlds())
@LAW
def test_the_real_samples_are_those_of_the_plain_order(world):
    for epoch in range(EPOCHS):
        base, deals = world.base(epoch), world.deals(epoch)
        plain = [(*base.locate(k), base.visit(k)) for k in range(base.end)]
        if world.law.mode == "append":  # every one of them once, in their order
            assert [d[1:] for d in deals if d.source is None] == plain
            continue
        assert len(deals) == len(plain) or world.law.dry == "stop"
        if world.law.matched and world.law.per_class is None:
            continue  # see the next
        for deal, own in zip(deals, plain, strict=False):
            assert deal.source is not None or deal[1:] == own


@given(
    world=worlds(modes=("replace", "unit"), matched=(True,), per_class=(False,), **FREE)
)
@LAW
def test_real_samples_change_places_only_to_make_classes_exact(world):
    for epoch in range(EPOCHS):
        base, order = world.base(epoch), world.order(epoch)
        labels = world.labels(epoch, base).tolist()
        deals = [order.deal(k) for k in range(order.end)]
        mixed = [k for k, deal in enumerate(deals) if deal.source is not None]
        moved = [k for k in range(order.end) if order.real(k) != k]
        for k, deal in enumerate(deals):
            place = order.real(k)
            assert order.real(place) == k
            assert deal.source is not None or deal[1:3] == base.locate(place)
            if place != k:  # one of the two has a stand-in
                assert (k in mixed) != (place in mixed)
                assert labels[k] != labels[place]
        before = Counter(labels[k] for k in mixed)
        after = Counter(labels[order.real(k)] for k in mixed)
        assert len(moved) == 2 * (before - after).total()


@given(world=worlds(modes=("replace", "unit"), matched=(True,)))
@LAW
def test_a_stand_in_has_the_class_of_the_sample_whose_place_it_takes(world):
    for epoch in range(EPOCHS):
        labels = world.labels(epoch, world.base(epoch)).tolist()
        order = world.order(epoch)
        for k in range(order.end):
            deal = order.deal(k)
            assert deal.source is None or deal.row // ROWS - 1 == labels[order.real(k)]


@given(world=worlds())
@LAW
def test_no_member_comes_more_often_than_it_may_and_all_of_a_class_alike(world):
    for epoch in range(EPOCHS):
        deals = [deal for deal in world.deals(epoch) if deal.source is not None]
        uses = Counter(deal[:3] for deal in deals)
        assert max([0, *uses.values()]) <= (world.law.reuse or len(deals))
        for source, pool in enumerate(world.law.members):
            for members in pool.values():
                places = [(source, *place_of(int(member))) for member in members]
                counts = [uses.pop(place, 0) for place in places]
                assert max(counts, default=0) - min(counts, default=0) <= 1
        assert not uses  # nothing else was dealt


@given(world=worlds(matched=(False,), per_class=(False,), **FREE))
@LAW
def test_members_come_alike_over_any_row_of_epochs_where_classes_are_free(world):
    for first in range(EPOCHS):
        uses = Counter()
        for epoch in range(first, first + EPOCHS):
            uses += Counter(d[:3] for d in world.deals(epoch) if d.source is not None)
            for source, pool in enumerate(world.law.members):
                places = [(source, *place_of(int(m))) for m in pool[-1]]
                counts = [uses[place] for place in places]
                assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("mode", ["replace", "unit", "append"])
@pytest.mark.parametrize("weights", [(1,), (2, 1)])
def test_members_of_a_class_come_nearly_alike_over_many_epochs(mode, weights):
    world = make_world(
        counts=(400,), classes=3, mode=mode, weights=weights, members=40, matched=True
    )
    uses = Counter()
    for epoch in range(40):
        uses += Counter(d[:3] for d in world.deals(epoch) if d.source is not None)
    for source in range(len(weights)):
        for label in range(3):
            first = ROWS * (label + 1)
            own = [uses[source, POOL + source, first + i] for i in range(40)]
            mean = sum(own) / 40
            # Drawn with replacement they would vary by the mean; turns do less.
            assert sum((count - mean) ** 2 for count in own) / 40 < 0.6 * mean


@given(world=worlds())
@LAW
def test_a_sample_that_comes_again_in_an_epoch_is_another_visit(world):
    for epoch in range(EPOCHS):
        seen = Counter(
            (deal.shard, deal.row, deal.visit) for deal in world.deals(epoch)
        )
        assert set(seen.values()) <= {1}
        visits = Counter()
        for shard, row, visit in seen:
            visits[shard, row] = max(visits[shard, row], visit)
        uses = Counter((shard, row) for shard, row, _ in seen)
        assert all(
            visits[place] == uses[place] - 1 for place in uses if place[0] >= POOL
        )


def test_visits_are_counted_anew_in_every_epoch():
    world = make_world(counts=(80,), members=7)  # 20 of 80: each thrice but one
    for epoch in range(EPOCHS):
        visits = [deal.visit for deal in world.deals(epoch) if deal.source == 0]
        assert visits == [0] * 7 + [1] * 7 + [2] * 6


@given(world=worlds(), places=st.lists(st.integers(0, 10**6), min_size=1, max_size=5))
@LAW
def test_any_position_is_found_alone_in_a_fresh_process_as_on_the_way(world, places):
    deals = [world.deals(epoch) for epoch in range(EPOCHS)]
    fresh = pickle.loads(pickle.dumps(world.law))
    assert isinstance(fresh, MixLaw)
    for epoch in reversed(range(EPOCHS)):
        order = world.order(epoch, pickle.loads(pickle.dumps(world.law)))
        assert order.end == len(deals[epoch])
        assert fresh.length(epoch) in (None, order.end)
        for place in places:
            position = place % max(1, order.end)
            if position < order.end:
                deal = deals[epoch][position]
                assert order.deal(position) == deal
                assert order.locate(position) == (deal.shard, deal.row)
                assert order.visit(position) == deal.visit
        with pytest.raises(IndexError, match="position must be in"):
            order.deal(order.end)
