"""Laws of records: what was done survives JSON, and is unpacked when looked at."""

import copy
import json
import math
import pickle
from collections.abc import Sequence
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.params import pack
from fiberaug.record import (
    AppliedTransform,
    PackedRecord,
    Record,
    RecordContext,
    Records,
)

LAW = settings(deadline=None, max_examples=100, report_multiple_bugs=False)
NATURAL = st.integers(0, 2**64 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda child: (
        st.lists(child, max_size=4) | st.dictionaries(st.text(), child, max_size=4)
    ),
    max_leaves=12,
).map(lambda value: json.loads(json.dumps(value).replace("Infinity", "1e9")))
PARAMS = st.dictionaries(st.text(), JSON, max_size=4)
APPLIED = st.builds(AppliedTransform, path=st.text(), name=st.text(), params=PARAMS)
RECORDS = st.builds(
    Record,
    key=st.text(),
    url=st.text(),
    index=NATURAL,
    uid=st.text(),
    position=NATURAL,
    visit=NATURAL,
    view=NATURAL,
    epoch=NATURAL,
    seed=NATURAL,
    origin=st.text(),
    decode=PARAMS,
    applied_transforms=st.lists(APPLIED, max_size=3).map(tuple),
    batch=PARAMS,
    recipe=st.text(),
    environment=st.text(),
    replayable=st.booleans(),
)
DRAWN = st.recursive(  # what a transform may draw, as a worker packs it
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda child: (
        st.lists(child, max_size=4)
        | st.lists(child, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers(), child, max_size=4)
    ),
    max_leaves=12,
)
PACKED = PackedRecord("k7", "a.tar", 3, 255, 37, 0, 0, (8, 9, 3), 1, [(1, {"p": 2})])
CONTEXT = RecordContext(
    epoch=4,
    seed=5,
    origin="real",
    decoder={"decoder": "cv2"},
    unit=16,
    recipe="r" * 16,
    environment="e" * 16,
    replayable=True,
    leaves=(("0", "Crop"), ("1.0", "Flip")),
)


def finite(value):
    """Return what a drawn value looks like in JSON."""
    if isinstance(value, dict):
        return {str(name): finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


class Spy:
    """A context that notes what was unpacked."""

    def __init__(self):
        self.unpacked = []

    def unpack(self, packed):
        self.unpacked.append(packed.key)
        return CONTEXT.unpack(packed)

    def to_json(self, packed):
        return CONTEXT.to_json(packed)


@LAW
@given(RECORDS)
def test_a_record_survives_json_and_its_dict_and_is_one_line(record):
    text = record.to_json()

    assert "\n" not in text
    assert Record.from_json(text) == record
    assert Record.from_dict(record.to_dict()) == record
    assert Record.from_json(text).to_json() == text


@LAW
@given(RECORDS)
def test_the_fields_of_the_json_are_those_of_the_record(record):
    data = json.loads(record.to_json())

    names = [field.name for field in fields(Record)]
    assert list(data) == [n for n in names if n != "pixels" or record.pixels]
    assert data["v"] == 1
    assert data["applied_transforms"] == [
        {"path": t.path, "name": t.name, "params": t.params}
        for t in record.applied_transforms
    ]


def test_a_record_is_frozen_extended_by_replacement_and_pickles():
    record = CONTEXT.unpack(PACKED)
    with pytest.raises(FrozenInstanceError):
        record.epoch = 5

    assert replace(record, epoch=5).epoch == 5
    assert pickle.loads(pickle.dumps(record)) == copy.deepcopy(record) == record


def test_a_number_that_json_does_not_have_is_never_written():
    """A record made by hand with an infinity is refused, not written as no JSON."""
    record = replace(CONTEXT.unpack(PACKED), decode={"gamma": math.inf})
    with pytest.raises(ValueError, match="JSON"):
        record.to_json()


# ---- what is refused ----------------------------------------------------------------


def changed(**values):
    """Return a record's dict with some fields replaced, or left out where None."""
    data = {**CONTEXT.unpack(PACKED).to_dict(), **values}
    return {name: value for name, value in data.items() if value is not None}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (changed(v=2), ["version must be 1", "got 2"]),
        (changed(v=None), ["version must be 1", "got None"]),
        ({}, ["version must be 1", "got None"]),
        (changed(seed=None, view=None), ["missing ['seed', 'view']", "unknown []"]),
        (changed(colour=1), ["missing []", "unknown ['colour']"]),
        (changed(seed=None, colour=1), ["missing ['seed']", "unknown ['colour']"]),
        ({**changed(), 7: 1, "x": 2}, ["unknown [7, 'x']"]),
        (
            changed(applied_transforms={"a": 1}),
            ["applied_transforms is a list", "dict"],
        ),
        (changed(applied_transforms=["Flip"]), ["a mapping", "got str"]),
        (
            changed(applied_transforms=[{"path": "0", "name": "Flip"}]),
            ["applied transform", "missing ['params']"],
        ),
        (
            changed(
                applied_transforms=[{"path": "", "name": "", "params": {}, "p": 1}]
            ),
            ["applied transform", "unknown ['p']"],
        ),
        ([changed()], ["a mapping", "got list"]),
    ],
)
def test_what_is_no_record_is_refused_with_the_field(data, words):
    with pytest.raises(UsageError) as caught:
        Record.from_dict(data)

    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null", "7", "{}"])
