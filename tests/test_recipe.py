"""Laws of recipes: what a person writes, checked before anything is built from it."""

import json
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.errors import StoreError, UsageError
from fiberaug.recipe import (
    MOST_NESTING,
    MOST_OPERATIONS,
    SECTIONS,
    VERSION,
    Recipe,
)

LAW = settings(deadline=None, max_examples=100, report_multiple_bugs=False)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda child: st.lists(child, max_size=3),
    max_leaves=5,
)
NAMES = st.text("ABCabc", min_size=1)
LEAVES = st.dictionaries(
    NAMES,
    st.none() | st.dictionaries(st.sampled_from(["p", "size"]), VALUES),
    min_size=1,
    max_size=1,
)
OPERATIONS = st.recursive(
    LEAVES,
    lambda child: st.dictionaries(
        NAMES,
        st.fixed_dictionaries({"transforms": st.lists(child, max_size=3)}),
        min_size=1,
        max_size=1,
    ),
    max_leaves=6,
)
RECIPES = st.builds(
    Recipe,
    cpu=st.lists(OPERATIONS, max_size=4).map(tuple),
    decode=st.none() | st.dictionaries(NAMES, VALUES, max_size=3),
    normalize=st.none()
    | st.dictionaries(st.sampled_from(["mean", "std", "max_pixel_value"]), VALUES),
)
TEXT = """
version: 1
decode: {color: gray}
cpu:
  - RandomResizedCrop: {size: [224, 224]}
  - OneOf: {p: 0.5, transforms: [{GaussNoise: {p: 1}}, {GaussianBlur: }]}
normalize: {mean: [0.5], std: [0.25]}
"""


# ---- what is kept --------------------------------------------------------------------


@LAW
@given(RECIPES)
def test_a_recipe_survives_its_dict_and_json_and_yaml(recipe):
    data = recipe.to_dict()

    assert Recipe.from_dict(data) == recipe
    assert Recipe.parse(json.dumps(data)) == recipe
    assert Recipe.parse(yaml.safe_dump(data)) == recipe


