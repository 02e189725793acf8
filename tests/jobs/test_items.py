"""Laws of items in columns: what went in comes out, and order tells nothing."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import DataRefused
from fiberaug.jobs.items import Item, Items
from fiberaug.jobs.packed import Packing
from fiberaug.shards.writer import member_bytes

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
items = st.lists(
    st.builds(
        Item,
        key=texts,
        place=texts | st.just("caf\udce9.jpg"),
        size=st.integers(0, 2**40),
        label=st.none() | st.integers(0, 2**40),
        notes=st.binary(max_size=30),
    ),
    max_size=12,
    unique_by=lambda item: item.key,
)


@given(rows=items, data=st.data())
def test_items_come_out_as_they_went_in_and_in_the_order_asked_for(rows, data):
    columns = Items.of(iter(rows))
    order = data.draw(st.permutations(range(len(rows))))
    some = np.array(order[: len(order) // 2 + 1], np.int64)

    assert list(columns) == rows
    assert list(columns.take(some)) == [rows[i] for i in some]
    assert list(pickle.loads(pickle.dumps(columns))) == rows


@given(rows=items, seed=st.integers(0, 3), data=st.data())
def test_the_shuffle_is_that_of_keys_and_seed(rows, seed, data):
    moved = data.draw(st.permutations(rows))
    orders = [
        [one[int(i)].key for i in one.shuffled(seed)]
        for one in (Items.of(rows), Items.of(moved))
    ]

    assert orders[0] == orders[1]
    assert sorted(orders[0]) == sorted(item.key for item in rows)


@given(rows=items, data=st.data())
def test_the_digest_tells_any_difference(rows, data):
    digest = Items.of(rows).digest()
    assert Items.of(rows).digest() == digest
    if not rows:
        return
    at = data.draw(st.integers(0, len(rows) - 1))
    one = rows[at]
    for other in (
        one._replace(key=one.key + "x"), one._replace(place=one.place + "x"),
        one._replace(size=one.size + 1), one._replace(notes=one.notes + b"x"),
        one._replace(label=(one.label or 0) + 1),
        one._replace(key=one.key + one.place[:1], place=one.place[1:]),
    ):  # fmt: skip
        changed = [*rows[:at], other, *rows[at + 1 :]]
        assert (Items.of(changed).digest() == digest) == (other == one)


def test_a_key_that_stands_twice_is_refused_with_both_places():
    rows = [Item("a", "x.jpg", 1), Item("b", "y.jpg", 1), Item("a", "z.jpg", 1)]
    with pytest.raises(DataRefused, match=r"'a' stands twice: x\.jpg and z\.jpg"):
        Items.of(rows).check_keys()
    Items.of(rows[:2]).check_keys()


def test_the_size_in_a_tar_counts_label_and_notes():
    rows = [Item("a", "a", 0), Item("b", "b", 513, 3), Item("c", "c", 512, None, b"{}")]
    assert Items.of(rows).tar_bytes().tolist() == [
        member_bytes(0),
        member_bytes(513) + member_bytes(1),
        member_bytes(512) + member_bytes(2),
    ]


@given(st.lists(st.binary(max_size=9)))
def test_packed_strings_are_a_sequence(strings):
    packing = Packing()
    for string in strings:
        packing.append(string)
    packed = packing.done()

    assert list(packed) == strings
    assert packed[-2:] == strings[-2:]
    assert [packed[i - len(strings)] for i in range(len(strings))] == strings
    with pytest.raises(IndexError):
        packed[len(strings)]