def test_text_that_is_no_record_is_refused(text):
    with pytest.raises(UsageError, match="record"):
        Record.from_json(text)


# ---- packed records -----------------------------------------------------------------


@LAW
@given(st.dictionaries(st.text(), DRAWN, max_size=4))
def test_an_unpacked_record_survives_json_whatever_was_drawn(params):
    """Infinities and nan are text, tuples are lists, names are text."""
    packed = PACKED._replace(operations=[(0, params), (1, {})])
    record = CONTEXT.unpack(packed)

    assert Record.from_json(record.to_json()) == record
    assert CONTEXT.to_json(packed) == record.to_json()
    assert record.applied_transforms == (
        AppliedTransform("0", "Crop", finite(params)),
        AppliedTransform("1.0", "Flip", {}),
    )


@LAW
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.integers(1, 99))
def test_an_unpacked_record_says_where_the_sample_stood(uid, position, unit):
    context = replace(CONTEXT, unit=unit)
    record = context.unpack(PACKED._replace(uid=uid, position=position))

    assert int(record.uid, 16) == uid
    assert len(record.uid) == 16
    assert record.position == position
    assert record.batch["unit"] * unit + record.batch["row"] == position
    assert 0 <= record.batch["row"] < unit


def test_an_unpacked_record_joins_what_is_the_sample_s_and_what_the_epoch_s():
    normalize = {"path": "2", "name": "Normalize", "params": {"mean": [0.5]}}
    context = replace(CONTEXT, constant=(normalize,)).at(9)
    record = context.unpack(PACKED)

    assert (record.key, record.url, record.index) == ("k7", "a.tar", 3)
    assert (record.visit, record.view) == (0, 0)
    assert (record.epoch, record.seed, record.origin) == (9, 5, "real")
    assert record.decode == {"decoder": "cv2", "shape": [8, 9, 3], "orientation": 1}
    assert record.applied_transforms == (
        AppliedTransform("1.0", "Flip", {"p": 2}),
        AppliedTransform(**normalize),
    )
    assert (record.recipe, record.environment) == ("r" * 16, "e" * 16)
    assert record.replayable
    assert CONTEXT.epoch == 4


def test_records_are_unpacked_when_they_are_looked_at():
    spy = Spy()
    records = Records([PACKED._replace(key=f"k{row}") for row in range(4)], spy)

    assert (len(records), repr(records), spy.unpacked) == (4, "<4 records>", [])
    assert records[2].key == records[-2].key == "k2"
    assert spy.unpacked == ["k2", "k2"]
    assert next(iter(records)).key == "k0"
    assert spy.unpacked == ["k2", "k2", "k0"]
    assert [record.key for record in records] == ["k0", "k1", "k2", "k3"]
    assert records.texts() == [record.to_json() for record in records]
    with pytest.raises(IndexError):
        records[4]


def test_records_are_no_sequence_for_frameworks_that_rebuild_sequences():
    records = Records([tuple(PACKED)], CONTEXT)

    assert not isinstance(records, Sequence)
    assert list(records) == [CONTEXT.unpack(PACKED)]


def test_records_survive_the_way_between_processes():
    records = pickle.loads(pickle.dumps(Records([tuple(PACKED)], CONTEXT)))

    assert list(records) == [CONTEXT.unpack(PACKED)]


def test_drawn_numbers_of_numpy_are_plain_in_the_record():
    drawn = {"gamma": np.float32(0.5), "size": np.int64(3), "box": np.arange(4)}
    packed = PACKED._replace(operations=[(0, drawn)])
    record = CONTEXT.unpack(packed)

    assert CONTEXT.to_json(packed) == record.to_json()
    assert json.loads(record.to_json())["applied_transforms"][0]["params"] == {
        "gamma": 0.5,
        "size": 3,
        "box": [0, 1, 2, 3],
    }


def test_a_slice_of_records_is_a_list_of_them():
    packed = [tuple(PACKED._replace(position=i)) for i in range(5)]

    assert [r.position for r in Records(packed, CONTEXT)[1:4:2]] == [1, 3]


LONG = [tuple(range(65)), (1.5, (True, None)), {None: 1}, [float("nan")], np.arange(70)]


@pytest.mark.parametrize("value", LONG)
def test_text_made_in_passing_is_the_text_of_the_record(value):
    """Whatever a transform draws, both ways to JSON say the same."""
    packed = PACKED._replace(operations=[(0, pack({"a": value}))])

    assert CONTEXT.to_json(packed) == CONTEXT.unpack(packed).to_json()
