"""Blocks that compute again give the same values and gradients."""

import copy

import pytest
import torch
from torch import nn

from fiberaug.models import Critic, Generator
from fiberaug.models.blocks import Residual
from fiberaug.training.recomputing import recompute


def networks(seed: int = 0):
    torch.manual_seed(seed)
    made = Critic((16, 16), width=4), Generator((16, 16), width=4)
    for network in made:
        for one in network.parameters():
            nn.init.normal_(one, std=0.2)
    return made


def own(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), *layers, nn.Conv2d(4, 4, 3), nn.Tanh(),
        nn.Flatten(), nn.LazyLinear(1), nn.Flatten(0),
    )  # fmt: skip


def gradients(critic: nn.Module, *, exact: bool = False):
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    images.requires_grad_()
    logits = critic(images)
    loss = logits.sum()
    if exact:
        (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        loss = loss + slope.square().sum()
    made = torch.autograd.grad(loss, [images, *critic.parameters()], allow_unused=True)
    return [logits.detach(), *(one for one in made if one is not None)]


def same(some, others):
    assert len(some) == len(others)
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


@pytest.mark.parametrize("exact", [False, True])
def test_values_and_gradients_are_the_same_bit_for_bit(exact):
    critic, _ = networks()
    before = gradients(critic, exact=exact)
    with recompute(critic) as done:
        assert len(done) == sum(isinstance(m, Residual) for m in critic.modules()) > 0
        assert same(gradients(critic, exact=exact), before)
    assert same(gradients(critic, exact=exact), before)


def test_less_is_kept_for_the_backward_pass():
    critic, _ = networks()

    def kept() -> int:
        sizes = []

        def count(one: torch.Tensor) -> torch.Tensor:
            sizes.append(one.numel())
            return one

        with torch.autograd.graph.saved_tensors_hooks(count, lambda one: one):
            critic(torch.rand(2, 3, 16, 16))
        return sum(sizes)

    before = kept()
    with recompute(critic):
        assert kept() < 0.7 * before
    assert kept() == before


def test_names_of_weights_stay():
    _, generator = networks()
    names = list(generator.state_dict())
    done = recompute(generator)
    assert list(generator.state_dict()) == names
    done.undo()
    assert not any("forward" in one.__dict__ for one in generator.modules())


def test_a_copy_computes_with_its_own_weights():
    critic, _ = networks()
    with recompute(critic):
        other = copy.deepcopy(critic)
        with torch.no_grad():
            for one in other.parameters():
                one.mul_(2)
        images = torch.rand(2, 3, 16, 16)
        assert not torch.equal(other(images), critic(images))
        plain, _ = networks()
        with torch.no_grad():
            for one in plain.parameters():
                one.mul_(2)
        assert torch.equal(other(images), plain(images))


def test_networks_of_others_compute_again_in_parts():
    critic = own()
    before = gradients(critic)
    with recompute(critic) as done:
        assert len(done) == 1
        assert same(gradients(critic), before)


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(4), nn.Dropout(0.5)])
def test_layers_that_change_or_draw_do_so_once(layer):
    critic = own(layer)
    critic(torch.rand(2, 3, 16, 16))
    other = copy.deepcopy(critic)
    torch.manual_seed(3)
    before = gradients(critic)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    with recompute(other):
        assert same(gradients(other), before)
    assert torch.equal(torch.rand(1), drawn)
    for name, one in critic.state_dict().items():
        assert torch.equal(one, other.state_dict()[name])
