"""A schedule is the share that was written, as a table whose sums are exact."""

import base64
import math
import pickle
import zlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug import Schedule
from fiberaug.errors import UsageError
from fiberaug.schedules import PARTS, as_fraction

TIMES = [0, 0.25, 1, 2.5, 3.999, 4, 7, 1e6]
RATIO = st.floats(0, 1).map(lambda share: share if share > 1e-6 else 0.0)


def table(schedule, epoch):
    """Shares of an epoch's parts as fractions."""
    return [Fraction(int(part), schedule.unit) for part in schedule.parts(epoch)]


@pytest.mark.parametrize("t", TIMES)
def test_a_constant_share_is_the_same_all_the_time(t):
    assert Schedule.constant(0.3)(t) == 0.3
    assert set(table(Schedule.constant(0.3), int(t))) == {Fraction(3, 10)}


@pytest.mark.parametrize("t", TIMES)
def test_a_line_goes_from_start_to_end_and_stays_there(t):
    expected = 0.8 + (0.2 - 0.8) * min(t, 4) / 4
    assert Schedule.linear(0.8, 0.2, epochs=4)(t) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("t", TIMES)
def test_half_a_cosine_goes_from_start_to_end_and_stays_there(t):
    part = min(t, 4) / 4
    expected = 0.2 + (0.8 - 0.2) * (1 + math.cos(math.pi * part)) / 2
    assert Schedule.cosine(0.8, 0.2, epochs=4)(t) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("t", "share"),
    [
        (0, 0),
        (0.999, 0),
        (1, 0.5),
        (2.49, 0.5),
        (2.5, 0.25),
        (9.9, 0.25),
        (10, 0),
        (99, 0),
    ],
)
def test_steps_begin_at_their_times_and_before_the_first_there_is_nothing(t, share):
    assert Schedule.step({10: 0, 1: 0.5, 2.5: 0.25})(t) == share


def test_the_first_step_begins_at_once_where_its_time_is_0():
    schedule = Schedule.step({0: 0.5, 30: 0})
    assert [schedule(t) for t in (0, 29.99, 30)] == [0.5, 0.5, 0]
    assert schedule.parts(29).tolist() == [1] * PARTS
    assert schedule.parts(30).tolist() == [0] * PARTS


def test_a_step_within_an_epoch_is_in_the_table_where_it_belongs():
    schedule = Schedule.step({0: 0.5, 1.25: 0})
    assert table(schedule, 1) == [Fraction(1, 2)] * 256 + [Fraction(0)] * 768


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_off_ends_the_share_for_the_last_part_of_the_epochs(shape):
    schedule = getattr(Schedule, shape)(0.8, 0.8, epochs=4, off=0.25)
    assert [schedule(t) for t in (0, 2.999, 3, 3.5, 4, 50)] == [0.8, 0.8, 0, 0, 0, 0]
    assert schedule.parts(2).min() > 0
    assert schedule.parts(3).max() == schedule.parts(99).max() == 0


def test_off_ends_a_constant_share_and_steps_too():
    for schedule in (
        Schedule.constant(0.5, epochs=2, off=0.5),
        Schedule.step({0: 0.5}, epochs=2, off=0.5),
        Schedule(lambda t: 0.5, epochs=2, off=0.5),
    ):
        assert [schedule(t) for t in (0.99, 1, 2, 9)] == [0.5, 0, 0, 0]
        assert schedule.parts(0).min() > 0
        assert schedule.parts(1).max() == 0


def test_a_function_is_tabulated_at_the_middles_of_parts_and_its_last_value_stays():
    schedule = Schedule(lambda t: t / 8, epochs=2)
    half = Fraction(1, 2 * PARTS)
    for epoch in (0, 1):
        middles = [epoch + Fraction(i, PARTS) + half for i in range(PARTS)]
        assert table(schedule, epoch) == [t / 8 for t in middles]
    assert set(table(schedule, 2)) == set(table(schedule, 50)) == {Fraction(1, 4)}


def test_a_function_that_ends_within_an_epoch_keeps_its_last_value_from_there():
    schedule = Schedule(lambda t: t / 8, epochs=1.5)
    assert table(schedule, 1)[511] == Fraction(2 * 1536 - 1, 2 * PARTS) / 8
    assert set(table(schedule, 1)[512:]) == {Fraction(3, 16)}


