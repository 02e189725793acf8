"""Laws of packed strings: what went in comes out, however it is asked for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.jobs import packed
from fiberaug.jobs.packed import Packing

STRINGS = st.lists(st.binary(max_size=9), max_size=20)


def pack(strings):
    packing = Packing()
    for one in strings:
        packing.append(one)
    return packing.done()


@given(strings=STRINGS)
def test_strings_come_out_as_they_went_in(strings):
    found = pack(strings)
    assert list(found) == strings
    assert [found[i] for i in range(len(found))] == strings
    assert found.lengths().tolist() == [len(one) for one in strings]


def test_strings_come_out_across_the_blocks_that_are_read_at_once(monkeypatch):
    monkeypatch.setattr(packed, "_BLOCK", 3)
    strings = [bytes([i]) * (i % 4) for i in range(10)]
    assert list(pack(strings)) == strings


@given(strings=STRINGS, data=st.data())
def test_rows_are_taken_in_their_order_and_as_often_as_they_stand(strings, data):
    rows = st.lists(st.integers(0, len(strings) - 1)) if strings else st.just([])
    wanted = data.draw(rows)
    found = pack(strings).take(np.array(wanted, np.int64))
    assert list(found) == [strings[row] for row in wanted]
    assert [found[i] for i in range(len(found))] == [strings[row] for row in wanted]
