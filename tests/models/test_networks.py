"""Laws of both networks: shapes, rows that do not meet, gradients of gradients."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from fiberaug.errors import UsageError
from fiberaug.models import Critic, Generator
from fiberaug.models.blocks import Residual, recomputed_modules

CASES = [
    (28, {"classes": 3, "channels": 1}),
    ("24x32", {"places": True}),
    ((32, 16), {"classes": 2, "places": True, "block": "grouped", "channels": 4}),
    (16, {"blocks": 2, "most_width": 8}),
]


def made(size, options, *, dtype=torch.float32):
    """Return both networks with exits that do something."""
    torch.manual_seed(0)
    pair = (
        Generator(size, width=8, z_dim=16, **options),
        Critic(size, width=8, **options),
    )
    for network in pair:
        for block in recomputed_modules(network):
            nn.init.normal_(block.exit.weight, std=0.1)
    return tuple(one.to(dtype) for one in pair)


def inputs(options, rows=4, dtype=torch.float32):
    torch.manual_seed(1)
    labels = torch.arange(rows) % max(options.get("classes", 0), 1)
    return torch.randn(rows, 16, dtype=dtype), labels, torch.rand(rows, 3, dtype=dtype)


@pytest.mark.parametrize(("size", "options"), CASES)
def test_images_have_their_size_and_each_gets_a_logit(size, options):
    generator, critic = made(size, options)
    z, labels, places = inputs(options)
    images = generator(z, labels, places)
    logits = critic(images, labels, places)

    assert images.shape == (4, options.get("channels", 3), *generator.plan.size)
    assert images.shape[2:] == critic.plan.size
    assert logits.shape == (4,)
    assert images.dtype == logits.dtype == torch.float32
    assert generator.z_dim == 16


@pytest.mark.parametrize(("size", "options"), CASES)
def test_a_row_does_not_see_the_others(size, options):
    generator, critic = made(size, options, dtype=torch.float64)
    z, labels, places = inputs(options, dtype=torch.float64)
    images = generator(z, labels, places)
    logits = critic(images, labels, places)

    for i in range(4):
        row = slice(i, i + 1)
        alone = generator(z[row], labels[row], places[row])
        torch.testing.assert_close(alone, images[row])
        torch.testing.assert_close(critic(alone, labels[row], places[row]), logits[row])


@pytest.mark.parametrize(("size", "options"), CASES)
def test_every_weight_gets_a_gradient(size, options):
    generator, critic = made(size, options)
    z, labels, places = inputs(options)
    critic(generator(z, labels, places), labels, places).square().sum().backward()

    for network in (generator, critic):
        for name, weight in network.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("options", [{"classes": 2}, {"block": "grouped"}])
def test_the_gradient_of_a_penalty_is_that_of_its_differences(options):
    _, critic = made(8, options, dtype=torch.float64)
    _, labels, _ = inputs(options)
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)

    def penalty():
        given = images.clone().requires_grad_()
        total = critic(given, labels).sum()
        (slope,) = torch.autograd.grad(total, given, create_graph=True)
        return slope.square().sum()

    penalty().backward()
    for name in ("enter.weight", "basis", "levels.0.0.enter.weight", "linear.weight"):
        weight = critic.get_parameter(name)
        step = 1e-6
        found = weight.grad.flatten()[3].item()
        with torch.no_grad():
            weight.view(-1)[3] += step
        above = penalty().item()
        with torch.no_grad():
            weight.view(-1)[3] -= 2 * step
        below = penalty().item()
        with torch.no_grad():
            weight.view(-1)[3] += step
        assert found == pytest.approx((above - below) / (2 * step), rel=1e-4)


@pytest.mark.parametrize(("size", "options"), CASES)
def test_a_penalty_goes_through_bfloat16(size, options):
    generator, critic = made(size, options)
    z, labels, places = inputs(options)
    with torch.autocast("cpu", torch.bfloat16):
        images = generator(z, labels, places).detach().requires_grad_()
        logits = critic(images, labels, places)
        (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        loss = functional.softplus(-logits).mean() + slope.square().sum()
    loss.backward()

    assert images.dtype == logits.dtype == slope.dtype == torch.float32
    for name, weight in critic.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name


@pytest.mark.parametrize(("size", "options"), CASES)
def test_networks_run_on_tensors_without_memory(size, options):
    with torch.device("meta"):
        generator = Generator(size, width=8, z_dim=16, **options)
        critic = Critic(size, width=8, **options)
        images = generator(
            torch.empty(4, 16), torch.empty(4, dtype=torch.int64), torch.empty(4, 3)
        )
        images = images.detach().requires_grad_()
        logits = critic(images, torch.empty(4, dtype=torch.int64), torch.empty(4, 3))
        (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        slope.square().sum().backward()

    assert images.is_meta
    assert all(one.grad.shape == one.shape for one in critic.parameters()
               if one.grad is not None)  # fmt: skip


def test_classes_and_places_make_a_difference():
    generator, critic = made(28, {"classes": 3, "places": True})
    z, _, places = inputs({})
    labels = torch.zeros(4, dtype=torch.int64)
    images = generator(z, labels, places)

    for there in ((labels + 1, places), (labels, places + 0.5)):
        assert not torch.allclose(generator(z, *there), images)
        assert not torch.allclose(
            critic(images, *there), critic(images, labels, places)
        )


def test_a_missing_condition_is_named():
    generator, critic = made(28, {"classes": 3, "places": True})
    z, labels, places = inputs({})
    with pytest.raises(UsageError, match="labels are missing: the network has 3 cl"):
        generator(z, None, places)
    with pytest.raises(UsageError, match="places are missing"):
        critic(torch.zeros(4, 3, 28, 28), labels)


def test_blocks_begin_as_the_identity_and_images_with_sound_variance():
    torch.manual_seed(0)
    generator = Generator((96, 128), classes=10, blocks=2, width=16, z_dim=64)
    images = generator(torch.randn(16, 64), torch.arange(16) % 10)
    features = torch.randn(2, 16, 5, 5)

    assert len(recomputed_modules(generator)) == 12
    assert torch.equal(Residual(16)(features), features)
    assert torch.equal(Residual(16, "grouped")(features), features)
    assert 0.1 < images.std() < 2


def test_weights_are_drawn_from_torchs_generator_alone():
    torch.manual_seed(3)
    one = Generator(16, width=4)
    torch.manual_seed(3)
    two = Generator(16, width=4)

    assert all(map(torch.equal, one.parameters(), two.parameters()))
