"""Draws of a unit: who is mixed with whom, and how, from its key alone."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.mixes.base import UNMIXED, ring
from fiberaug.mixes.blending import CutMix, MixUp, MixUpOrCutMix
from fiberaug.mixes.copy_paste import CopyPaste
from fiberaug.mixes.mosaic import Mosaic

KINDS = [MixUp, CutMix, MixUpOrCutMix, Mosaic, CopyPaste]
SEEDS = st.integers(0, 2**32)
ROWS = st.integers(1, 16)


def rng(seed):
    return np.random.default_rng(seed)


@given(SEEDS, st.integers(2, 16), st.integers(1, 3))
def test_each_row_is_the_partner_of_one_other_and_never_its_own(seed, rows, count):
    partners = ring(rng(seed), rows, count)

    for k in range(count):
        assert sorted(row[k] for row in partners) == list(range(rows))
    for row, others in enumerate(partners):
        assert row not in others
        assert len(set(others)) == min(count, rows - 1)


def test_every_other_row_is_as_likely_a_partner():
    counts = np.zeros((5, 5), int)
    generator = rng(0)
    for _ in range(4000):
        for row, (partner,) in enumerate(ring(generator, 5, 1)):
            counts[row, partner] += 1

    others = counts[~np.eye(5, dtype=bool)]
    assert counts.diagonal().sum() == 0
    assert abs(others - 1000).max() < 5 * np.sqrt(1000)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=SEEDS, rows=ROWS, p=st.floats(0, 1))
@settings(max_examples=25)
def test_what_is_drawn_does_not_depend_on_which_rows_are_mixed(kind, seed, rows, p):
    all_mixed, some, none = rng(seed), rng(seed), rng(seed)
    of_all = kind(p=1.0).draw(all_mixed, rows)
    of_some = kind(p=p).draw(some, rows)
    of_none = kind(p=0.0).draw(none, rows)

    assert all(not draw.applied for draw in of_none)
    for full, part in zip(of_all, of_some, strict=True):
        assert full.applied == (rows > 1)
        assert part == (full if part.applied else UNMIXED)
    after = [generator.random() for generator in (all_mixed, some, none)]
    assert len(set(after)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_is_alone_is_not_mixed(kind):
    assert kind(p=1.0).draw(rng(3), 1) == [UNMIXED]


@pytest.mark.parametrize("kind", KINDS)
def test_draws_are_what_json_has(kind):
    draws = kind(p=1.0).draw(rng(4), 16)

    assert json.loads(json.dumps([list(draw) for draw in draws])) == [
        [draw.applied, list(draw.partners), draw.params] for draw in draws
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_mixed_as_often_as_asked(kind):
    generator, mix = rng(5), kind(p=0.3)
    share = np.mean([d.applied for _ in range(400) for d in mix.draw(generator, 16)])

    assert abs(share - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 6400)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_shares_are_beta_of_each_row(alpha):
    """Mean 1/2 and variance 1 / (4 (2 alpha + 1)), and rows of a unit differ."""
    generator = rng(6)
    mixes = MixUp(alpha=alpha), CutMix(alpha=alpha)
    lam = np.array(
        [d.params["lam"] for _ in range(500) for d in mixes[0].draw(generator, 16)]
    )
    cut = np.array(
        [d.params["cut"] for _ in range(500) for d in mixes[1].draw(generator, 16)]
    )

    variance = 1 / (4 * (2 * alpha + 1))
    for shares in (lam, 1 - cut):
        assert abs(shares.mean() - 0.5) < 5 * np.sqrt(variance / len(shares))
        assert abs(shares.var() / variance - 1) < 0.1
        pairs = shares.reshape(-1, 16)[:, :2]
        assert abs(np.corrcoef(pairs.T)[0, 1]) < 5 / np.sqrt(500)


def test_the_switch_chooses_for_each_row():
    generator, mix = rng(7), MixUpOrCutMix(switch_prob=0.25)
    cut = [["cut" in d.params for d in mix.draw(generator, 16)] for _ in range(400)]

    assert abs(np.mean(cut) - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 6400)
    assert any(0 < sum(row) < 16 for row in cut)
    assert all("cut" in d.params for d in MixUpOrCutMix(switch_prob=1).draw(rng(0), 16))
    assert all("lam" in d.params for d in MixUpOrCutMix(switch_prob=0).draw(rng(0), 16))


@given(SEEDS, st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted))
@settings(max_examples=50)
def test_a_mosaic_draws_within_its_ranges(seed, center):
    mix = Mosaic(p=1, center_range=center, scale=(0.3, 0.9))
    for draw in mix.draw(rng(seed), 16):
        assert all(center[0] <= c <= center[1] for c in draw.params["center"])
        assert all(0.3 <= s <= 0.9 for s in draw.params["scales"])
        assert sorted(draw.params["quadrants"]) == [0, 1, 2, 3]
        assert len(draw.partners) == 3


def test_the_own_image_is_in_each_quadrant_as_often():
    generator, mix = rng(8), Mosaic(p=1)
    own = [
        d.params["quadrants"][0] for _ in range(250) for d in mix.draw(generator, 16)
    ]

    assert abs(np.bincount(own, minlength=4) - 1000).max() < 5 * np.sqrt(1000)


@given(SEEDS, st.tuples(st.integers(1, 32), st.integers(1, 32)).map(sorted))
@settings(max_examples=50)
def test_copy_paste_draws_within_its_ranges(seed, objects):
    mix = CopyPaste(p=1, objects=objects, scale=(0.5, 2), flip=1)
    counts = set()
    for draw in mix.draw(rng(seed), 16):
        params = draw.params
        counts.add(len(params["picks"]))
        assert {len(value) for value in params.values()} == {len(params["picks"])}
        assert all(0.5 <= s <= 2 for s in params["scales"])
        assert all(params["flips"])
    assert objects[0] <= min(counts) <= max(counts) <= objects[1]
