"""Laws of what is asked for: counts by class, and the order of making."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.synthetic.asking import MOST_TRIES, Asked, Round

NAMES = ("cat", "dog", "eel")


def ask(names=NAMES, per_class=None, count=None, classes=None):
    return Asked.of(names, per_class=per_class, count=count, classes=classes)


@pytest.mark.parametrize(
    ("arguments", "counts"),
    [
        ({"per_class": 5}, {0: 5, 1: 5, 2: 5}),
        ({"per_class": 5, "classes": ["eel", "cat"]}, {0: 5, 2: 5}),
        ({"per_class": {"eel": 2, "cat": 0, 1: 3}}, {1: 3, 2: 2}),
        ({"count": 8}, {0: 3, 1: 3, 2: 2}),
        ({"count": 2}, {0: 1, 1: 1}),
        ({"count": 3, "classes": ["dog"]}, {1: 3}),
    ],
)
def test_samples_are_asked_for_by_class(arguments, counts):
    assert ask(**arguments).counts == counts
    assert list(ask(**arguments).counts) == sorted(counts)
    assert ask(**arguments).labelled


def test_without_names_labels_are_numbers():
    assert ask((), per_class={7: 2, "3": 1}).counts == {3: 1, 7: 2}
    assert ask((), per_class=2, classes=["4", "5"]).counts == {4: 2, 5: 2}
    assert ask((), per_class={7: 2}).name(7) == "7"


def test_without_classes_a_count_makes_samples_without_labels():
    assert ask((), count=6).counts == {0: 6}
    assert not ask((), count=6).labelled


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "say per_class or count"),
        ({"per_class": 1, "count": 1}, "say per_class or count"),
        ({"per_class": 0}, "per_class must be an integer >= 1, got 0"),
        ({"per_class": True}, "per_class must be an integer >= 1, got True"),
        ({"count": -3}, "count must be an integer >= 1, got -3"),
        ({"per_class": 1.5}, "got 1.5"),
        ({"per_class": {"cow": 1}}, "no class 'cow': it has cat, dog, eel"),
        ({"per_class": {"cat": -1}}, r"per_class\['cat'\] must be an integer >= 0"),
        ({"per_class": {"cat": 0}}, "asks for no sample"),
        ({"per_class": {"cat": 1}, "classes": ["cat"]}, "leave classes out"),
        ({"per_class": 1, "classes": ["cow"]}, "no class 'cow'"),
        ({"per_class": 1, "classes": ["cat", "cat"]}, "names one twice"),
        ({"per_class": 1, "classes": []}, "must be a list of names"),
        ({"per_class": 1, "classes": "cat"}, "must be a list of names"),
        ({"per_class": {3: 1}}, "no class 3"),
        ({"names": (), "per_class": 1}, "names no classes, so per_class means"),
        ({"names": (), "per_class": {"cat": 1}}, "its classes are numbers"),
    ],
)
def test_what_cannot_be_made_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        ask(**arguments)


COUNTS = st.dictionaries(st.integers(0, 9), st.integers(1, 40), min_size=1)


@given(COUNTS, st.data())
def test_a_round_makes_what_is_missing_and_never_too_much(counts, data):
    asked = ask((), per_class=counts)
    made = {n: data.draw(st.integers(0, MOST_TRIES * c)) for n, c in counts.items()}
    taken = {n: data.draw(st.integers(0, min(made[n], counts[n]))) for n in counts}
    following = Round.after(asked, made, taken)
    wanted = following.candidates()

    assert len(wanted) == len(set(wanted)) == len(following)
    for label, count in counts.items():
        numbers = sorted(number for one, number in wanted if one == label)
        missing = min(count - taken[label], MOST_TRIES * count - made[label])
        assert numbers == list(range(made[label], made[label] + missing))


@given(COUNTS)
def test_any_beginning_of_a_round_holds_each_class_by_its_share(counts):
    """A shard of a pool is no shard of one class."""
    wanted = Round.after(ask((), per_class=counts), {}, {}).candidates()
    seen = dict.fromkeys(counts, 0)

    for k, (label, number) in enumerate(wanted, 1):
        assert number == seen[label]
        seen[label] += 1
        for one, count in counts.items():
            share = count * k / len(wanted)
            assert abs(seen[one] - share) <= 1 + len(counts) / 2
