"""Laws of what is held out and what is looked at."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.training.holding import content_numbers, held_share, spread_rows


def test_the_share_that_is_held_out_is_none_of_few_and_bounded_of_many() -> None:
    assert held_share(0.1, 199) == 0
    assert held_share(0.1, 200) == 0.1
    assert held_share(0.1, 100_000) == 0.02
    assert held_share(0, 10_000) == 0


@pytest.mark.parametrize("share", [-0.1, 0.51, True, float("nan")])
def test_a_share_that_is_none_is_refused(share) -> None:
    with pytest.raises(UsageError, match="held_out"):
        held_share(share, 1000)


def test_copies_of_a_photo_have_one_number() -> None:
    photos = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 3), np.uint8)
    numbers = content_numbers(np.concatenate([photos, photos[::-1]]))
    np.testing.assert_array_equal(numbers[:50], numbers[:49:-1])
    assert len(set(numbers)) == 50
    assert 0 <= numbers.min() < 0.2
    assert 0.8 < numbers.max() < 1


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(1, 100))
def test_chosen_rows_are_distinct_and_spread_as_the_classes_are(labels, count) -> None:
    found, visits = spread_rows(np.array(labels), count)
    total, taken = len(labels), min(count, len(labels))
    assert len(set(found.tolist())) == taken == len(visits)
    assert not visits.any()
    for label in set(labels):
        fair = labels.count(label) * taken / total
        assert abs(sum(labels[row] == label for row in found) - fair) < 1


def test_rows_come_again_in_turn_where_they_may() -> None:
    rows, visits = spread_rows(np.zeros(3, np.int64), 7, again=True)
    assert visits.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert rows[:3].tolist() == rows[3:6].tolist()


def test_none_of_no_rows_is_chosen() -> None:
    assert len(spread_rows(np.zeros(0, np.int64), 7, again=True)[0]) == 0


def test_no_count_is_refused() -> None:
    with pytest.raises(UsageError, match="count"):
        spread_rows(np.zeros(3, np.int64), 0)
