"""MixUp and CutMix against loops over rows and pixels."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.mixes.base import UNMIXED, RowDraw
from fiberaug.mixes.blending import CutMix, MixUp, MixUpOrCutMix

KINDS = [MixUp, CutMix, MixUpOrCutMix]
SIZES = st.tuples(st.integers(1, 9), st.integers(1, 11))


@st.composite
def batches(draw, kind=None, dtype=torch.float32):
    """A mix, images with extra rows, partners and draws."""
    kind = kind or draw(st.sampled_from(KINDS))
    mix = kind(p=draw(st.sampled_from([0.0, 0.5, 1.0])))
    rows, extra = draw(st.integers(2, 7)), draw(st.integers(0, 2))
    seed = draw(st.integers(0, 2**32))
    generator = np.random.default_rng(seed)
    shape = rows + extra, 3, *draw(SIZES)
    image = torch.from_numpy(generator.integers(0, 256, shape)).to(dtype)
    image = image / 255 if dtype.is_floating_point else image
    partners = torch.from_numpy(generator.integers(0, rows + extra, rows))
    return mix, image, partners, mix.draw(generator, rows)


def blended_by_loops(image, partners, draws):
    """Return what the papers say, a row and a pixel at a time."""
    height, width = image.shape[-2:]
    out = image[: len(draws)].clone()
    for i, (draw, partner) in enumerate(zip(draws, partners.tolist(), strict=True)):
        if "cut" in draw.params:
            wide, high = (
                int(n * math.sqrt(draw.params["cut"])) for n in (width, height)
            )
            x, y = draw.params["center"]
            left, top = int(x * width) - wide // 2, int(y * height) - high // 2
            for column in range(max(0, left), min(width, left + wide)):
                for row in range(max(0, top), min(height, top + high)):
                    out[i, :, row, column] = image[partner, :, row, column]
        elif draw.applied:
            lam = torch.tensor(draw.params["lam"], dtype=image.dtype)
            rest = torch.tensor(1 - draw.params["lam"], dtype=image.dtype)
            out[i] = image[i] * lam + image[partner] * rest
    return out


@given(batches())
def test_images_are_as_the_papers_say(batch):
    mix, image, partners, draws = batch
    before = image.clone()

    out = mix.blend(image, partners, draws)

    assert torch.equal(out, blended_by_loops(image, partners, draws))
    assert torch.equal(image, before)


@given(batches(kind=CutMix, dtype=torch.uint8))
def test_cutmix_cuts_bytes_and_masks_alike(batch):
    mix, image, partners, draws = batch
    out = mix.blend(image, partners, draws)

    assert out.dtype == torch.uint8
    assert torch.equal(out, blended_by_loops(image, partners, draws))
    masks = image[:, 0].long() * 1000
    assert torch.equal(mix.blend_mask(masks, partners, draws), out[:, 0].long() * 1000)


@given(batches())
def test_a_row_depends_on_itself_its_partner_and_its_draw_alone(batch):
    mix, image, partners, draws = batch
    out = mix.blend(image, partners, draws)
    for i, (draw, partner) in enumerate(zip(draws, partners.tolist(), strict=True)):
        pair = torch.stack([image[i], image[partner]])
        alone = mix.blend(pair, torch.tensor([1]), [draw])
        assert torch.equal(alone[0], out[i])


def test_rows_that_are_not_mixed_stay_bit_for_bit():
    image = torch.tensor([-0.0, float("nan"), float("inf"), 1e-45]).view(4, 1, 1, 1)
    image = image.expand(4, 3, 2, 2).contiguous()
    mixed = [
        RowDraw(applied=True, partners=(0,), params=params)
        for params in ({"lam": 0.5}, {"cut": 0.5, "center": [0.5, 0.5]})
    ]
    draws = [UNMIXED, UNMIXED, *mixed]
    out = MixUpOrCutMix().blend(image, torch.tensor([2, 99, 0, 0]), draws)

    assert torch.equal(out[:2].view(torch.int32), image[:2].view(torch.int32))


@given(st.integers(0, 2**32), SIZES)
def test_lam_is_the_share_of_pixels_that_stay(seed, size):
    mix = CutMix(p=1)
    placed = mix.placed(mix.draw(np.random.default_rng(seed), 8), size)
    image = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, *size).contiguous()
    partners = torch.tensor([draw.partners[0] for draw in placed])

    out = mix.blend(image, partners, placed)

    for i, draw in enumerate(placed):
        stays = int((out[i] == i).sum())
        assert draw.params["lam"] == 1 - (math.prod(size) - stays) / math.prod(size)
        left, top, right, bottom = draw.params["box"]
        assert (right - left) * (bottom - top) == math.prod(size) - stays


def test_a_draw_that_is_placed_stays_where_it_is():
    mix = MixUpOrCutMix()
    placed = mix.placed(mix.draw(np.random.default_rng(0), 16), (7, 5))

    assert mix.placed(placed, (70, 50)) == placed


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_nothing_waits_for_the_device(p):
    """Tensors without memory refuse whatever asks for a value."""
    mix = MixUpOrCutMix(p=p)
    draws = mix.draw(np.random.default_rng(1), 16)
    image = torch.empty(20, 3, 8, 8, device="meta")
    partners = torch.empty(16, dtype=torch.int64, device="meta")

    assert {"cut" in d.params for d in draws if d.applied} == {True, False}
    assert mix.blend(image, partners, draws).shape == (16, 3, 8, 8)
    cut = CutMix(p=p)
    masks = torch.empty(20, 8, 8, dtype=torch.int64, device="meta")
    some = cut.draw(np.random.default_rng(1), 16)
    assert cut.blend_mask(masks, partners, some).shape == (16, 8, 8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@settings(max_examples=10)
@given(data=st.data())
def test_any_float_stays_what_it_is(dtype, data):
    mix, image, partners, draws = data.draw(batches(dtype=dtype))

    out = mix.blend(image, partners, draws)

    assert out.dtype == dtype
    assert torch.equal(out, blended_by_loops(image, partners, draws))


@pytest.mark.parametrize("kind", [MixUp, MixUpOrCutMix])
def test_what_cannot_be_blended_is_refused(kind):
    draws = kind(**{"switch_prob": 0} if kind is MixUpOrCutMix else {}).draw(
        np.random.default_rng(0), 2
    )
    with pytest.raises(UsageError, match=r"floats, got torch.uint8.*CutMix"):
        kind().blend(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.arange(2), draws)
    with pytest.raises(UsageError, match=r"class ids.*CutMix"):
        kind().blend_mask(torch.zeros(2, 4, 4), torch.arange(2), draws)
    with pytest.raises(UsageError, match="class ids of a mask: use CutMix"):
        kind().check(["image", "mask"], {})
    CutMix().check(["image", "mask", "label", "caption"], {})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", ["bboxes", "masks", "keypoints", "polygons"])
def test_objects_are_refused_with_what_mixes_them(kind, field):
    with pytest.raises(UsageError, match=rf"\['{field}'\]: use Mosaic or CopyPaste"):
        kind().check(["image", field], {})


@pytest.mark.parametrize("kind", KINDS)
def test_more_images_are_refused(kind):
    with pytest.raises(UsageError, match=r"not \['depth'\]: leave them out"):
        kind().check(iter(["image", "depth"]), {"depth": "image"})
