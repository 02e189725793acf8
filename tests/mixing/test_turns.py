"""Turns keep so close to their weights that two laws can be laid together."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.turns import turns

WEIGHTS = st.lists(st.integers(1, 12).map(Fraction), min_size=1, max_size=6)
LAW = settings(deadline=None, max_examples=150)


def behind(weights, rounds=2):
    """How far each source is ahead of its weight after each turn, exact."""
    found, whole = turns(weights).tolist() * rounds, sum(weights)
    rows = [[Fraction(0)] * len(weights)]
    for turn in found:
        rows.append(
            [
                row + (source == turn) - weight / whole
                for source, (row, weight) in enumerate(
                    zip(rows[-1], weights, strict=True)
                )
            ]
        )
    return rows


@given(weights=WEIGHTS)
@LAW
def test_no_source_is_ever_a_whole_turn_off(weights):
    for row in behind(weights):
        assert all(-1 < off < 1 for off in row)


@given(weights=WEIGHTS)
@LAW
def test_any_window_of_turns_and_one_turn_more_stay_within_two(weights):
    # Positions add less than one turn, of which a source has its weight's part.
    whole = sum(weights)
    for source, offs in enumerate(zip(*behind(weights), strict=True)):
        assert max(offs) - min(offs) + weights[source] / whole < 2 or len(weights) == 1


@given(weights=WEIGHTS)
@LAW
def test_a_period_has_exactly_the_turns_that_weights_say(weights):
    found, whole = turns(weights), sum(weights)
    assert found.dtype == np.int64
    for source, weight in enumerate(weights):
        assert int((found == source).sum()) == weight / whole * len(found)


@given(weights=WEIGHTS, factor=st.integers(2, 9))
@LAW
def test_a_period_is_as_short_as_it_can_be_and_weights_are_relative(weights, factor):
    found = turns(weights)
    parts = [int((found == source).sum()) for source in range(len(weights))]
    assert np.gcd.reduce(parts) == 1
    scaled = [weight / factor for weight in weights]
    assert turns(scaled).tolist() == found.tolist()


@pytest.mark.parametrize(
    ("weights", "order"),
    [
        ([1], [0]),
        ([5], [0]),
        ([1, 1], [0, 1]),
        ([2, 1], [0, 0, 1]),
        ([1, 3], [1, 1, 1, 0]),
        ([1, 1, 1], [0, 1, 2]),
    ],
)
def test_the_order_of_turns_stays_as_it_is(weights, order):
    found = turns([Fraction(weight) for weight in weights]).tolist()
    assert found == order


def test_decimals_are_weights_too():
    found = turns([Fraction(7, 10), Fraction(3, 10)])
    assert len(found) == 10
    assert (found == 0).sum() == 7


def test_a_period_that_is_too_long_is_refused_with_its_length():
    assert len(turns([Fraction(9_999), Fraction(1)])) == 10_000
    with pytest.raises(UsageError, match=r"repeat after 10001 turns, at most 10000"):
        turns([Fraction(10_000), Fraction(1)])
