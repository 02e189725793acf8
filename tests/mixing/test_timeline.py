"""Synthetic positions are the floor of an integral that runs through all epochs."""

import pickle
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixworlds import EVEN, ODD, asked

from fiberaug import Schedule
from fiberaug.errors import UsageError
from fiberaug.timeline import Timeline

SCHEDULE = st.sampled_from(
    [*EVEN, *ODD, Schedule.constant(1 / 7), Schedule(lambda t: t / 3, epochs=2)]
)
LAW = settings(deadline=None, max_examples=80)


def world(schedule, samples, *, append):
    """What the walk over positions needs to know."""
    mode = "append" if append else "replace"
    return SimpleNamespace(
        law=SimpleNamespace(schedule=schedule, samples=samples, mode=mode)
    )


def flags(span):
    """Whether each position is synthetic."""
    return [span.below(k + 1) - span.below(k) for k in range(span.n)]


@given(schedule=SCHEDULE, samples=st.integers(1, 300), append=st.booleans())
@LAW
def test_any_window_across_epochs_has_within_one_what_was_asked_for(
    schedule, samples, append
):
    timeline = Timeline(schedule, samples, append=append)
    off, apart = 0, [0]
    for epoch in range(4):
        span = timeline.epoch(epoch)
        wanted = asked(world(schedule, samples, append=append), epoch, span.n)
        for flag, want in zip(flags(span), wanted, strict=True):
            assert flag in (0, 1)
            off += 1024 * schedule.unit * flag - want
            apart.append(off)
    assert max(apart) - min(apart) < 1024 * schedule.unit


@given(schedule=SCHEDULE, samples=st.integers(1, 300), append=st.booleans())
@LAW
def test_the_parts_of_an_integral_add_up_to_what_a_walk_finds(
    schedule, samples, append
):
    span = Timeline(schedule, samples, append=append).epoch(1)
    wanted = asked(world(schedule, samples, append=append), 1, span.n)
    whole = 1024 * schedule.unit
    for start, stop in [(0, span.n), (span.n // 3, span.n // 2), (span.n - 1, span.n)]:
        found = span.asked(start, stop)
        assert found == pytest.approx(sum(wanted[start:stop]) / whole, abs=1e-9)


@given(schedule=SCHEDULE, samples=st.integers(1, 300))
@LAW
def test_an_epoch_that_appends_has_exactly_the_real_samples_and_ends_with_one(
    schedule, samples
):
    timeline = Timeline(schedule, samples, append=True)
    for epoch in range(4):
        found = flags(timeline.epoch(epoch))
        assert found.count(0) == samples
        assert found[-1] == 0


@pytest.mark.parametrize("samples", [1, 7, 1000, 99_999])
@pytest.mark.parametrize("ratio", [0.999, 0.9, 1 / 3, 0.001])
def test_a_high_share_appends_as_many_as_make_it_up(samples, ratio):
    span = Timeline(Schedule.constant(ratio), samples, append=True).epoch(0)
    assert span.n - span.below(span.n) == samples
    assert abs(span.n - samples / (1 - ratio)) <= 1 / (1 - ratio)


def test_an_epoch_that_replaces_keeps_its_length():
    timeline = Timeline(Schedule.constant(0.9), 123, append=False)
    assert [timeline.epoch(e).n for e in range(3)] == [123, 123, 123]


@given(
    schedule=SCHEDULE, samples=st.integers(1, 300), append=st.booleans(),
    epochs=st.lists(st.integers(0, 40), min_size=1, max_size=4),
)  # fmt: skip
@LAW
def test_an_epoch_is_the_same_whichever_were_asked_for_before(
    schedule, samples, append, epochs
):
    stepped = Timeline(schedule, samples, append=append)
    every = [stepped.epoch(epoch) for epoch in range(41)]
    at_once = pickle.loads(pickle.dumps(stepped))
    assert [at_once.epoch(epoch) for epoch in epochs] == [every[e] for e in epochs]


@given(schedule=SCHEDULE, samples=st.integers(1, 300), append=st.booleans())
@LAW
def test_what_an_epoch_begins_with_is_what_the_one_before_left(
    schedule, samples, append
):
    timeline = Timeline(schedule, samples, append=append)
    whole = 1024 * schedule.unit
    for epoch in (0, 1, 2, 3, 30, 10**6):
        span, after = timeline.epoch(epoch), timeline.epoch(epoch + 1)
        assert 0 <= span.carry < whole
        assert after.before == span.before + span.below(span.n)
        assert after.carry == span.integral(span.n) % whole


@pytest.mark.parametrize("append", [False, True])
def test_epoch_a_million_is_found_at_once_and_equals_the_sum_of_all(append):
    third = Schedule.constant(Fraction(1, 3))
    span = Timeline(third, 1000, append=append).epoch(10**6)
    # One in three of 10^9 positions; or one for every two of 10^9 real samples.
    assert span.before == (5 * 10**8 - 1 if append else 10**9 // 3)


@given(schedule=SCHEDULE, samples=st.integers(1, 300), append=st.booleans())
@LAW
def test_all_counts_at_once_are_those_of_each_position(schedule, samples, append):
    span = Timeline(schedule, samples, append=append).epoch(1)
    below = [span.below(k) for k in range(span.n + 1)]
    assert span.all_below().tolist() == below
    shares = span.shares()
    middles = [int(1024 * k // span.scale) for k in range(span.n)]
    assert shares.tolist() == [span.parts[min(1023, m)] / span.unit for m in middles]


def test_a_set_of_ten_billion_is_counted_without_rounding():
    n = 10**10
    span = Timeline(Schedule.linear(0.5, 0, epochs=1), n, append=False).epoch(0)
    assert span.below(n) == n // 4
    assert span.below(n // 2) == 3 * n // 16


def test_counts_that_need_more_than_64_bits_are_as_exact():
    schedule = Schedule.linear(0.5, 0.1, epochs=2)
    span = Timeline(schedule, 200_000, append=False).epoch(0)
    large = span._replace(  # the same integral, in a unit of which 64 bits are too few
        unit=span.unit << 20, parts=tuple(p << 20 for p in span.parts),
        sums=tuple(s << 20 for s in span.sums), carry=span.carry << 20,
    )  # fmt: skip
    assert np.array_equal(large.all_below(), span.all_below())


@pytest.mark.parametrize(
    "schedule",
    [Schedule.constant(1), Schedule.step({0: 0.1, 9: 1}), Schedule.constant(1.0)],
)
def test_only_synthetic_samples_beside_every_real_one_are_refused(schedule):
    with pytest.raises(UsageError, match="must stay below 1, it reaches 1"):
        Timeline(schedule, 10, append=True)
    assert Timeline(schedule, 10, append=False).epoch(9).below(10) == (10)
