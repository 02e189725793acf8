"""What is known of a sample is of that sample alone, and forks share it."""

import os
import pickle

from hypothesis import given
from hypothesis import strategies as st

from fiberaug.proven import Proven

COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=6)


@given(COUNTS, st.data())
def test_a_sample_is_known_where_it_was_added_and_nowhere_else(counts, data):
    every = [(s, i) for s, count in enumerate(counts) for i in range(count)]
    added = data.draw(st.sets(st.sampled_from(every))) if every else set()
    proven = Proven(counts)
    for shard, index in added:
        proven.add(shard, index)
    assert {place for place in every if proven.has(*place)} == added


def test_a_fork_learns_and_teaches():
    proven = Proven([3, 30])
    proven.add(1, 7)
    if not (child := os.fork()):
        proven.add(1, 29)
        os._exit(0 if proven.has(1, 7) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert proven.has(1, 29)
    assert not proven.has(0, 0)


def test_a_copy_elsewhere_begins_with_nothing_known():
    proven = Proven([3, 30])
    proven.add(1, 7)
    copy = pickle.loads(pickle.dumps(proven))
    assert not copy.has(1, 7)
    copy.add(1, 7)
    assert copy.has(1, 7)


def test_where_counts_are_not_known_or_beyond_memory_there_is_none():
    assert Proven.of([3, None]) is None
    assert Proven.of([2**33, 1]) is None
    assert Proven.of([3, 2]) is not None
