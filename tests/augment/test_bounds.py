"""Laws of bounds: a stranger's recipe is built in no time, or refused by name."""

import time
import typing
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.augment.bounds import (
    BOUNDS,
    LARGEST_PX,
    MOST_ITEMS,
    MOST_TEXT,
    NUMBER,
    _side,
    bound_of,
    check_growth,
)
from fiberaug.augment.build import (
    arguments_of,
    build_operations,
    known_operations,
)
from fiberaug.errors import UsageError

LAW = settings(deadline=None, max_examples=300, report_multiple_bugs=False)
OPERATIONS = sorted(known_operations())
YES = st.just(value=True)
NUMBERS = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, 1, 2, 3, 0.5, -1, 5, 255, 8192, 10**9, 10**200, -(2**63)])
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=9) | st.just("1e9"),
    lambda child: (
        st.lists(child, max_size=4)
        | st.dictionaries(st.sampled_from(["x", "y", "ranges", ""]), child, max_size=2)
    ),
    max_leaves=6,
)
PAIRS = st.tuples(NUMBERS, NUMBERS).map(list)


@st.composite
def operations(draw, level=1):
    name = draw(st.sampled_from(OPERATIONS))
    known = list(arguments_of(name))
    needed = [a for a in known if draw(st.booleans())]
    arguments = {a: draw(NUMBERS | PAIRS | JSON) for a in needed}
    if "transforms" in known:
        deeper = st.just({"Blur": {}}) if level > 3 else operations(level + 1)
        arguments["transforms"] = draw(st.lists(deeper, max_size=3))
    if draw(st.integers(0, 9)) == 0:
        arguments[draw(st.text(max_size=9))] = draw(JSON)
    return {name: arguments}


# ---- any recipe ----------------------------------------------------------------------


@LAW
@given(st.lists(operations(), min_size=1, max_size=3))
def test_any_recipe_is_built_at_once_or_refused_in_one_line(recipe):
    started = time.perf_counter()
    try:
        built = build_operations(recipe)
    except UsageError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert len(str(error)) < 1000  # noqa: PT017
    else:
        assert len(built) == len(recipe)
    assert time.perf_counter() - started < 2


# ---- numbers, lists and text ---------------------------------------------------------


def has_numbers(annotation):
    if annotation in (int, float):
        return True
    if typing.get_origin(annotation) is typing.Literal:
        return False
    return any(map(has_numbers, typing.get_args(annotation)))


NUMERIC = [
    (name, argument)
    for name in OPERATIONS
    for argument, (annotation, *_) in arguments_of(name).items()
    if has_numbers(annotation)
]


@pytest.mark.parametrize(("name", "argument"), NUMERIC)
def test_every_number_of_every_operation_is_bounded(name, argument):
    low, high = bound_of(name, argument)
    inside = {"transforms": [{"Blur": {}}]} if has_children(name) else {}
    for number in (low - 0.5, high + 0.5, -(10**300), 1e300):
        for value in (number, [1, number], [[1, 1], [number, 1]], {"x": [number]}):
            with pytest.raises(UsageError) as caught:
                build_operations([{name: {**inside, argument: value}}])
            assert f"{name}: {argument} must be from {low:g} to {high:g}, got " in str(
                caught.value
            )


def has_children(name):
    return "transforms" in arguments_of(name)


def test_every_bound_belongs_to_an_argument_and_holds_its_default():
    used = set()
    for name, argument in NUMERIC:
        used |= {argument, f"{name}.{argument}"}
        default = arguments_of(name)[argument].default
        low, high = bound_of(name, argument)
        for number in np.ravel(default) if isinstance(default, tuple) else [default]:
            if isinstance(number, int | float) and not isinstance(number, bool):
                assert low <= number <= high, (name, argument)

    assert set(BOUNDS) <= used
    assert all(low < high for low, high in [*BOUNDS.values(), NUMBER])


def test_a_bound_of_one_operation_comes_before_that_of_all():
    assert bound_of("SmallestMaxSize", "max_size").high == 4096
    assert bound_of("LongestMaxSize", "max_size").high == LARGEST_PX
    assert bound_of("RandomSnow", "brightness_coeff") == NUMBER


