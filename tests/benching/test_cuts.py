"""Laws of cuts: the order stays, and what cannot move does not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug import presets
from fiberaug.benching.cuts import (
    cut_at,
    cuts_of,
    present_cut,
    said,
    steps_of,
    to_yaml,
)
from fiberaug.recipe import Recipe

BOTH = [
    {"HorizontalFlip": {"p": 0.5}},
    {"ToGray": {"p": 0.2}},
    {"InvertImg": {"p": 0.1}},
    {"Solarize": {"threshold_range": [0.2, 0.4], "p": 0.3}},
    {"RandAugment": {"magnitude": 5, "p": 1.0}},
]
WORKER = [{"CLAHE": {"p": 0.1}}, {"OneOf": {"transforms": [{"Blur": None}]}}]
MOVED = [
    {"RandomVerticalFlip": {"p": 0.5}},
    {"RandomGamma": {"gamma": [0.8, 1.2], "p": 1.0}},
]
BATCH = [{"RandomElasticTransform": {"p": 0.1}}]
ENDS = [(), ({"Normalize": {"p": 1.0}},), ({"Normalize": None}, {"ToTensorV2": None})]
MIXES = [(), ({"MixUp": {"alpha": 0.2}},)]


@st.composite
def recipes(draw):
    some = lambda pool: st.lists(st.sampled_from(pool), max_size=4)  # noqa: E731
    ends = draw(st.sampled_from(ENDS))
    mean = {"mean": [0.5], "std": [0.5]}
    return Recipe(
        cpu=(*draw(some([*BOTH, *WORKER])), *ends),
        gpu=tuple(draw(some([*MOVED, *BATCH]))),
        batch=draw(st.sampled_from(MIXES)),
        normalize=draw(st.sampled_from([None, mean])) if not ends else None,
        decode=draw(st.sampled_from([None, {"scale": "fast"}])),
    )


def names(steps):
    return [
        {next(iter(side)) for side in step[:2] if side is not None} for step in steps
    ]


def operations(recipe):
    return [next(iter(op)) for op in (*recipe.cpu[: present_cut(recipe)], *recipe.gpu)]


@settings(max_examples=60, deadline=None)
@given(recipes())
def test_every_cut_keeps_the_order_and_all_else(recipe):
    steps = steps_of(recipe)
    cuts = cuts_of(recipe, steps)

    assert present_cut(recipe) in cuts
    for cut in cuts:
        made = cut_at(recipe, steps, cut)
        found = operations(made)
        assert len(found) == len(steps)
        for name, known in zip(found, names(steps), strict=True):
            assert name in known
        assert len(made.gpu) == len(steps) - cut
        ends = recipe.cpu[present_cut(recipe) :]
        assert made.cpu[len(made.cpu) - len(ends) :] == ends
        for section in ("batch", "normalize", "decode"):
            assert getattr(made, section) == getattr(recipe, section)
        assert Recipe.parse(to_yaml(made)) == made
    assert cut_at(recipe, steps, present_cut(recipe)) is recipe


@settings(max_examples=60, deadline=None)
@given(recipes())
def test_what_has_no_twin_stays_on_its_side(recipe):
    steps = steps_of(recipe)
    for cut in cuts_of(recipe, steps):
        made = cut_at(recipe, steps, cut)
        assert [op for op in made.cpu if op in WORKER] == [
            op for op in recipe.cpu if op in WORKER
        ]
        assert [op for op in made.gpu if op in BATCH] == [
            op for op in recipe.gpu if op in BATCH
        ]


@settings(max_examples=30, deadline=None)
@given(recipes(), st.data())
def test_a_recipe_that_was_cut_can_be_cut_in_the_same_places(recipe, data):
    steps = steps_of(recipe)
    cuts = cuts_of(recipe, steps)
    cut = data.draw(st.sampled_from(cuts))
    made = cut_at(recipe, steps, cut)

    assert present_cut(made) == cut
    assert cuts_of(made, steps_of(made)) == cuts


def test_a_normalize_that_cannot_be_last_holds_all_before_it():
    scaled = {"Normalize": {"normalization": "min_max"}}
    for end in (scaled, {"Normalize": {"p": 0.5}}):
        recipe = Recipe(cpu=(BOTH[0], BOTH[1], end))
        assert cuts_of(recipe, steps_of(recipe)) == [3]


def test_samples_that_are_composed_stand_between_the_two_sides():
    recipe = Recipe(cpu=tuple(BOTH), batch=({"Mosaic": {"size": [64, 64]}},))
    assert cuts_of(recipe, steps_of(recipe)) == [len(BOTH)]


@pytest.mark.parametrize("name", presets.names())
def test_presets_are_cut_where_a_step_has_no_twin(name):
    recipe = presets.preset(name)
    steps = steps_of(recipe)
    last = max((i for i, step in enumerate(steps) if step.batch is None), default=-1)

    assert cuts_of(recipe, steps) == list(range(last + 1, len(steps) + 1))


def test_cuts_are_said_in_words():
    steps = steps_of(Recipe(cpu=(BOTH[0], BOTH[1])))
    assert [said(steps, cut) for cut in range(3)] == [
        "all on batches", "batches from ToGray on", "all in workers",
    ]  # fmt: skip
