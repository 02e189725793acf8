"""Drawn parameters become plain, short values."""

import enum
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.params import encode, pack

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.builds(np.float32, st.floats(width=32))
    | st.builds(np.int64, st.integers(-9, 9)),
    lambda inner: st.lists(inner, max_size=70) | st.tuples(inner, inner)
    | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=5))
def test_any_parameters_become_json_that_reads_back_the_same(params):
    encoded = encode(pack(params))

    assert json.loads(json.dumps(encoded, allow_nan=False)) == encoded
    assert encode(params) == encoded


@pytest.mark.parametrize("size", [64, 65])
def test_arrays_of_up_to_64_numbers_are_kept_and_larger_ones_summed_up(size):
    array = np.arange(size, dtype=np.float32)
    encoded = encode(pack({"a": array}))["a"]

    if size == 64:
        assert encoded == array.tolist()
    else:
        assert encoded == {"dtype": "float32", "shape": [65], "min": 0.0, "max": 64.0}


def test_a_packed_array_does_not_change_with_the_original():
    array = np.zeros(3)
    packed = pack({"a": array})
    array[:] = 9

    assert encode(packed) == {"a": [0, 0, 0]}


def test_what_json_cannot_hold_is_named():
    class Colour(enum.Enum):
        RED = 3

    assert encode(Colour.RED) == 3
    assert encode(float("inf")) == "inf"
    assert encode(object()) == {"object": "builtins.object"}
    assert encode(np.array([None, 1])) == {"dtype": "object", "shape": [2]}
    assert encode(list(range(65))) == {"type": "list", "length": 65}