def test_lists_and_text_are_bounded():
    labels = {"mask_indices": None, "bbox_labels": ["x" * MOST_TEXT] * MOST_ITEMS}
    build_operations([{"ConstrainedCoarseDropout": labels}])
    for wrong in (["x"] * (MOST_ITEMS + 1), ["x" * (MOST_TEXT + 1)]):
        with pytest.raises(UsageError, match=r"bbox_labels has .* 1024 .* 1025"):
            build_operations([{"ConstrainedCoarseDropout": {"bbox_labels": wrong}}])
    with pytest.raises(UsageError, match="noise_params has at most 1024 characters"):
        build_operations([{"AdditiveNoise": {"noise_params": {"x" * 1025: 1}}}])


# ---- how far an image grows ----------------------------------------------------------

LEAVES = st.one_of(
    st.builds(A.RandomScale, st.tuples(st.just(0), st.floats(0, 1)), p=st.just(1)),
    st.builds(
        A.Affine,
        scale=st.tuples(st.just(1), st.floats(1, 1.5)),
        rotate=st.integers(-180, 180),
        shear=st.tuples(st.just(0), st.integers(0, 40)),
        fit_output=st.booleans(),
        p=st.just(1),
    ),
    st.builds(A.Pad, st.integers(0, 40) | st.tuples(*[st.integers(0, 40)] * 4)),
    st.builds(A.PadIfNeeded, st.integers(1, 99), st.integers(1, 99)),
    st.builds(
        A.PadIfNeeded,
        st.none(),
        st.none(),
        pad_height_divisor=st.integers(1, 50),
        pad_width_divisor=st.integers(1, 50),
    ),
    st.builds(A.CropAndPad, px=st.integers(-3, 40), keep_size=st.booleans()),
    st.builds(A.CropAndPad, percent=st.floats(0, 0.5), keep_size=st.booleans()),
    st.builds(A.Resize, st.integers(9, 99), st.integers(9, 99), p=st.just(1)),
    st.builds(A.LongestMaxSize, st.integers(9, 99)),
    st.builds(A.RandomCrop, st.just(8), st.integers(4, 99), pad_if_needed=YES),
    st.builds(A.SafeRotate, p=st.just(1)),
    st.builds(A.Perspective, st.floats(0, 2), keep_size=st.booleans(), p=st.just(1)),
)
TREES = st.recursive(
    LEAVES,
    lambda child: st.one_of(
        st.builds(A.OneOf, st.lists(child, min_size=1, max_size=3), p=st.just(1)),
        st.builds(A.Sequential, st.lists(child, min_size=1, max_size=3), p=st.just(1)),
        st.builds(
            A.SomeOf,
            st.lists(child, min_size=1, max_size=3),
            n=st.integers(1, 3),
            replace=YES,
        ),
        st.builds(
            A.RandomOrder,
            st.lists(child, min_size=3, max_size=3),
            n=st.integers(1, 3),
            replace=st.booleans(),
        ),
    ),
    max_leaves=4,
)


@LAW
@given(TREES, st.integers(0, 2**32 - 1))
def test_no_image_grows_longer_than_was_foreseen(tree, seed):
    try:
        longest = _side(tree, 64.0, "cpu[0]")
    except UsageError:
        return
    pipeline = A.Compose([tree])
    pipeline.set_random_seed(seed)
    out = pipeline(image=np.zeros((64, 64, 3), np.uint8))["image"]

    assert max(out.shape) <= longest + 2  # rounding, twice


def scaled(times, **arguments):
    return [{"RandomScale": {"scale_limit": 1, **arguments}}] * times


