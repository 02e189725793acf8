"""Edits laid into photos."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.editing import blending
from fiberaug.editing.blending import blend, grown, lay_in, ramp, seam
from fiberaug.tiling import Window

shapes = st.tuples(
    st.integers(1, 24), st.integers(1, 24), st.integers(0, 2**32 - 1),
    st.sampled_from([0.02, 0.3, 0.9, 1.0]),
)  # fmt: skip


def shape_of(asked):
    height, width, seed, share = asked
    rng = np.random.default_rng(seed)
    return (rng.random((height, width)) < share).astype(np.uint8)


def distances(shape, free, reach):
    """Distance of each pixel to the nearest 0, by looking at every pair."""
    left, top, right, bottom = free
    padded = np.pad(shape, reach, constant_values=0)
    height, width = shape.shape
    if top:
        padded[:reach, reach:-reach] = shape[0]
    if bottom:
        padded[-reach:, reach:-reach] = shape[-1]
    if left:
        padded[:, :reach] = padded[:, reach : reach + 1]
    if right:
        padded[:, -reach:] = padded[:, -reach - 1 : -reach]
    ys, xs = np.nonzero(padded == 0)
    found = np.full(shape.shape, np.inf)
    for y in range(height if len(ys) else 0):
        for x in range(width):
            squares = (ys - y - reach) ** 2 + (xs - x - reach) ** 2
            found[y, x] = np.sqrt(squares.min())
    return found


@settings(deadline=None, max_examples=60)
@given(shapes, st.integers(0, 9), st.tuples(*[st.booleans()] * 4))
def test_the_ramp_is_what_its_formula_says(asked, feather, free):
    shape = shape_of(asked)

    found = ramp(shape, slice(0, len(shape)), feather, free)

    share = np.minimum(1, distances(shape, free, feather + 3) / max(1, feather))
    wanted = np.where(shape > 0, np.maximum(1, np.floor(share * 255 + 0.5)), 0)
    assert abs(found - wanted).max() <= 1  # float32
    assert ((found == 0) == (shape == 0)).all()


def test_a_pixel_that_may_change_changes_however_wide_the_ramp_is():
    shape = np.ones((3, 3), np.uint8)

    assert (ramp(shape, slice(0, 3), 1000, (False,) * 4) == 1).all()


@settings(deadline=None, max_examples=60)
@given(shapes, st.integers(0, 9))
def test_a_shape_grows_by_a_disc(asked, by):
    shape = shape_of(asked)

    found = grown(shape, by)

    far = distances(1 - shape, (True,) * 4, by + 3)
    assert (found == (far <= by)).all()


@settings(deadline=None, max_examples=60)
@given(shapes, st.integers(0, 9), st.integers(1, 30))
def test_bands_change_nothing(asked, feather, band):
    shape = shape_of(asked)
    rng = np.random.default_rng(1)
    edit = rng.integers(0, 256, (*shape.shape, 3), np.uint8)

    def laid(rows):
        pixels = np.zeros((40, 40, 3), np.uint8)
        changed = np.zeros((40, 40), np.uint8)
        window = Window(3, 5, 3 + shape.shape[1], 5 + shape.shape[0])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(blending, "BAND", rows)
            grew = grown(shape, feather)
            told = lay_in(pixels, changed, window, shape, edit.__getitem__, feather)
        return pixels, changed, grew, told

    whole, parts = laid(1000), laid(band)

    for one, other in zip(whole[:3], parts[:3], strict=True):
        assert (one == other).all()
    assert whole[3] == parts[3]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_blend_is_exact_at_both_ends_and_rounds_between(dtype):
    most = np.iinfo(dtype).max
    rng = np.random.default_rng(0)
    before = rng.integers(0, most + 1, (16, 16, 3), dtype)
    after = rng.integers(0, most + 1, (16, 16, 3), dtype)
    alpha = np.arange(256, dtype=np.uint8).reshape(16, 16)

    found = blend(before, after, alpha)

    share = alpha[:, :, None].astype(np.float64) / 255
    exact = before * (1 - share) + after * share
    assert (found[0, 0] == before[0, 0]).all()
    assert (found[15, 15] == after[15, 15]).all()
    assert abs(found - exact).max() <= 0.5 + 1e-9
    assert found.dtype == dtype


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3, 4]),
    st.sampled_from([np.uint8, np.uint16]), st.integers(0, 8),
)  # fmt: skip
def test_what_the_ramp_leaves_out_is_not_touched(seed, channels, dtype, feather):
    rng = np.random.default_rng(seed)
    before = rng.integers(0, np.iinfo(dtype).max + 1, (40, 50, channels), dtype)
    pixels, changed = before.copy(), np.zeros((40, 50), np.uint8)
    x0, y0 = rng.integers(0, 30), rng.integers(0, 20)
    window = Window(int(x0), int(y0), int(x0) + 20, int(y0) + 15)
    shape = (rng.random((15, 20)) < 0.8).astype(np.uint8)
    edit = rng.integers(0, 256, (15, 20, 3), np.uint8)

    lay_in(pixels, changed, window, shape, edit.__getitem__, feather)

    there = np.zeros((40, 50), np.uint8)
    there[y0 : y0 + 15, x0 : x0 + 20] = shape
    assert ((changed > 0) == (there > 0)).all()
    assert (pixels[changed == 0] == before[changed == 0]).all()
    if channels in {2, 4}:
        assert (pixels[:, :, -1] == before[:, :, -1]).all(), "alpha is the photo's"
    if channels >= 3:
        whole = changed == 255
        scale = 1 if dtype == np.uint8 else 257
        full = np.zeros((40, 50, 3), np.int64)
        full[y0 : y0 + 15, x0 : x0 + 20] = edit
        assert (pixels[whole][:, :3] == full[whole] * scale).all()


def test_a_seam_is_what_its_formula_says():
    rng = np.random.default_rng(0)
    before, after = rng.integers(0, 256, (2, 9, 11, 3), np.uint8)
    mask = rng.choice(np.array([0, 100, 255], np.uint8), (9, 11))

    found = seam(before, after, mask)

    def luma(pixels):
        return pixels.astype(int) @ [299, 587, 114] // 1000

    border, inside, was = [], [], []
    for y in range(9):
        for x in range(11):
            for q in ((y, x + 1), (y + 1, x)):
                if q[0] == 9 or q[1] == 11 or not (mask[y, x] or mask[q]):
                    continue
                step = abs(luma(after)[y, x] - luma(after)[q])
                if mask[y, x] == 255 and mask[q] == 255:
                    inside.append(step)
                else:
                    border.append(step)
                    was.append(abs(luma(before)[y, x] - luma(before)[q]))
    assert found.border == pytest.approx(np.mean(border))
    assert found.inside == pytest.approx(np.mean(inside))
    assert found.before == pytest.approx(np.mean(was))
    assert found.ratio == pytest.approx(
        np.mean(border) / max(np.mean(inside), np.mean(was))
    )


def test_a_feather_makes_the_seam_of_a_patch_less_steep():
    y, x = np.mgrid[:80, :80]
    photo = np.repeat((x // 2 + 40).astype(np.uint8)[:, :, None], 3, axis=2)
    patch = np.repeat((y // 2 + 150).astype(np.uint8)[:, :, None], 3, axis=2)
    shape = np.zeros((80, 80), np.uint8)
    shape[20:60, 20:60] = 1

    ratios = []
    for feather in (0, 4, 12):
        pixels, changed = photo.copy(), np.zeros((80, 80), np.uint8)
        told = lay_in(
            pixels, changed, Window(0, 0, 80, 80), shape, patch.__getitem__, feather
        )
        ratios.append(told.ratio)

    assert ratios[0] > 3 * ratios[1] > 3 * ratios[2]
