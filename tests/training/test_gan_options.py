"""What goes with a loss, a size and a number of photos; and what a run is known by."""

import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.training.gan_options import GANOptions
from fiberaug.training.losses import LOSSES
from fiberaug.training.ramps import Ramp


@given(st.lists(st.integers(1, 200_000), min_size=2, max_size=9))
def test_the_more_photos_the_less_is_augmented(counts):
    shares = [GANOptions().share_of(one) for one in sorted(counts)]
    assert shares == sorted(shares, reverse=True)
    assert GANOptions().share_of(1_000) == GANOptions().share_of(10) == 1
    assert GANOptions().share_of(50_000) == pytest.approx(0.3)
    assert GANOptions(augment_share=0.5).share_of(10) == 0.5


def test_a_zero_centred_penalty_grows_with_the_pixels_and_falls_with_the_rows():
    for name, loss in LOSSES.items():
        found = GANOptions(loss=name, gamma=3.0).gamma_at(0, 10, pixels=64, rows=16)
        assert found == (12.0 if loss.penalty == "zero-centred" else 3.0)
        usual = GANOptions(loss=name).gamma_at(5, 10, pixels=1, rows=1)
        assert usual == Ramp.of(loss.gamma).at(5, 10)


def test_rates_and_betas_are_those_of_the_loss_unless_they_are_given():
    own = GANOptions(lr="linear 4 0", critic_lr=1.5, betas=(0.1, 0.2))
    assert [own.lr_at(n, 10) for n in (0, 5, 10)] == [4, 2, 0]
    assert own.lr_at(5, 10, of_critic=True) == 1.5
    assert own.betas_at(3, 10) == (0.1, 0.2)
    one = GANOptions(lr="linear 4 0")
    assert one.lr_at(5, 10, of_critic=True) == 2
    for name, loss in LOSSES.items():
        usual, (first, (begin, end)) = GANOptions(loss=name), loss.betas
        assert usual.lr_at(7, 10) == Ramp.of(loss.lr).at(7, 10)
        assert usual.betas_at(0, 10) == (first, begin)
        assert usual.betas_at(10, 10) == (first, pytest.approx(end))
        assert usual.steps_of_critic == loss.critic_steps
    assert GANOptions(loss="wgan-gp", critic_steps=2).steps_of_critic == 2


def test_a_run_is_known_by_every_option():
    given = {
        "loss": "bce", "gamma": 0.1, "lr": "linear 4 0", "critic_lr": 2.0,
        "betas": (0.1, 0.2), "critic_steps": 3, "augment": "color",
        "augment_share": 0.25, "half_life": 10.0, "seed": 2**40,
    }  # fmt: skip
    assert given.keys() == {one.name for one in fields(GANOptions)}
    told = json.loads(json.dumps(GANOptions(**given).to_dict()))
    assert told == given | {"betas": [0.1, 0.2]}
