"""A provenance says what it may say, and survives JSON; what is wrong is named."""

import copy
import dataclasses
import json
import pickle
from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from marks import made, stated
from sets import photo

from fiberaug.errors import UsageError
from fiberaug.marking import COMPOSITE, PROCEDURAL, SOURCE_TYPES, TRAINED, mark
from fiberaug.publishing import provenance_schema
from fiberaug.synthetic.provenance import (
    Checks,
    Cost,
    Generated,
    Parameters,
    Parent,
    Provenance,
)
from fiberaug.synthetic.truth import pixels_sha256, verify

HASH = "0123456789abcdef" * 4
VALIDATOR = Draft202012Validator(provenance_schema())
texts = st.text(min_size=1, max_size=20)
amounts = st.floats(0, 1e9, allow_nan=False)
hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)
made_by = st.builds(
    Generated,
    kind=texts, class_name=texts, sha256=st.none() | hashes, name=st.none() | texts,
    licence=st.none() | texts, lora=st.lists(hashes, max_size=3).map(tuple),
    trained_on=st.none() | texts, more=st.just({}),
)  # fmt: skip
provenances = st.builds(
    Provenance,
    digital_source_type=st.sampled_from(sorted(SOURCE_TYPES)), id=texts,
    pixels_sha256=hashes, generator=made_by,
    params=st.builds(
        Parameters, seed=st.integers(0, 2**128 - 1), index=st.none() | st.integers(0),
        prompt=st.none() | st.text(), guidance=st.none() | st.floats(-9, 9),
        strength=st.none() | st.floats(0, 1),
        others=st.dictionaries(texts, st.integers() | texts), more=st.just({}),
    ),
    schema=st.just("1.0"), synthetic=st.just(True),  # noqa: FBT003
    bytes_sha256=st.none() | hashes,
    dhash=st.none() | st.binary(min_size=8, max_size=8).map(bytes.hex),
    label=st.none() | st.integers() | st.lists(amounts, max_size=4).map(tuple),
    label_name=st.none() | texts,
    label_origin=st.sampled_from([None, "conditioned", "inherited", "pseudo", "soft"]),
    parents=st.lists(
        st.builds(Parent, key=texts, sha256=st.none() | hashes, shard=st.none() | texts,
                  split=st.none() | texts, more=st.just({})), max_size=3,
    ).map(tuple),
    cost=st.none() | st.builds(
        Cost, seconds=amounts, device=texts, peak_mib=amounts, nfe=st.integers(0),
        more=st.just({}),
    ),
    checks=st.builds(
        Checks, safety=st.sampled_from(["passed", "flagged", "not_run"]),
        accepted=st.none() | st.booleans(), clf_conf=st.none() | st.floats(0, 1),
        nn_distance=st.none() | amounts, near_copy=st.none() | st.booleans(),
        duplicate=st.none() | st.booleans(), more=st.just({}),
    ),
    versions=st.dictionaries(texts, texts, max_size=3), more=st.just({}),
)  # fmt: skip


@settings(max_examples=50)
@given(provenances)
def test_json_gives_the_same_provenance_again(provenance):
    text = provenance.to_json()

    assert Provenance.from_json(text) == provenance
    assert Provenance.from_dict(provenance.to_dict()) == provenance
    assert Provenance.from_json(text).to_json() == text
    assert pickle.loads(pickle.dumps(provenance)) == provenance
    VALIDATOR.validate(json.loads(text))


def test_the_published_schema_is_that_of_the_code():
    path = resources.files("fiberaug") / "schema" / "provenance.json"
    assert json.loads(path.read_text(encoding="utf-8")) == provenance_schema()
    Draft202012Validator.check_schema(provenance_schema())


def whole():
    parent = Parent(key="a/b", shard="t-0.tar", sha256=HASH, split="train")
    provenance = stated(
        photo(1), dhash=HASH[:16], bytes_sha256=HASH, label_name="cat",
        parents=(parent,), cost=Cost(seconds=0.5, nfe=10), versions={"torch": "2"},
        checks=Checks(clf_conf=0.5, near_copy=False, safety="passed"),
    )  # fmt: skip
    return provenance.to_dict()


WRONG = (  # place, value, what the message says; None: it is taken out
    ("id", None, "id is missing"),
    ("id", 7, "id must be string, got 7"),
    ("id", "", "length of id must be from 1 to 4096, got 0"),
    ("digital_source_type", "digitalCapture", "digital_source_type must be one of"),
    ("pixels_sha256", HASH.upper(), "pixels_sha256 must look like"),
    ("pixels_sha256", HASH + "0", "pixels_sha256 must look like"),
    ("pixels_sha256", HASH + "\n", "pixels_sha256 must look like"),
    ("synthetic", False, "synthetic must be one of True, got False"),
    ("synthetic", 1, "synthetic must be boolean, got 1"),
    ("schema", "2.0", "schema '2.0' is of another FiberAug"),
    ("schema", "1", "schema must look like"),
    ("dhash", "xyz", "dhash must look like"),
    ("label", "cat", "label must be integer or number or array, got 'cat'"),
    ("label", True, "label must be integer or number or array, got True"),
    ("label", [1, "x"], r"label\[1\] must be number, got 'x'"),
    ("label", float("nan"), "label must be integer or number or array, got nan"),
    ("label_origin", "guessed", "label_origin must be one of conditioned, inherited"),
    ("generator", [], r"generator must be object, got \[\]"),
    ("generator.class", None, "generator.class is missing"),
    ("generator.lora", [HASH, "x"], r"generator.lora\[1\] must look like"),
    ("generator.licens", "MIT", "generator.licens is unknown; there are kind, class"),
    ("params.seed", -1, "params.seed must be from 0 to"),
    ("params.seed", 1.5, "params.seed must be integer, got 1.5"),
    ("params.strength", 1.01, "params.strength must be from 0 to 1, got 1.01"),
    ("params.index", -1, "params.index must be at least 0, got -1"),
    ("parents", {}, "parents must be array, got {}"),
    ("parents", [{"key": "a"}, {"shard": "b"}], r"parents\[1\].key is missing"),
    ("cost.seconds", float("inf"), "cost.seconds must be number, got inf"),
    ("checks.clf_conf", 2, "checks.clf_conf must be from 0 to 1, got 2"),
    ("checks.safety", None, None),
    ("checks.safety", "ok", "checks.safety must be one of passed, flagged, not_run"),
    ("versions", {"torch": 2}, "versions.torch must be string, got 2"),
    ("more", {}, "more is unknown"),
)


