"""Rows of a virtual shard come back as they were, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import ShardDamaged, StoreError
from fiberaug.jobs.items import Item
from fiberaug.jobs.plain_rows import PlainRow, PlainRows, pack_rows

NUMBERS = st.integers(-(2**62), 2**62)
PLACES = st.binary(max_size=20).map(lambda b: b.decode("utf-8", "surrogateescape"))
ROWS = st.lists(
    st.builds(
        PlainRow,
        st.builds(
            Item, st.just("k"), PLACES, NUMBERS, st.none() | NUMBERS,
            st.binary(max_size=50),
        ),
        NUMBERS, NUMBERS, st.booleans(),
    ),
    max_size=20,
)  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("rows") / "a.rows"


@given(rows=ROWS)
def test_rows_come_back_as_they_were(path, rows):
    path.write_bytes(pack_rows(rows))

    found = PlainRows(path, len(rows), shard="a")

    assert [found.row(i, "k") for i in range(len(rows))] == rows
    assert found.all_sound == all(row.sound for row in rows)


@given(rows=ROWS, data=st.data())
def test_no_change_of_the_file_is_silent(path, rows, data):
    content = bytearray(pack_rows(rows))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(
            st.integers(1, 255)
        )
    path.write_bytes(content)

    with pytest.raises(ShardDamaged):
        PlainRows(path, len(rows), shard="a")


def test_rows_of_another_shard_or_none_are_refused(path):
    path.write_bytes(pack_rows([]))
    with pytest.raises(ShardDamaged, match="0 rows for 3 samples"):
        PlainRows(path, 3, shard="a")
    with pytest.raises(StoreError, match="cannot read"):
        PlainRows(path.with_name("none"), 3, shard="a")