@given(start=RATIO, end=RATIO, epochs=st.integers(1, 30))
@settings(deadline=None, max_examples=50)
def test_the_table_of_a_line_has_the_integral_of_the_line(start, end, epochs):
    schedule = Schedule.linear(start, end, epochs=epochs)
    for epoch in {0, epochs // 2, epochs - 1}:
        middle = float(as_fraction(start, "")) * (epochs - epoch - 0.5)
        middle = (middle + float(as_fraction(end, "")) * (epoch + 0.5)) / epochs
        mean = sum(table(schedule, epoch)) / PARTS
        assert float(mean) == pytest.approx(middle, abs=2**-25 + 1e-12)


def test_the_integral_of_a_line_of_short_numbers_is_exact():
    assert sum(table(Schedule.linear(0.5, 0, epochs=1), 0)) / PARTS == Fraction(1, 4)
    assert sum(table(Schedule.linear(0.5, 0, epochs=4), 3)) / PARTS == Fraction(1, 16)


@given(
    schedule=st.one_of(
        st.builds(Schedule.constant, RATIO),
        st.builds(Schedule.linear, RATIO, RATIO, epochs=st.floats(0.1, 9)),
        st.builds(
            Schedule.cosine, RATIO, RATIO, epochs=st.floats(0.1, 9), off=st.floats(0, 1)
        ),
        st.builds(
            Schedule.step,
            st.dictionaries(
                st.integers(0, 9) | st.sampled_from([0.1, 2.5]), RATIO, min_size=1
            ),
        ),
        st.builds(lambda a: Schedule(lambda t: a, epochs=1.25), RATIO),
    ),
    epoch=st.integers(0, 12),
)
@settings(deadline=None, max_examples=120)
def test_every_schedule_survives_a_recipe_and_a_pickle(schedule, epoch):
    again = [Schedule.of(schedule.to_dict()), pickle.loads(pickle.dumps(schedule))]
    for other in again:
        assert other == schedule
        assert hash(other) == hash(schedule)
        assert other.unit == schedule.unit
        assert np.array_equal(other.parts(epoch), schedule.parts(epoch))
    assert round(schedule.most() * schedule.unit) >= schedule.parts(epoch).max()
    assert schedule.parts(epoch).min() >= 0
    late = schedule.parts(schedule.steady)
    assert np.array_equal(late, schedule.parts(schedule.steady + 50))


def test_most_is_the_largest_share_of_any_epoch():
    assert Schedule.step({0: 0.1, 3: 0.7, 4: 0.2}).most() == pytest.approx(0.7)
    assert Schedule.linear(0.0, 0.5, epochs=1).most() == pytest.approx(0.5)
    assert Schedule.linear(0.5, 0.0, epochs=1).most() == pytest.approx(0.5, abs=1e-3)
    assert Schedule.constant(0).most() == 0


def test_schedules_are_equal_where_they_are_the_same_function():
    line = Schedule.linear(0.5, 0, epochs=3)
    assert line == Schedule.linear(0.5, 0, epochs=3)
    assert line not in (
        Schedule.linear(0.5, 0, epochs=4),
        Schedule.cosine(0.5, 0, epochs=3),
        Schedule.linear(0.5, 0, epochs=3, off=0.1),
        0.5,
    )
    assert Schedule(lambda t: 0.5, epochs=1) == Schedule(lambda t: 1 / 2, epochs=1)
    assert Schedule(lambda t: 0.5, epochs=1) != Schedule(lambda t: 0.25, epochs=1)
    assert repr(line).startswith("Schedule.linear(start=0.5, end=0")


def test_a_number_is_a_constant_schedule():
    assert Schedule.of(0.25) == Schedule.constant(0.25)
    assert Schedule.of(Schedule.constant(0.25)) == Schedule.constant(0.25)


BAD = [-0.01, 1e-9, 1.01, 2, math.nan, math.inf, True, "0.5", None, [0.5]]


@pytest.mark.parametrize("value", BAD, ids=repr)
def test_a_share_that_is_no_number_from_0_to_1_is_refused(value):
    for make in (
        lambda: Schedule.constant(value),
        lambda: Schedule.linear(value, 0.5, epochs=3),
        lambda: Schedule.linear(0.5, value, epochs=3),
        lambda: Schedule.cosine(value, 0.5, epochs=3),
        lambda: Schedule.step({0: value}),
        lambda: Schedule(lambda t: value, epochs=1),
        lambda: Schedule.of({"constant": {"ratio": value}}),
    ):
        with pytest.raises(UsageError) as refused:
            make()
        assert f"{value!r}" in str(refused.value)


def test_a_function_that_leaves_0_to_1_is_refused_with_the_time():
    with pytest.raises(UsageError, match=r"t = 1\.0.* must be in \[0, 1\], got 1\.2"):
        Schedule(lambda t: 1.2 if t >= 1 else 0.5, epochs=2)
    with pytest.raises(UsageError, match=r"t = 2 must"):  # the value that stays
        Schedule(lambda t: 1.2 if t >= 2 else 0.5, epochs=2)


@pytest.mark.parametrize(
    "epochs", [0, -1, math.nan, math.inf, True, 1e9, "3"], ids=repr
)
def test_epochs_out_of_range_are_refused(epochs):
    for make in (
        lambda: Schedule.linear(0.5, 0, epochs=epochs),
        lambda: Schedule(lambda t: 0.5, epochs=epochs),
        lambda: Schedule.constant(0.5, epochs=epochs),
    ):
        with pytest.raises(UsageError, match="epochs"):
            make()


def test_off_is_a_part_of_epochs_that_are_given():
    with pytest.raises(UsageError, match="give epochs="):
        Schedule.constant(0.5, off=0.1)
    for off in (-0.1, 1.1, math.nan, True):
        with pytest.raises(UsageError, match="off"):
            Schedule.linear(0.5, 0, epochs=3, off=off)


def test_what_is_no_function_is_refused():
    with pytest.raises(UsageError, match=r"Schedule\.constant"):
        Schedule(0.5, epochs=3)


@pytest.mark.parametrize(
    "steps", [{}, None, [0.5], {-1: 0.5}, {math.nan: 0.5}, {1e9: 0}]
)
def test_steps_without_times_from_0_on_are_refused(steps):
    with pytest.raises(UsageError):
        Schedule.step(steps)


def coded(values, *, raw=None):
    data = np.asarray(values, "<f8").tobytes() if raw is None else raw
    return base64.b64encode(zlib.compress(data)).decode()


HOSTILE = [
    None, "linear", {}, {"spline": {}}, {"linear": 0.5}, {"_of": {}}, {"linear": {}},
    {"linear": {"start": 0.5, "end": 0, "epochs": 3, "more": 1}},
    {"linear": {"start": 0.5, "end": 0, "epochs": 3}, "off": 1},
    {"linear": {"start": "a", "end": 0, "epochs": 3}},
    {"step": {"steps": {"a": 0.5}}}, {"step": {"steps": 3}}, {"step": {}},
    {"table": {}}, {"table": {"values": 3, "epochs": 1}},
    {"table": {"values": "not base64!", "epochs": 1}},
    {"table": {"values": "é", "epochs": 1}},
    {"table": {"values": base64.b64encode(b"no zlib").decode(), "epochs": 1}},
    {"table": {"values": coded([], raw=b"abc"), "epochs": 1}},
    {"table": {"values": coded([0.5] * 9), "epochs": 1}},
    {"table": {"values": coded([]), "epochs": 1}},
    {"table": {"values": coded([0.5] * 1024 + [7]), "epochs": 1}},
    {"table": {"values": coded([math.nan] * 1025), "epochs": 1}},
    {"table": {"values": coded([0.5] * 1025), "epochs": -1}},
    {"table": {"values": coded([0.5] * 1025), "epochs": "many"}},
    {"table": {"values": coded([0.5] * 1025), "epochs": 1, "off": 3}},
]  # fmt: skip


@pytest.mark.parametrize("section", HOSTILE, ids=[f"{i}" for i in range(len(HOSTILE))])
def test_a_hostile_section_is_refused_as_a_users_mistake(section):
    with pytest.raises(UsageError):
        Schedule.of(section)


def test_a_table_that_unpacks_to_much_more_than_it_is_takes_no_memory():
    import tracemalloc

    bomb = coded([], raw=bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(UsageError, match="1025 values of 1 epochs"):
        Schedule.of({"table": {"values": bomb, "epochs": 1}})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_table_of_more_epochs_than_a_function_may_have_is_refused_unread():
    with pytest.raises(UsageError, match=r"epochs must be in \(0, 10000\]"):
        Schedule.of({"table": {"values": coded([0.5]), "epochs": 10_001}})
    with pytest.raises(UsageError, match=r"epochs must be in \(0, 10000\]"):
        Schedule(lambda t: 0.5, epochs=10_001)


def test_times_of_steps_are_kept_to_the_last_digit():
    times = [0, 1234.5678, 1234.5679]
    schedule = Schedule.step(dict(zip(times, [0.1, 0.2, 0.3], strict=True)))
    again = Schedule.of(schedule.to_dict())
    assert [again(t) for t in times] == [0.1, 0.2, 0.3]
    assert schedule != Schedule.step({0: 0.1, 1234.568: 0.2, 1234.5679: 0.3})
