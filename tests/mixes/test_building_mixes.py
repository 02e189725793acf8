"""Mixes from recipes: strict about names, types and ranges, and stated by a schema."""

import json
import re

import jsonschema
import pytest

from fiberaug.errors import UsageError
from fiberaug.mixes.blending import CutMix, MixUp
from fiberaug.mixes.building import MIXES, build_mixes, mix_schemas
from fiberaug.mixes.copy_paste import CopyPaste
from fiberaug.mixes.mosaic import Mosaic

SECTION = [
    {"Mosaic": {"p": 0.5, "size": [64, 96], "center_range": [0.3, 0.7], "fill": 0}},
    {"CopyPaste": {"objects": [2, 4], "feather": 1.5, "position": "same"}},
    {"CutMix": {"alpha": 0.5, "num_classes": 10, "smoothing": 0.1}},
]


def test_a_section_builds_what_it_says():
    mosaic = Mosaic(p=0.5, size=(64, 96), center_range=(0.3, 0.7), fill=0.0)
    objects = CopyPaste(objects=(2, 4), feather=1.5, position="same")
    cut = CutMix(alpha=0.5, num_classes=10, smoothing=0.1)

    assert build_mixes(SECTION) == (mosaic, objects, cut)
    assert build_mixes([mosaic, SECTION[1], cut]) == (mosaic, objects, cut)
    assert build_mixes([{"MixUp": None}]) == (MixUp(),)
    assert build_mixes([]) == ()


@pytest.mark.parametrize("name", MIXES)
def test_a_spec_is_json_that_builds_the_same_mix_again(name):
    mix = MIXES[name]()
    spec = json.loads(json.dumps(mix.spec()))

    assert list(spec) == [mix.name] == [name]
    assert build_mixes([spec]) == (mix,)
    assert build_mixes([SECTION[0]])[0].spec() == {
        "Mosaic": {**Mosaic().spec()["Mosaic"], **SECTION[0]["Mosaic"]}
    }


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"MixUp": {}}, "is a list of mixes, got dict"),
        ("MixUp", "is a list of mixes, got str"),
        ([{"MixUp": {}}] * 17, "at most 16 mixes, got 17"),
        (["MixUp"], r"batch[0] is a mapping with one key"),
        ([{"MixUp": {}, "CutMix": {}}], "batch[0] is a mapping with one key"),
        ([{"Mixup": {}}], "batch[0]: no mix 'Mixup'"),
        ([{"Mosiac": {}}], "did you mean 'Mosaic'?"),
        ([{3: {}}], "no mix 3"),
        ([{"MixUp": [0.2]}], "arguments of MixUp are a mapping, got [0.2]"),
        ([{"MixUp": {"alhpa": 1}}], "no argument 'alhpa'; did you mean 'alpha'?"),
        ([{"MixUp": {3: 1}}], "no argument 3; it takes p, num_classes"),
        ([{"MixUp": {"alpha": 0}}], "batch[0]: MixUp: alpha must be a number in [0.01"),
        ([{"Mosaic": None}, {"MixUp": {"p": 2}}], "batch[1]: MixUp: p must be"),
        ([{"MixUp": {}}, {"CutMix": {}}], "CutMix behind it; MixUpOrCutMix chooses"),
        ([{"MixUp": {}}, {"Mosaic": {}}], "Mosaic behind it; write Mosaic first"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(section, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        build_mixes(section)


BAD = [
    ("MixUp", "p", [-0.1, 1.1, "0.5", True, None, float("nan"), [0.5], 10**400]),
    ("MixUp", "num_classes", [0, 2.5, True, -3, "10"]),
    ("CutMix", "smoothing", [-1, 2]),
    ("MixUpOrCutMix", "switch_prob", [1.5]),
    ("MixUpOrCutMix", "cutmix_alpha", [0.0, 101, None]),
    ("Mosaic", "size", [64, [64], [64, 64, 3], [0, 64], [64, 8193], "64", [6.5, 64]]),
    ("Mosaic", "center_range", [[0.1, 1.5], [0.5, "1"], 0.5, None, {"a": 1}]),
    ("Mosaic", "fit", ["cover", None, 1, ["canvas"]]),
    ("Mosaic", "scale", [[0, 1], [1, 5]]),
    ("Mosaic", "fill", [256, -1]),
    ("Mosaic", "fill_mask", [0.5, 2**16]),
    ("CopyPaste", "objects", [[0, 2], [1, 33], [1.0, 2.5], 3]),
    ("CopyPaste", "position", ["here"]),
    ("CopyPaste", "feather", [-1, 65]),
]


@pytest.mark.parametrize(("name", "argument", "values"), BAD)
def test_a_value_that_is_refused_is_refused_by_the_schema_too(name, argument, values):
    schema = mix_schemas()[name]
    for value in values:
        with pytest.raises(UsageError, match=f"{name}: {argument} must be .*, got "):
            MIXES[name](**{argument: value})
        if value == value and value != 10**400:  # noqa: PLR0124  # JSON has no nan
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate({argument: value}, schema)


@pytest.mark.parametrize(
    ("name", "argument"),
    [("Mosaic", "center_range"), ("Mosaic", "scale"), ("CopyPaste", "scale")],
)
def test_a_range_rises(name, argument):
    with pytest.raises(UsageError, match="the first not above the second"):
        MIXES[name](**{argument: (0.9, 0.8)})


@pytest.mark.parametrize("name", MIXES)
def test_every_spec_and_every_default_fulfils_the_schema(name):
    schema = mix_schemas()[name]

    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(MIXES[name]().spec()[name], schema)
    assert {n: p["default"] for n, p in schema["properties"].items()} == MIXES[
        name
    ]().spec()[name]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"alhpa": 1}, schema)
    assert len(schema["description"]) > 20
