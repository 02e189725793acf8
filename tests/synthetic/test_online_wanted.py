"""What is made next and what is dropped: laws over any positions and any buffer."""

from hypothesis import given
from hypothesis import strategies as st

from fiberaug.synthetic.online_wanted import choose, drop_behind, drop_far, starts

AHEAD = 6
POSITIONS = st.lists(st.lists(st.integers(-1, 30), min_size=3, max_size=3), max_size=4)
ADDRESS = st.tuples(st.integers(0, 2), st.integers(0, 50))
READY = st.lists(
    st.dictionaries(st.integers(0, 45), st.integers(1, 9)), min_size=3, max_size=3
)


def leads(positions, label, index):
    """How far a sample lies behind each position of its class."""
    rows = positions or [[-1] * 3]
    return [index - row[label] for row in rows if index > row[label]]


def in_a_window(positions, label, index):
    return any(lead <= AHEAD for lead in leads(positions, label, index))


@given(POSITIONS, st.lists(ADDRESS, max_size=5), READY, st.integers(1, 40))
def test_what_is_waited_for_comes_first_then_what_is_reached_soonest(
    positions, waiting, ready, most
):
    begun = starts(positions, 3)
    asked, wanted = choose(waiting, begun, ready, ahead=AHEAD, most=most)

    assert set(asked) == {(c, i) for c, i in waiting if i not in ready[c]}
    missing = {
        (label, index)
        for label in range(3)
        for index in range(40)
        if in_a_window(positions, label, index) and index not in ready[label]
    } - set(asked)
    assert len(wanted) == min(most, len(missing))
    assert len(set(wanted)) == len(wanted)
    lead = {address: min(leads(positions, *address)) for address in missing}
    assert set(wanted) <= missing
    assert [lead[one] for one in wanted] == sorted(lead.values())[: len(wanted)]


@given(st.permutations([[3, 7, 0], [4, 7, -1], [9, 2, 5]]))
def test_the_order_of_takers_changes_nothing(positions):
    begun = starts(positions, 3)

    assert begun == starts([[3, 7, 0], [4, 7, -1], [9, 2, 5]], 3)
    assert choose([], begun, [()] * 3, ahead=4, most=99) == choose(
        [], starts([[9, 7, 5], [3, 2, -1], [4, 7, 0]], 3), [()] * 3, ahead=4, most=99
    )


def test_the_class_that_is_filled_least_is_next():
    ready = [{0, 1, 2}, {0}, {0, 1}]

    _, wanted = choose([], [[-1]] * 3, ready, ahead=9, most=4)
    assert wanted == [(1, 1), (1, 2), (2, 2), (0, 3)]


def test_nobody_waits_and_all_is_there_means_nothing_to_do():
    full = [set(range(5))] * 2

    assert choose([], [[-1], [-1]], full, ahead=5, most=8) == ([], [])
    assert choose([], [[-1], [-1]], [()] * 2, ahead=0, most=8) == ([], [])


@given(POSITIONS, st.lists(ADDRESS, max_size=5), READY, st.integers(1, 200))
def test_only_what_nobody_wants_is_dropped_first_and_no_more_than_needed(
    positions, waiting, ready, least
):
    begun = starts(positions, 3)
    dropped = drop_behind(waiting, begun, ready, ahead=AHEAD, least=least)
    free = [
        (label, index)
        for label, sizes in enumerate(ready)
        for index in sizes
        if not in_a_window(positions, label, index)
        and not any(row[label] == index for row in positions)  # it may be being read
        and (label, index) not in waiting
    ]
    freed = [ready[label][index] for label, index in dropped]

    assert set(dropped) <= set(free)
    assert len(set(dropped)) == len(dropped)
    if sum(freed) < least:
        assert set(dropped) == set(free)
    else:
        assert sum(freed[:-1]) < least


@given(POSITIONS, st.lists(ADDRESS, max_size=5), READY, st.integers(1, 400))
def test_for_a_sample_that_is_waited_for_everything_else_may_go(
    positions, waiting, ready, least
):
    dropped = drop_far(waiting, starts(positions, 3), ready, least=least)
    there = {(label, index) for label, sizes in enumerate(ready) for index in sizes}

    assert set(dropped) <= there - set(waiting)
    if sum(ready[label][index] for label, index in dropped) < least:
        assert set(dropped) == there - set(waiting)


def test_behind_all_goes_before_ahead_and_far_before_near():
    ready = [dict.fromkeys([1, 4, 5, 9, 11, 13], 1)]

    order = drop_far([(0, 9)], [[4]], ready, least=99)
    assert order == [(0, 1), (0, 13), (0, 11), (0, 5), (0, 4)]
