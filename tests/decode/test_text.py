"""Laws of JSON and labels: finite, shallow, unambiguous."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.decode.text import parse_json, parse_label, parse_metadata
from fiberaug.errors import SampleBroken

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False,
    allow_infinity=False) | st.text('a[]{}"\\é', max_size=9),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text('b[{"', max_size=3), inner, max_size=4),
    max_leaves=40,
)  # fmt: skip


@given(values)
def test_json_is_read_as_python_reads_it(value):
    text = json.dumps(value).encode()

    assert parse_json(text) == parse_json(memoryview(text)) == value


def test_brackets_in_text_are_no_depth():
    """A hundred captions such as "from [0, 1)" are not a hundred levels."""
    captions = ["from [0, 1) {", 'a "quoted" [', "back\\slash ["] * 60

    assert parse_json(json.dumps(captions).encode()) == captions


def nested(depth):
    return b"[" * depth + b"]" * depth


def test_depth_ends_at_64():
    assert parse_json(nested(64))
    for text in (nested(65), b'["]]]]]]]]",' * 65 + b"0" + b"]" * 65, b"[" * 900_000):
        with pytest.raises(SampleBroken, match="deeper than 64"):
            parse_json(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"a": NaN}', "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"[-Infinity]", "Infinity"),
        (b"[1e999]", "1e999"),
        (b'{"a": 1, "b": 2, "a": 3}', "key stands twice"),
        (b'{"a": 1', "delimiter"),
        (b"", "Expecting value"),
        (b"\xff\xfe\xfd", "decode"),
        (b"[" + b"9" * 5000 + b"]", "digits"),
        (b'"' + b"a" * 2**20 + b'"', "limit is 1048576"),
    ],
    ids=list("abcdefghij"),
)
def test_json_that_tools_read_differently_is_refused(text, words):
    with pytest.raises(SampleBroken, match=words) as caught:
        parse_json(text)

    assert caught.value.stage == "decode"


def test_metadata_that_is_refused_is_left_out():
    """Some tools write NaN into fields that nobody asked for."""
    members = {
        "json": b'{"similarity": NaN}',
        "meta.json": b'{"a": 1}',
        "jpg": b"\xff\xd8",
        "geojson": b"{}",
    }

    assert parse_metadata(members) == {"meta.json": {"a": 1}}


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("3", 3),
        ("3\n", 3),
        (" -1\r\n", -1),
        ("007", 7),
        ("-2.5 ", -2.5),
        ("1e3", 1000.0),
        ("cat", 1),
        (" dog \n", 0),
        (9, 9),
        (2.5, 2.5),
        (True, 1),
        (np.int64(4), 4),
        (np.array(4), 4),
        (np.float32(0.5), 0.5),
    ],
)
def test_a_label_is_an_id_a_number_or_a_known_name(value, label):
    found = parse_label(value, {"dog": 0, "cat": 1})

    assert found == label
    assert type(found) is type(label)


@pytest.mark.parametrize(
    "value", [[0, 1, 0], [0.5, 2], [], np.arange(3), [True, False]]
)
def test_a_list_is_a_vector(value):
    found = parse_label(value, {})

    assert found.dtype == np.float32
    assert found.tolist() == list(map(float, value))


def test_a_name_wins_over_the_number_that_it_looks_like():
    assert parse_label("7", {"3": 0, "7": 1}) == 1
    assert parse_label("nan", {"nan": 4}) == 4


@pytest.mark.parametrize(
    "value",
    ["bird", "", "nan", "-inf", "1_000", "٣", "9" * 30, "1e400", 2**63, float("nan"),
     None, {}, "x" * 9000, [1, "a"], [[1, 2]], [1e300], [float("nan")],
     np.eye(2), b"3"],
    ids=list("abcdefghijklmnopqrs"),
)  # fmt: skip
def test_what_is_no_label_is_a_broken_sample(value):
    with pytest.raises(SampleBroken, match="label") as caught:
        parse_label(value, {"dog": 0, "cat": 1})

    assert len(str(caught.value)) < 400


def test_an_unknown_name_is_shown_beside_those_that_are_known():
    with pytest.raises(SampleBroken, match=r"'bird'.*\['cat', 'dog'\]"):
        parse_label("bird", {"dog": 0, "cat": 1})