@pytest.mark.parametrize(("place", "value", "told"), WRONG)
def test_what_is_wrong_is_named(place, value, told):
    values = whole()
    *outer, last = place.split(".")
    inner = values if not outer else values[outer[0]]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    if told is None:
        Provenance.from_dict(values)
        return
    with pytest.raises(UsageError, match=told):
        Provenance.from_dict(values)
    # What a validator lets through: numbers that JSON has not, fields that a newer
    # version may have, and a line feed at the end, for which $ is true in Python.
    if not any(one in told for one in ("nan", "inf", "unknown")) and "\n" not in repr(
        value
    ).replace("\\n", "\n"):
        assert not VALIDATOR.is_valid(values)


def test_what_is_wrong_is_told_when_it_is_made():
    with pytest.raises(UsageError, match=r"params.seed must be integer, got '3'"):
        Parameters(seed="3")
    with pytest.raises(UsageError, match=r"generator must be Generated, got {}"):
        stated(photo(0), generator={})
    with pytest.raises(UsageError, match=r"parents must be a tuple, got \[\]"):
        stated(photo(0), parents=[])
    with pytest.raises(UsageError, match=r"checks.safety must be string, got None"):
        Checks(safety=None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        stated(photo(0)).id = "x"


def test_fields_of_a_newer_version_are_kept():
    values = whole() | {"schema": "1.7", "watermark": {"bits": 3}}
    values["params"]["seed_of_noise"] = 4
    values["parents"][0]["box"] = [1, 2, 3, 4]
    found = Provenance.from_dict(copy.deepcopy(values))

    assert found.to_dict() == values
    assert found.more == {"watermark": {"bits": 3}}
    assert Provenance.from_json(found.to_json()) == found
    with pytest.raises(UsageError, match=r"params.seed_of_noise is unknown"):
        Provenance.from_dict(values | {"schema": "1.0"})


def test_what_is_no_json_object_is_told():
    for text in ("", "[1]", "null", "{", '"x"', "[" * 100_000, b"\xff"):
        with pytest.raises(UsageError):
            Provenance.from_json(text)
    with pytest.raises(UsageError, match="JSON cannot hold the provenance"):
        stated(photo(0), params=Parameters(seed=1, others={"x": {1, 2}})).to_json()


@pytest.mark.parametrize("kind", ["png", "png-alpha", "png-16", "webp-lossless"])
def test_all_is_true_of_the_file_that_was_stated(kind):
    data = mark(made(kind, photo(5)), PROCEDURAL)
    true = stated(photo(5), 5)
    if kind in {"png", "webp-lossless"}:
        assert verify(true, data, label=1) == []
    told = verify(
        dataclasses.replace(true, bytes_sha256=HASH, digital_source_type=COMPOSITE),
        data,
        label=2,
    )
    assert [one.partition(":")[0] for one in told if "pixels" not in one] == [
        "bytes_sha256", "digital_source_type", "parents", "label",
    ]  # fmt: skip


def test_each_untruth_is_told():
    data = mark(made("png", photo(5)), PROCEDURAL)
    true = stated(photo(5), 5)
    changed = photo(5)
    changed[0, 0, 0] ^= 1
    other = mark(made("png", changed), PROCEDURAL)

    assert verify(true, other) == ["pixels_sha256: the image has other pixels"]
    assert verify(true, made("png", photo(5))) == [
        "digital_source_type: the file has no mark, not algorithmicMedia"
    ]
    assert verify(true, mark(data, TRAINED)) == [
        f"digital_source_type: the file is marked {TRAINED}, not {PROCEDURAL}"
    ]
    assert verify(true, data, label=3) == ["label: the sample has 3, not 1"]
    soft = dataclasses.replace(true, label=(0.5, 0.5))
    assert verify(soft, data, label=[0.5, 0.5]) == []
    assert "cannot be decoded" in verify(true, data[:-40])[0]
    assert len(verify(true, b"no image")) == 2


def test_pixels_have_one_hash_whatever_their_layout():
    pixels = photo(2)
    gray = pixels[:, :, 0]

    assert pixels_sha256(gray) == pixels_sha256(gray[:, :, None])
    assert pixels_sha256(np.asfortranarray(pixels)) == pixels_sha256(pixels)
    assert pixels_sha256(pixels.reshape(-1, 40, 3)) != pixels_sha256(pixels)
    assert pixels_sha256(pixels.view(np.int8)) != pixels_sha256(pixels)
