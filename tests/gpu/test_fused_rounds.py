"""Laws of rounds: a run of maps is one map, and kinds keep their order in each row."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.gpu.fused_pointwise import run_rounds
from fiberaug.gpu.fused_rounds import Kind, Rounds
from fiberaug.gpu.fused_rows import Numbers

LAW = settings(deadline=None, max_examples=150)
ROWS, CHANNELS = 3, 2
NUMBERS = st.floats(-2, 2, allow_nan=False).map(lambda x: round(x, 2))
ON = st.lists(st.booleans(), min_size=ROWS, max_size=ROWS).map(np.array)
BOUNDS = st.sampled_from([(-np.inf, np.inf), (0.0, 1.0), (-0.5, np.inf), (0.2, 0.4)])
AFFINE = st.tuples(ON, NUMBERS, NUMBERS, BOUNDS)


def run(rounds, x):
    numbers = rounds.tensors()
    order = numbers["kind"].argsort(dim=0, stable=True)
    results = [
        run_rounds(x.clone(), Numbers(host, host, at_once))
        for host, at_once in ((numbers, False), (numbers | {"sorted": order}, True))
    ]
    torch.testing.assert_close(*results, atol=1e-5, rtol=0)
    return results[0]


def pixels(rows=ROWS, channels=CHANNELS):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(rows, channels, 4, 5, generator=generator)


@LAW
@given(st.lists(AFFINE, min_size=1, max_size=5), st.booleans())
def test_a_run_of_maps_is_one_map(maps, unit):
    rounds, x = Rounds(ROWS, CHANNELS, 0, unit=unit), pixels()
    wanted = x.clone()
    for on, scale, offset, clip in maps:
        rounds.affine(on, scale, offset, clip)
        wanted[on] = (wanted[on] * scale + offset).clamp(*clip)
    assert rounds.tensors()["kind"].shape == (ROWS, 0)
    torch.testing.assert_close(run(rounds, x), wanted, atol=1e-4, rtol=0)


@LAW
@given(st.lists(AFFINE | ON, min_size=1, max_size=5), st.booleans())
def test_a_clamp_is_left_out_only_where_it_does_nothing(maps, unit):
    x = pixels() if unit else pixels() * 3 - 1
    rounds, wanted = Rounds(ROWS, CHANNELS, 0, unit=unit), x.clone()
    for one in maps:
        if isinstance(one, tuple):
            on, scale, offset, clip = one
            rounds.affine(on, scale, offset, clip)
            wanted[on] = (wanted[on] * scale + offset).clamp(*clip)
        else:
            rounds.clamp(one)
            wanted[one] = wanted[one].clamp(0, 1)
    torch.testing.assert_close(run(rounds, x), wanted, atol=1e-4, rtol=0)


@LAW
@given(
    st.lists(st.tuples(ON, st.sampled_from(["swap", "solarize", "scale"])), max_size=6)
)
def test_every_row_keeps_the_order_of_its_own_operations(steps):
    rounds, x = Rounds(ROWS, CHANNELS, len(steps)), pixels()
    wanted = x.clone()
    for on, name in steps:
        if name == "swap":
            rounds.kind(on, Kind.SHUFFLE, 0, 1, 0)
            wanted[on] = wanted[on][:, [1, 0]]
        elif name == "solarize":
            rounds.kind(on, Kind.SOLARIZE, 0.5)
            wanted[on] = torch.where(wanted[on] < 0.5, wanted[on], 1 - wanted[on])
        else:
            rounds.affine(on, [[0.9, 0.7]], [[0.1, 0.0]])
            scale, offset = torch.tensor([[0.9, 0.7], [0.1, 0.0]])[..., None, None]
            wanted[on] = wanted[on] * scale + offset
    off = (run(rounds, x) - wanted).abs() > 1e-5
    assert off.sum() <= 1  # a value at the threshold of solarize


def test_a_batch_has_no_more_rounds_than_its_longest_row():
    rounds = Rounds(2, 3, 9)
    first, both = np.array([True, False]), np.array([True, True])
    one, two = np.ones(2), np.full(2, 2.0)
    rounds.hue(both, one, one)
    rounds.hue(both, 0 * one, two)  # joins: one turns, the other multiplies
    rounds.hue(both, 0 * one, one)  # is nothing
    rounds.hue(first, one, one)
    rounds.affine(first, 0.5)
    rounds.hue(first, one, one)  # cannot join
    kinds = rounds.tensors()["kind"]
    assert kinds.tolist() == [[Kind.HUE, Kind.HUE], [Kind.HUE, Kind.NONE]]


@LAW
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=6))
def test_turns_of_the_hue_add_up(turns):
    x, on = pixels(1, 3), np.array([True])
    rounds, single = Rounds(1, 3, len(turns)), x
    for turn in turns:
        rounds.hue(on, np.array([turn]), np.ones(1))
        alone = Rounds(1, 3, 1)
        alone.hue(on, np.array([turn]), np.ones(1))
        single = run(alone, single)
    torch.testing.assert_close(run(rounds, x), single, atol=2e-5, rtol=0)


def test_a_turn_by_a_third_of_the_circle_changes_the_places_of_the_channels():
    x, on = pixels(1, 3), np.array([True])
    rounds = Rounds(1, 3, 1)
    rounds.hue(on, np.array([2.0]), np.ones(1))
    torch.testing.assert_close(run(rounds, x), x[:, [2, 0, 1]], atol=1e-6, rtol=0)
