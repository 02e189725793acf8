"""Laws of augmentation that gradients go through."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.gpu.differentiable import DifferentiableAugment

LAW = settings(deadline=None, max_examples=40)
SIDES = st.tuples(st.integers(1, 20), st.integers(1, 20))
SEEDS = st.integers(0, 1000)


def drawn(augment, shape, seed=0):
    return augment.draw(shape, torch.Generator().manual_seed(seed))


def images(shape, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=dtype) * 2 - 1


@pytest.mark.parametrize(
    "policy", ["color", "translation", "cutout", "color,translation,cutout"]
)
def test_gradients_reach_the_images_and_can_be_differentiated_again(policy):
    augment = DifferentiableAugment(policy)
    x = images((2, 3, 5, 6), dtype=torch.float64).requires_grad_()
    params = drawn(augment, x.shape, 3)
    assert torch.autograd.gradcheck(lambda x: augment(x, params), x)
    assert torch.autograd.gradgradcheck(lambda x: augment(x, params), x)


@LAW
@given(SIDES, SEEDS)
def test_a_row_depends_on_its_own_parameters_alone(sides, seed):
    augment = DifferentiableAugment()
    x = images((5, 3, *sides), seed)
    params = drawn(augment, x.shape, seed)
    whole = augment(x, params)
    order = [3, 0, 0]
    some = augment(x[order], {name: value[order] for name, value in params.items()})
    torch.testing.assert_close(some, whole[order], atol=1e-6, rtol=0)


def test_the_same_parameters_do_the_same_to_real_and_generated_images():
    augment = DifferentiableAugment("translation,cutout")
    params = drawn(augment, (8, 3, 16, 24))
    real, generated = images((8, 3, 16, 24), 1), images((8, 3, 16, 24), 2)
    both = augment(real + generated, params)
    torch.testing.assert_close(both, augment(real, params) + augment(generated, params))


@LAW
@given(SIDES, SEEDS)
def test_translation_moves_whole_pixels_and_fills_with_0(sides, seed):
    augment = DifferentiableAugment("translation", shift=0.3)
    x = images((4, 2, *sides), seed)
    params = drawn(augment, x.shape, seed)
    found = augment(x, params)
    height, width = sides
    for row, (down, right) in enumerate(params["shift"].tolist()):
        for i in range(height):
            for j in range(width):
                y, x_ = i - down, j - right
                inside = 0 <= y < height and 0 <= x_ < width
                wanted = x[row, :, y, x_] if inside else torch.zeros(2)
                assert torch.equal(found[row, :, i, j], wanted)


@LAW
@given(SIDES, SEEDS)
def test_a_cut_out_is_one_rectangle_of_half_the_sides_or_what_is_inside(sides, seed):
    augment = DifferentiableAugment("cutout")
    params = drawn(augment, (3, 1, *sides), seed)
    found = augment(torch.ones(3, 1, *sides), params)
    for row, first in zip(found[:, 0], params["cut"].tolist(), strict=True):
        wanted = torch.ones(sides)
        (y, x), (lines, columns) = first, (int(side / 2 + 0.5) for side in sides)
        wanted[max(y, 0) : max(y + lines, 0), max(x, 0) : max(x + columns, 0)] = 0
        assert torch.equal(row, wanted)
        middle = y + lines // 2, x + columns // 2  # of the cut-out: inside the image
        assert all(0 <= m < side for m, side in zip(middle, sides, strict=True))


def test_parameters_fill_their_ranges():
    augment = DifferentiableAugment()
    params = drawn(augment, (20_000, 3, 32, 48))
    for name, low, high in [
        ("brightness", -0.5, 0.5),
        ("saturation", 0, 2),
        ("contrast", 0.5, 1.5),
    ]:
        value = params[name]
        assert low <= value.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < value.max() <= high
        assert abs(value.mean() - (low + high) / 2) < 0.03
    for column, most in enumerate((4, 6)):
        shift = params["shift"][:, column]
        counts = torch.bincount(shift + most, minlength=2 * most + 1)
        assert len(counts) == 2 * most + 1
        share = 20_000 / len(counts)
        assert (counts - share).abs().max() < 6 * share**0.5
    numbers = torch.cat([value.view(20_000, -1) for value in params.values()], dim=1)
    assert (numbers.double().T.corrcoef() - torch.eye(7)).abs().max() < 0.05
    for column, side in enumerate((32, 48)):
        middle = params["cut"][:, column] + side // 4
        assert (middle.min(), middle.max()) == (0, side - 1)


def test_colour_is_brightness_then_saturation_then_contrast():
    augment = DifferentiableAugment("color")
    x = images((1, 3, 4, 5))
    params = drawn(augment, x.shape)
    brightness, saturation, contrast = (
        params[name].item() for name in ("brightness", "saturation", "contrast")
    )
    found = augment(x, params)
    wanted = x + brightness
    assert found.mean() == pytest.approx(wanted.mean().item(), abs=1e-6)
    gray = wanted.mean(1, keepdim=True)
    colour = found - found.mean(1, keepdim=True)
    torch.testing.assert_close(colour, (wanted - gray) * saturation * contrast)
    grays = found.mean(1) - found.mean()
    torch.testing.assert_close(grays, (gray[:, 0] - gray.mean()) * contrast)


def test_draws_come_from_the_given_generator_alone():
    augment = DifferentiableAugment()
    state = torch.random.get_rng_state()
    one, two = drawn(augment, (4, 3, 8, 8), 5), drawn(augment, (4, 3, 8, 8), 5)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_half_precision_stays():
    augment = DifferentiableAugment()
    x = images((2, 3, 8, 8)).bfloat16()
    assert augment(x, drawn(augment, x.shape)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            {"policy": "color,blur"},
            '"blur", which is none of color, translation, cutout',
        ),
        ({"shift": 1.0}, "shift is 1.0"),
        ({"cut": 1.5}, "cut is 1.5"),
    ],
)
def test_what_cannot_be_is_refused(arguments, says):
    with pytest.raises(UsageError, match=says):
        DifferentiableAugment(**arguments)


def test_batches_that_do_not_fit_are_refused():
    augment = DifferentiableAugment()
    params = drawn(augment, (4, 3, 8, 8))
    with pytest.raises(UsageError, match="of 4 rows, images are 3"):
        augment(torch.zeros(3, 3, 8, 8), params)
    with pytest.raises(UsageError, match="give floats"):
        augment(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), params)