def drawn(n, inner):
    return {"SomeOf": {"transforms": inner, "n": n, "replace": True}}


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (scaled(3), r"cpu\[2\].RandomScale can make .* 16384 px long; at most 8192"),
        (scaled(3, p=0.1), r"cpu\[2\].RandomScale"),
        ([{"Resize": {"height": 8, "width": 8, "p": 0.9}}, *scaled(3)], r"cpu\[3\]"),
        ([drawn(3, scaled(1))], r"cpu\[0\].SomeOf\[0\].RandomScale"),
        ([{"RandomOrder": {"transforms": scaled(3), "n": 3}}], "RandomOrder"),
        ([{"Sequential": {"transforms": scaled(3)}}], r"Sequential\[2\]"),
        ([{"Pad": {"padding": 3000}}, {"Pad": {"padding": 100}}], r"cpu\[1\].Pad"),
        ([*scaled(2), {"Affine": {"fit_output": True}}], "11585 px"),
        ([{"Affine": {"fit_output": True, "shear": 80}}], "Affine"),
        ([{"CropAndPad": {"px": 4000}}], "CropAndPad"),
        ([*scaled(2), {"CropAndPad": {"percent": 0.1}}], "CropAndPad"),
        (
            [{"Resize": {"height": 8192, "width": 1}}, *scaled(1)],
            r"cpu\[1\].RandomScale",
        ),
        ([drawn(16, [drawn(17, [{"Blur": {}}])])], "at most 256 operations run.* 272"),
        ([drawn(129, [{"Sequential": {"transforms": [{"Blur": {}}] * 2}}])], "258"),
        ([drawn(128, [{"Blur": {}}])] * 3, "got 384"),
    ],
)
def test_a_recipe_whose_images_grow_without_end_is_refused(recipe, words):
    with pytest.raises(UsageError, match=words):
        build_operations(recipe)


@pytest.mark.parametrize(
    "recipe",
    [
        scaled(2),
        [{"OneOf": {"transforms": scaled(3)}}],
        [*scaled(2), {"Resize": {"height": 224, "width": 224}}, *scaled(2)],
        [drawn(16, [drawn(16, [{"Blur": {}}])])],
        [{"Affine": {"scale": 10, "shear": 80}}],
        [{"Resize": {"height": LARGEST_PX, "width": LARGEST_PX}}],
    ],
)
def test_a_recipe_whose_images_stay_bounded_is_built(recipe):
    assert len(build_operations(recipe)) == len(recipe)


def test_a_nest_of_draws_is_refused_in_no_time():
    recipe = [{"Blur": {}}]
    for _ in range(15):
        recipe = [drawn(256, recipe * 2)]
        started = time.perf_counter()
    with pytest.raises(UsageError, match="at most 256 operations"):
        build_operations(recipe)

    assert time.perf_counter() - started < 2


def test_what_is_none_of_albumentations_neither_grows_nor_counts_twice():
    check_growth([None] * 256)
    with pytest.raises(UsageError, match="at most 256 operations run"):
        check_growth([None] * 257)


# ---- what a bound is for -------------------------------------------------------------

NEEDED = {
    "AtLeastOneBBoxRandomCrop": {"height": 9, "width": 9},
    "CenterCrop": {"height": 9, "width": 9},
    "CropNonEmptyMaskIfExists": {"height": 9, "width": 9},
    "GridElasticDeform": {"num_grid_xy": [4, 4], "magnitude": 9},
    "RandomCrop": {"height": 9, "width": 9},
    "RandomResizedCrop": {"size": [9, 9]},
    "RandomSizedBBoxSafeCrop": {"height": 9, "width": 9},
    "RandomSizedCrop": {"size": [9, 9], "min_max_height": [9, 9]},
    "Resize": {"height": 9, "width": 9},
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "argument"), NUMERIC)
def test_an_operation_at_its_bound_takes_seconds_and_stays_small(name, argument):
    """Generous: the table was made for 2 s on one core that does nothing else."""
    image = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    mask = image[::64, ::64, 0].repeat(64, 0).repeat(64, 1)
    for end in bound_of(name, argument):
        for value in (end, int(end), [end, end], [int(end), int(end)]):
            given = {**NEEDED.get(name, {}), "p": 1, argument: value}
            started = time.perf_counter()
            try:
                (built,) = build_operations([{name: given}])
                out = A.Compose([built])(image=image, mask=mask)["image"]
            except Exception:  # noqa: BLE001, S112  # e.g. a crop larger than the image
                continue
            assert max(out.shape) <= LARGEST_PX
            assert time.perf_counter() - started < 10


def test_the_documentation_lists_every_bound():
    page = Path(__file__).parents[2] / "docs" / "recipes.md"
    rows = [
        f"| `{name}` | {low:g} | {high:g} |"
        for name, (low, high) in [*BOUNDS.items(), ("any other number", NUMBER)]
    ]
    rows[-1] = rows[-1].replace("`", "")
    lines = page.read_text(encoding="utf-8").splitlines()

    assert [line for line in lines if line.startswith("| ")][-len(rows) :] == rows
