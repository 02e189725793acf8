"""A training that goes wrong is seen, told in one sentence, and sent back or ended."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from watched import ROWS, Photographs, go, view_of

from fiberaug.training.guards import Guard
from fiberaug.training.symptoms import runaway, variety_of

GOOD = {"loss_critic": 0.6, "loss_generator": 0.9, "gap": 0.4, "right": 0.7}


def guarded(view, until, figures=None, guard=None, *, looks=5):
    if guard is None:
        guard = Guard(every=ROWS * looks)
        guard.begin(view)
    return guard, go(view, [guard], until, figures=figures)


@given(
    name=st.sampled_from(sorted(GOOD)),
    value=st.sampled_from([math.nan, math.inf, -math.inf, 1e9, -1e30]),
)
def test_any_figure_that_is_no_number_sends_it_back(name, value):
    assert name in runaway({**GOOD, name: value})
    assert not runaway(GOOD)


def test_a_figure_of_another_watcher_sends_nothing_back(tmp_path):
    _, said = guarded(
        view_of(tmp_path / "a"), 3, lambda step: {**GOOD, "judge/kid": math.nan}
    )
    assert said == []


def test_a_loss_that_is_nan_names_itself_at_once(tmp_path):
    _, said = guarded(
        view_of(tmp_path / "a"),
        4,
        lambda step: {**GOOD, "loss_critic": math.nan if step == 3 else 0.5},
    )
    assert [(step, one.rewind) for step, one in said] == [(3, "loss_critic is nan")]


def test_a_weight_that_is_not_finite_is_seen_within_sixteen_steps(tmp_path):
    view = view_of(tmp_path / "a", steps=40)
    with torch.no_grad():
        view.task.module.weight[0, 1] = math.inf
    _, said = guarded(view, 16, lambda step: GOOD)
    assert [one.rewind for _, one in said] == ["a weight is not finite"]


def won(step):
    """Figures of a critic that wins from step 500 on, with an ever larger lead."""
    return {**GOOD, "right": 1.0, "gap": step / 50} if step > 500 else GOOD


def test_a_critic_that_won_is_noted_first_and_ends_it_later(tmp_path):
    view = view_of(tmp_path / "a", steps=20_000)
    _, said = guarded(view, 20_000, won, looks=5_000)
    steps = [step for step, _ in said]

    assert len(view.notes) == 1
    assert "gamma" in view.notes[0]
    assert "critic_lr" in said[0][1].stop
    assert 500 + 0.15 * 20_000 < steps[0] < 500 + 0.5 * 20_000


@pytest.mark.parametrize(
    "figures",
    [
        lambda step: {**GOOD, "right": 1.0, "gap": 8.0},  # as of a Wasserstein critic
        lambda step: {**GOOD, "right": 0.9, "gap": step / 50},
        lambda step: won(step) if step % 3_000 > 1_000 else GOOD,
        lambda step: {"loss": 0.5},
    ],
    ids=["steady lead", "not sure", "not for long", "no critic"],
)
def test_a_critic_that_is_ahead_is_left_alone(tmp_path, figures):
    view = view_of(tmp_path / "a", steps=20_000)
    _, said = guarded(view, 10_000, figures, looks=5_000)
    assert said == []
    assert view.notes == []


@pytest.mark.parametrize("classes", [("end", "side", "tip"), ()])
@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"same": True}, "alike, whatever the seed"),
        ({"constant": True}, "flat, of one colour"),
        ({"spread": 0.5}, "flat, of one colour"),
    ],
    ids=["same", "flat", "nearly flat"],
)
def test_images_that_are_all_alike_are_noted_and_end_it(
    tmp_path, classes, options, what
):
    source = Photographs(classes)
    view = view_of(tmp_path / "a", steps=100, source=source, **options)
    _, said = guarded(view, 100, lambda step: GOOD)

    assert len(view.notes) == 1
    assert said[0][1].stop in {one.stop for _, one in said}
    assert what in said[0][1].stop
    assert what in view.notes[0]
    assert "smaller lr" in said[0][1].stop
    # looks come each 5 steps; those within the first tenth do not count
    assert said[0][0] == 10 + 5 * 5


def test_images_that_are_alike_only_now_and_then_are_left_alone(tmp_path):
    view = view_of(tmp_path / "a", steps=100)

    def figures(step):
        view.task.spread = 60 if step % 10 else 0.5  # at every second look
        return GOOD

    _, said = guarded(view, 100, figures)
    assert said == []
    assert view.notes == []


def test_images_that_differ_are_left_alone(tmp_path):
    view = view_of(tmp_path / "a", steps=100)
    _, said = guarded(view, 100, lambda step: GOOD)
    assert said == []
    assert view.notes == []


@pytest.mark.parametrize("has_places", [False, True])
def test_images_are_looked_at_as_the_generator_makes_them(tmp_path, has_places):
    source = Photographs(has_places=has_places)
    view = view_of(tmp_path / "a", steps=100, source=source)
    guarded(view, 20, lambda step: GOOD)
    seeds, labels, places = view.task.asked[0]

    assert len(set(seeds)) == len(seeds)
    assert {labels.count(label) for label in set(labels)} == {6}
    assert (places is not None) == has_places
    if has_places:
        assert places.shape == (len(labels), 3)
        assert (places == source.reference(64).places[0]).all()


def test_a_guard_that_goes_on_says_what_an_unbroken_one_says(tmp_path):
    def trained(out, cut):
        view = view_of(out, steps=12_000, same=True)
        guard, said = guarded(view, cut, won, looks=1_000)
        state = json.loads(json.dumps(guard.state_dict()))
        other = Guard(every=ROWS * 1_000)
        other.load_state_dict(state)
        other.begin(view)
        return said + guarded(view, 12_000, won, other)[1], view.notes

    whole, notes = trained(tmp_path / "a", 12_000)
    assert whole
    assert len(notes) == 2  # of the critic and of the images
    for cut in (3_500, 4_500, 9_000):
        assert trained(tmp_path / str(cut), cut) == (whole, notes)


def test_variety_between_images_is_that_within_their_class():
    levels = np.asarray([0, 0, 100, 100], np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (4, 5, 6, 1))
    assert variety_of(images, np.asarray([0, 0, 1, 1])) == (0, 0)
    assert variety_of(images, np.zeros(4, np.int64)) == (50, 0)
    split = np.zeros((2, 4, 4, 1), np.uint8)
    split[:, 2:] = 80
    assert variety_of(split, np.zeros(2, np.int64)) == (0, 40)
