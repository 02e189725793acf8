"""The schema says what recipes can say: what builds is valid, what is invalid fails."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import fiberaug
from fiberaug import publishing as module
from fiberaug.augment.build import arguments_of, build_operations, known_operations
from fiberaug.decode.options import COLORS, DEPTHS, SCALES
from fiberaug.publishing import published_schema
from fiberaug.recipe import Recipe

LAW = settings(deadline=None, max_examples=500, report_multiple_bugs=False)
ROOT = Path(__file__).parents[2]
PACKAGE = Path(fiberaug.__file__).parent
SCHEMA = published_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
OPERATIONS = sorted(known_operations())
SIZED = {"height": 8, "width": 8}
REQUIRED = {
    "AtLeastOneBBoxRandomCrop": SIZED,
    "CenterCrop": SIZED,
    "CropAndPad": {"px": 1},
    "CropNonEmptyMaskIfExists": SIZED,
    "GridElasticDeform": {"num_grid_xy": [2, 2], "magnitude": 1},
    "LongestMaxSize": {"max_size": 8},
    "RandomCrop": SIZED,
    "RandomResizedCrop": {"size": [8, 8]},
    "RandomSizedBBoxSafeCrop": SIZED,
    "RandomSizedCrop": {"min_max_height": [4, 8], "size": [8, 8]},
    "Resize": SIZED,
    "SmallestMaxSize": {"max_size": 8},
}


def recipe(*operations):
    return {"version": 1, "cpu": list(operations)}


def least(name):
    """Return an operation with the arguments that it needs."""
    if "transforms" in arguments_of(name):
        return {name: {"transforms": [{"Blur": {}}, {"HorizontalFlip": None}]}}
    return {name: REQUIRED.get(name)}


def given_defaults(name):
    """Return an operation with all its defaults written out."""
    ((_, arguments),) = least(name).items()
    defaults = {
        argument: stated["default"]
        for argument, stated in SCHEMA["$defs"][name]["properties"].items()
        if "default" in stated
    }
    return {name: {**defaults, **(arguments or {})}}


def builds(data):
    try:
        build_operations(Recipe.from_dict(data).operations)
    except fiberaug.UsageError:
        return False
    return True


# ---- the file ------------------------------------------------------------------------


def test_the_file_in_the_package_is_the_schema():
    text = (PACKAGE / "schema" / "recipe.json").read_text(encoding="utf-8")

    assert json.loads(text) == SCHEMA, "run python -m fiberaug.publishing"
    assert SCHEMA["$id"] == "urn:fiberaug:recipe:1"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_decode_takes_what_the_decoder_takes():
    known = SCHEMA["properties"]["decode"]["properties"]

    assert {name: tuple(part["enum"]) for name, part in known.items()} == {
        "color": COLORS,
        "depth": DEPTHS,
        "scale": SCALES,
    }


def test_the_command_writes_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_FOLDER", tmp_path / "schema")
    module._write("recipe", module.published_schema())

    written = (tmp_path / "schema/recipe.json").read_bytes()
    assert written == (PACKAGE / "schema/recipe.json").read_bytes()
    assert [path.name for path in (tmp_path / "schema").iterdir()] == ["recipe.json"]


# ---- one by one ----------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_with_its_least_and_with_all_its_arguments_is_valid(name):
    for operation in (least(name), given_defaults(name)):
        assert builds(recipe(operation)), operation
        VALIDATOR.validate(recipe(operation))
        VALIDATOR.validate(recipe({"OneOf": {"transforms": [operation]}}))


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_misspelt_argument_is_refused_by_schema_and_build(name):
    ((_, arguments),) = least(name).items()
    wrong = recipe({name: {**(arguments or {}), "prob": 0.5}})

    assert not VALIDATOR.is_valid(wrong)
    assert not builds(wrong)


@pytest.mark.parametrize(
    ("data", "valid"),
    [
        ({"version": 1}, True),
        ({"version": 2}, False),
        ({}, False),
        ({"version": 1, "cpu": None, "gpu": [], "mix": {}, "normalize": None}, True),
        ({"version": 1, "cup": []}, False),
        ({"version": 1, "decode": {"color": "gray", "depth": "keep"}}, True),
        ({"version": 1, "decode": {"colour": "gray"}}, False),
        ({"version": 1, "normalize": {"mean": [0.5], "std": 0.25}}, True),
        ({"version": 1, "normalize": {"meam": 0.5}}, False),
        (recipe({"my.own.Blur": {"k": [1, {"a": "b"}]}}), True),
        (recipe({"my.own.Blur": None}), True),
        (recipe({"my.own.": None}), False),
        (recipe({"OneOf": {"transforms": [{"my.own.Blur": {}}]}}), False),
        (recipe({"OneOf": {"transforms": []}}), False),
        (recipe({"OneOf": {}}), False),
        (recipe({"OneOf": {"transforms": [{"OneOf": {"transforms": [1]}}]}}), False),
        (recipe({"HorizontalFlip": {"p": 1.5}}), False),
        (recipe({"Resize": {"height": 9000, "width": 1}}), False),
        (recipe({"Resize": {"height": "9", "width": 1}}), False),
        (recipe({"Perspective": {"fit_output": True}}), False),
        (recipe({"Lambda": {}}), False),
        (recipe({"Blur": {}, "Pad": {}}), False),
        (recipe(*[{"Blur": {}}] * 257), False),
    ],
)
def test_the_schema_knows_the_sections(data, valid):
    assert VALIDATOR.is_valid(data) is valid


# ---- any recipe ----------------------------------------------------------------------


def values(part):  # noqa: PLR0911  # a strategy for each kind
    """Return a strategy of values near what a part of the schema allows."""
    if "const" in part or "enum" in part:
        return st.sampled_from(part.get("enum", [part.get("const")]))
    if "anyOf" in part:
        return st.one_of(map(values, part["anyOf"]))
    if "prefixItems" in part:
        return st.tuples(*map(values, part["prefixItems"])).map(list) | ordered(part)
    match part.get("type"):
        case "number" | "integer":
            low, high = part["minimum"], part["maximum"]
            some = [0, 0.1, 0.5, 1, 2, 3, 7, 100, low, high, high + 1, True, "1", None]
            return st.sampled_from(some) | st.floats(low, high)
        case "boolean":
            return st.sampled_from([True, False, 0, 1, "true"])
        case "array":
            return st.lists(values(part.get("items", {})), max_size=4)
        case "object":
            inner = part["additionalProperties"]
            keys = st.sampled_from(["x", "y", "ranges"])
            of = values({} if inner is True else inner)
            return st.dictionaries(keys, of, max_size=2)
    return st.none() | st.sampled_from([1, 0.5, "x", "1", [0, 1], [[0, 0.5]], {}])


def ordered(part):
    return st.tuples(*map(values, part["prefixItems"])).map(
        lambda items: sorted(
            items, key=lambda item: item if isinstance(item, int | float) else 0
        )
    )


@st.composite
def operations(draw):
    name = draw(st.sampled_from(OPERATIONS))
    ((_, arguments),) = least(name).items()
    properties = SCHEMA["$defs"][name]["properties"]
    chosen = draw(st.lists(st.sampled_from(sorted(properties)), max_size=3))
    more = {a: draw(values(properties[a])) for a in chosen if a != "transforms"}
    return {name: {**(arguments or {}), **more}}


@LAW
@given(operations())
def test_what_builds_is_valid_and_what_is_invalid_does_not_build(operation):
    data = recipe(operation)

    assert VALIDATOR.is_valid(data) or not builds(data)


# ---- the documentation ---------------------------------------------------------------

PAGES = [ROOT / "docs" / "recipes.md", ROOT / "README.md"]


def recipes_of(page):
    blocks = re.findall(
        r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL
    )
    return [block for block in blocks if "version: 1" in block]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_the_recipes_of_the_documentation_are_valid_and_build(page):
    for text in recipes_of(page):
        VALIDATOR.validate(yaml.safe_load(text))
        own = {"mypackage.VignetteFilter": dict}
        assert build_operations(Recipe.parse(text).operations, own)


def test_the_page_shows_a_recipe():
    assert len(recipes_of(PAGES[0])) >= 2
