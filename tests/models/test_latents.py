"""Laws of latents: a row is of its seed; truncation moves it continuously."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.models.latents import latents, to_levels

SEEDS = st.integers(0, 2**63 - 1)


@given(st.lists(SEEDS, min_size=1, max_size=5), st.floats(0.1, 5) | st.none())
def test_a_row_depends_on_its_own_seed_alone(seeds, truncation):
    together = latents(seeds, (3, 1, 1), truncation=truncation)

    assert together.shape == (len(seeds), 3, 1, 1)
    assert together.dtype == torch.float32
    for row, seed in zip(together, seeds, strict=True):
        alone = latents([seed], (3, 1, 1), truncation=truncation)
        assert torch.equal(row, alone[0])


@given(SEEDS, st.integers(0, 62))
def test_every_bit_of_a_seed_counts(seed, bit):
    one, two = latents([seed, seed ^ (1 << bit)], 8)

    assert not torch.equal(one, two)


def test_latents_are_normal():
    drawn = latents(range(200), 500).double().flatten()

    assert abs(drawn.mean()) < 0.01
    assert abs(drawn.var() - 1) < 0.01
    assert abs((drawn < 1).double().mean() - 0.8413) < 0.005


@given(SEEDS, st.floats(0.05, 6))
def test_truncation_bounds_each_number_and_moves_it_little_by_little(seed, bound):
    drawn = latents([seed], 64, truncation=bound)
    near = latents([seed], 64, truncation=bound * (1 + 1e-4))
    free = latents([seed], 64)

    assert drawn.abs().max() <= bound
    assert len(drawn[0].unique()) > 60  # not cut: drawn within
    assert (near - drawn).abs().max() < 2e-3 * bound
    assert torch.equal(drawn.sign(), free.sign())
    assert (drawn.abs() <= free.abs() + 1e-6).all()


def test_without_truncation_is_a_very_wide_one():
    torch.testing.assert_close(latents([5], 64, truncation=50.0), latents([5], 64))


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf"), "1", True])
def test_a_bound_that_is_none_is_refused(bad):
    with pytest.raises(UsageError, match="truncation must be a number above 0"):
        latents([0], 2, truncation=bad)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(UsageError, match=r"an integer in \[0, 2\*\*63\)"):
        latents([seed], 2)


def test_each_level_comes_back_and_what_lies_beyond_is_cut():
    every = torch.arange(256) / 127.5 - 1
    levels = to_levels(torch.cat([every, torch.tensor([-2.0, 7])]).reshape(1, 1, 1, -1))

    assert levels.dtype == np.uint8
    assert levels.shape == (1, 1, 258, 1)
    assert levels.flatten().tolist() == [*range(256), 0, 255]


def test_channels_come_last():
    images = torch.rand(2, 3, 4, 5) * 2 - 1
    levels = to_levels(images)

    assert levels.shape == (2, 4, 5, 3)
    assert (to_levels(images[1:, 2:])[0, :, :, 0] == levels[1, :, :, 2]).all()


def test_values_that_are_no_number_are_refused():
    with pytest.raises(UsageError, match="values that are NaN"):
        to_levels(torch.full((1, 1, 2, 2), float("nan")))