def test_a_recipe_is_read_from_a_file_a_text_and_a_dict(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(TEXT, encoding="utf-8")
    recipe = Recipe.from_file(path)

    assert recipe == Recipe.from_file(str(path)) == Recipe.parse(TEXT)
    assert recipe == Recipe.from_dict(yaml.safe_load(TEXT))
    assert recipe.version == VERSION
    assert recipe.cpu[1]["OneOf"]["transforms"][1] == {"GaussianBlur": None}
    assert recipe.decode == {"color": "gray"}
    assert list(recipe.to_dict()) == ["version", "decode", "cpu", "normalize"]


def test_the_normalisation_is_the_last_operation():
    with_it = Recipe.parse(TEXT)
    without = Recipe(cpu=with_it.cpu)

    assert with_it.operations == (*with_it.cpu, {"Normalize": with_it.normalize})
    assert without.operations == without.cpu
    assert set(without.to_dict()) == {"version", "cpu"}


def test_its_dict_is_a_copy():
    recipe = Recipe.parse(TEXT)
    copied = recipe.to_dict()
    copied["cpu"][0]["RandomResizedCrop"]["size"] = 9
    copied["decode"]["color"] = "rgb"
    copied["normalize"]["mean"].append(1)

    assert recipe == Recipe.parse(TEXT)


@pytest.mark.parametrize(
    "section", ["cpu:", "cpu: []", "normalize:", "decode:", "gpu: []", ""]
)
def test_an_empty_section_is_none_at_all(section):
    assert Recipe.parse(f"version: 1\n{section}") == Recipe()


def test_a_json_number_is_a_number():
    """YAML 1.1 would take 1e-05 for text."""
    text = json.dumps({"version": 1, "cpu": [{"A": {"p": 0.00001, "x": "\U00010000"}}]})

    assert Recipe.parse(text).cpu == ({"A": {"p": 0.00001, "x": "\U00010000"}},)


def test_an_asterisk_in_text_or_a_comment_is_no_alias():
    recipe = Recipe.parse("version: 1 # 2 * 3\ncpu: [{A: {glob: '*.png'}}]")

    assert recipe.cpu == ({"A": {"glob": "*.png"}},)


# ---- what is refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version: 2", ["version must be 1", "got 2"]),
        ("version: one", ["version must be 1", "got 'one'"]),
        ("cpu: []", ["version must be 1"]),
        ("version: 1\ngpus: []", [str(SECTIONS), "['gpus']"]),
        ("version: 1\n1: 2\nfoo: 3", ["[1, 'foo']"]),
        ("version: 1\nmix: [{Pool: {}}]", ["mix is a mapping", "got list"]),
        ("version: 1\nmix: {ratio: 1}", ["section mix has sources", "['ratio']"]),
        (
            "version: 1\nmix: {sources: pool/, ratio: 1.5}",
            ["ratio must be in [0, 1]", "1.5", "share"],
        ),
        (
            "version: 1\nmix: {sources: pool/, mode: add}",
            ["mode must be one of", "'append'", "'add'"],
        ),
        (
            "version: 1\nmix: {sources: pool/, schedule: {linear: {start: 1}}}",
            ["schedule 'linear'", "missing"],
        ),
        ("version: 1\ncpu: Flip", ["cpu is a list", "got str"]),
        ("version: 1\ncpu: {Flip: {p: 1}}", ["cpu is a list", "got dict"]),
        ("version: 1\ncpu: [Flip]", ["cpu[0] is a mapping with one key", "'Flip'"]),
        ("version: 1\ncpu: [{}]", ["cpu[0] is a mapping with one key", "got {}"]),
        ("version: 1\ncpu: [{A: }, {B: , C: }]", ["cpu[1]", "one key", "'B'", "'C'"]),
        ("version: 1\ncpu: [{A: 3}]", ["cpu[0]", "arguments of 'A'", "got 3"]),
        ("version: 1\ncpu: [{7: {}}]", ["cpu", "keys are text", "7"]),
        ("version: 1\ncpu: [{O: {transforms: }}]", ["cpu[0].O is a list", "NoneType"]),
        (
            "version: 1\ncpu: [{O: {transforms: [{A: {}}, {B: , C: }]}}]",
            ["cpu[0].O[1]", "one key"],
        ),
        ("version: true", ["version must be 1", "got True"]),
        ("version: 1\ncup: []", ["'cup'", "did you mean 'cpu'?"]),
        ("vers: 1", ["'vers'", "did you mean 'version'?"]),
        ("version: 1\ndecode: [gray]", ["decode is a mapping", "got list"]),
        ("version: 1\ndecode: {1: 2}", ["decode: keys are text", "[1]"]),
        ("version: 1\nnormalize: {meam: 0}", ["'meam'", "did you mean 'mean'?"]),
        ("version: 1\ncpu: [{A: {p: .inf}}]", ["cpu: numbers are finite", "inf"]),
        ("version: 1\ncpu: [{A: {p: .nan}}]", ["cpu: numbers are finite", "nan"]),
        ("version: 1\nnormalize: {mean: 0, sd: 1}", ["'std'", "got ['sd']"]),
        ("version: 1\nnormalize: {1: 2, b: 3}", ["got [1, 'b']"]),
        ("version: 1\nnormalize: [mean]", ["normalize is a mapping", "got list"]),
        ("", ["a recipe is a mapping", "got NoneType"]),
        ("[]", ["a recipe is a mapping", "got list"]),
        ("just words", ["a recipe is a mapping", "got str"]),
    ],
)
def test_what_is_no_recipe_is_refused_with_the_value_and_the_rule(text, words):
    with pytest.raises(UsageError) as caught:
        Recipe.parse(text)

    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\ncpu: [",
        "version: 1\n\tcpu: []",
        "version: 1 * 2: [",
        "a: *\n",
        "version: 1\ncpu: 2001-99-99",  # looks like a date
        "version: 1\ncpu: 0b_",  # looks like a binary number
        "cpu: !!python/object/apply:os.system ['true']",
        "? [a]\n: 1",
        "version: 1\ncpu: " + "[" * 3000,
        "\0",
        "a: b: c\nstarred: *",
        '{"version": ' + "[" * 100_000,
    ],
)
def test_text_that_is_no_yaml_is_refused_in_one_line(text):
    with pytest.raises(UsageError, match="is no YAML") as caught:
        Recipe.parse(text)

    assert "\n" not in str(caught.value)


def test_a_bomb_of_aliases_is_refused_before_it_explodes():
    """Ten levels of ten aliases each would be 10 billion values."""
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 11)]
    text = "\n".join(["version: 1", "a0: &a0 [x]", *levels])
    started = time.perf_counter()
    with pytest.raises(UsageError, match="no YAML aliases"):
        Recipe.parse(text)

    assert time.perf_counter() - started < 5


