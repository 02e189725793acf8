"""A ramp is a function of the share of images shown, and of nothing else."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.training.ramps import Ramp

NUMBERS = st.floats(-1e6, 1e6)
RAMPS = st.builds(
    Ramp,
    shape=st.sampled_from(["linear", "cosine"]),
    start=NUMBERS,
    end=NUMBERS,
    share=st.floats(0.01, 1),
)


@given(ramp=RAMPS, total=st.integers(1, 10**9), share=st.floats(0, 2))
def test_it_stays_between_its_ends_and_begins_and_ends_with_them(ramp, total, share):
    value = ramp.at(round(total * share), total)
    air = 1e-9 * max(abs(ramp.start), abs(ramp.end))
    assert ramp.least - air <= value <= ramp.most + air
    assert ramp.at(0, total) == ramp.start
    assert ramp.at(total, total) == ramp.at(2 * total, total) == ramp.end


@given(ramp=RAMPS, nimg=st.integers(0, 10_000), times=st.integers(1, 1_000))
def test_it_depends_on_the_share_alone(ramp, nimg, times):
    assert ramp.at(nimg, 10_000) == pytest.approx(
        ramp.at(nimg * times, 10_000 * times), abs=1e-6
    )


@given(ramp=RAMPS)
def test_its_text_means_the_same_ramp(ramp):
    assert Ramp.of(str(ramp)) == ramp
    assert Ramp.of(ramp) is ramp


def test_the_shapes_are_those_of_their_names():
    half = [Ramp.of(f"{name} 1 0").at(25, 100) for name in ("linear", "cosine")]
    assert half == [0.75, pytest.approx(0.5 + 0.5 * math.cos(math.pi / 4))]
    assert Ramp.of("linear 0 1 0.1").at(5, 100) == 0.5
    assert Ramp.of("linear 0 1 0.1").at(10, 100) == 1


@pytest.mark.parametrize("value", [3e-4, "3e-4", "constant 3e-4", " constant  0.0003 "])
def test_a_number_is_a_constant(value):
    ramp = Ramp.of(value)
    assert {ramp.at(nimg, 10) for nimg in range(12)} == {3e-4}
    assert ramp.least == ramp.most == 3e-4
    assert str(ramp) == "0.0003"


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("", "a ramp is a number"),
        ("cosine", "a ramp is a number"),
        ("cosine 1", "a ramp is a number"),
        ("cosine 1 2 0.5 3", "a ramp is a number"),
        ("constant 1 2", "a ramp is a number"),
        ("1 2", "a ramp is a number"),
        ("quadratic 1 2", "a ramp is a number"),
        ("linear a b", "a ramp is a number"),
        (None, "a ramp is a number"),
        (True, "a ramp is a number"),
        ([1, 2], "a ramp is a number"),
        ("nan", "must be finite"),
        (math.inf, "must be finite"),
        ("linear 1 inf", "must be finite"),
        ("linear 1 2 0", "share of the run"),
        ("linear 1 2 1.5", "share of the run"),
        ("linear 1 2 nan", "share of the run"),
    ],
)
def test_what_is_no_ramp_is_refused_with_what_would_be_one(value, what):
    with pytest.raises(UsageError, match=what):
        Ramp.of(value)


def test_a_constant_has_one_value_and_shapes_have_names():
    with pytest.raises(UsageError, match="one value"):
        Ramp(start=1, end=2)
    with pytest.raises(UsageError, match="step"):
        Ramp(shape="step", start=1, end=2)
