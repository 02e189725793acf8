"""What happens where samples run out, and how what is left is spread."""

import pickle
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixworlds import make_world, worlds

from fiberaug import Schedule
from fiberaug.mixlaw import Even, pack_place, place_of

LAW = settings(deadline=None, max_examples=40)
EPOCHS = 3


@given(world=worlds())
@LAW
def test_a_dry_source_is_answered_by_a_real_sample_or_ends_the_epoch(world):
    for epoch in range(EPOCHS):
        order = world.order(epoch)
        turns = [order.asked_source(k) for k in range(order.end)]
        deals = [order.deal(k).source for k in range(order.end)]
        assert all(
            deal in (None, turn) for deal, turn in zip(deals, turns, strict=True)
        )
        if world.law.dry == "stop" or world.law.mode == "append":
            assert deals == turns
        if world.law.dry == "stop" and order.end < world.law.samples:
            whole = order._whole
            dry = whole.positions[whole.members == -1]
            assert order.end == dry.min()


def test_an_epoch_that_stops_ends_before_the_first_sample_that_is_not_there():
    world = make_world(counts=(100,), schedule=Schedule.constant(0.5), members=7,
                       dry="stop", reuse=1)  # fmt: skip
    assert world.law.length(0) is None
    # Every second position: the eighth would be the sixteenth position.
    assert world.order(0).end == 15
    assert world.law.length(0) == 15  # found out once
    assert pickle.loads(pickle.dumps(world.law)).length(0) is None
    assert [d.source for d in world.deals(0)] == [None, 0] * 7 + [None]


def test_a_source_that_runs_out_leaves_its_appended_turns_to_the_others():
    sizes = {0: 2, 1: 50}
    world = make_world(
        counts=(60,), mode="append", schedule=Schedule.constant(0.25), weights=(1, 1),
        members=lambda source, _: sizes[source], dry="real", reuse=1,
    )  # fmt: skip
    found = Counter(deal.source for deal in world.deals(0))
    assert found == {None: 60, 0: 2, 1: 17}  # 19 of 79: the epoch ends with a real one


def test_sources_that_all_run_out_append_what_they_have_evenly():
    world = make_world(counts=(60,), mode="append", schedule=Schedule.constant(0.5),
                       members=6, dry="real", reuse=1)  # fmt: skip
    at = [k for k, deal in enumerate(world.deals(0)) if deal.source is not None]
    assert at == [10, 21, 32, 43, 54, 65]


@given(n=st.integers(0, 200), most=st.integers(0, 200))
@LAW
def test_even_spreading_is_within_one_everywhere(n, most):
    even = Even(max(n, most), min(n, most))
    below = [even.below(k) for k in range(even.n + 1)]
    assert even.all_below().tolist() == below
    assert below[-1] == even.most or even.n == 0
    share = Fraction(even.most, max(1, even.n))
    assert all(0 <= k * share - count < 1 for k, count in enumerate(below))
    assert even.asked(0, even.n) == pytest.approx(even.most if even.n else 0)


def test_places_are_packed_there_and_back():
    rows = [0, 1, 2**32 - 1]
    packed = pack_place(2**20, rows)
    assert [place_of(int(one)) for one in packed] == [(2**20, row) for row in rows]