def test_a_recipe_longer_than_a_mebibyte_is_refused_unread():
    with pytest.raises(UsageError, match="at most 1048576 characters, got 1048577"):
        Recipe.parse("[" * (2**20 + 1))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"version": 0}, "got 0"),
        ({"cpu": "Flip"}, "cpu is a list of operations, got str"),
        ({"cpu": ({"A": {}, "B": {}},)}, "one key"),
        ({"normalize": 5}, "normalize is a mapping, got int"),
    ],
)
def test_a_recipe_made_in_code_is_checked_the_same_way(arguments, words):
    with pytest.raises(UsageError) as caught:
        Recipe(**arguments)

    assert words in str(caught.value)


def nested(levels):
    """Return operations that stand ``levels`` deep."""
    operations = [{"HorizontalFlip": {}}]
    for _ in range(levels - 1):
        operations = [{"Sequential": {"transforms": operations}}]
    return operations


def test_operations_nest_as_deep_as_the_limit_and_no_deeper():
    Recipe.from_dict({"version": 1, "cpu": nested(MOST_NESTING)})
    for levels in (MOST_NESTING + 1, 100, 100_000):
        with pytest.raises(UsageError, match="nest at most") as caught:
            Recipe.from_dict({"version": 1, "cpu": nested(levels)})
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("section", SECTIONS)
def test_a_value_of_any_depth_is_refused_without_recursion(section):
    for levels in (1000, 100_000):
        deep: object = 0
        for _ in range(levels):
            deep = [deep]
        with pytest.raises(UsageError):
            Recipe.from_dict({"version": 1, section: {"mean": deep}})
        with pytest.raises(UsageError):
            Recipe.from_dict({"version": deep})
        with pytest.raises(UsageError):
            Recipe.from_dict({"version": 1, "cpu": [{"A": deep}]})


def test_operations_are_counted_in_all():
    one = {"HorizontalFlip": {}}
    many = [*[one] * 55, {"OneOf": {"transforms": [one] * (MOST_OPERATIONS - 56)}}]
    Recipe(cpu=tuple(many))
    with pytest.raises(UsageError, match="at most 256 operations in all, got 257"):
        Recipe(cpu=(*many, one))


def test_a_value_that_holds_itself_or_grows_by_sharing_is_refused():
    loop: list[object] = []
    loop += [loop, loop]
    shared: object = 0
    for _ in range(40):
        shared = [shared] * 2
    for value in (loop, shared):
        with pytest.raises(UsageError, match=r"nest at most|holds at most"):
            Recipe.from_dict({"version": 1, "decode": {"color": value}})


def test_a_number_that_no_float_reaches_is_refused():
    for number in (10**400, -(10**400), 10**5000):
        with pytest.raises(UsageError, match="numbers are finite"):
            Recipe.from_dict({"version": 1, "cpu": [{"A": {"p": number}}]})
    assert Recipe(cpu=({"A": {"p": 10**300}},)).cpu[0]["A"]["p"] == 10**300


def test_an_operation_of_ones_own_may_have_any_argument():
    """``transforms`` is a list of operations in Albumentations' compositions only."""
    cpu = ({"mine.Chain": {"transforms": "abc"}},)

    assert Recipe(cpu=cpu).cpu == cpu


def test_a_message_is_short_however_long_the_value():
    name = "x" * 500_000
    for data in ({name: 1}, {"version": name}, {"version": 1, "normalize": {name: 1}}):
        with pytest.raises(UsageError) as caught:
            Recipe.from_dict(data)
        assert len(str(caught.value)) < 1000


def test_a_dict_that_is_none_is_refused():
    with pytest.raises(UsageError, match="a recipe is a mapping, got list"):
        Recipe.from_dict([("version", 1)])


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    binary = tmp_path / "photo.jpg"
    binary.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(StoreError, match=r"absent\.yaml: No such file"):
        Recipe.from_file(tmp_path / "absent.yaml")
    with pytest.raises(StoreError, match="directory"):
        Recipe.from_file(tmp_path)
    with pytest.raises(UsageError, match=r"photo\.jpg is no UTF-8 text"):
        Recipe.from_file(binary)


def test_a_value_that_json_does_not_have_is_refused():
    """YAML has dates; an operation has not."""
    with pytest.raises(UsageError, match="numbers, text, lists"):
        Recipe.parse("version: 1\ncpu: [{Flip: {p: 2024-01-02}}]")
