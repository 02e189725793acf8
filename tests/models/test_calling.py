"""Laws of calling modules: each gets what its ``forward`` names, and no more."""

import pytest
import torch
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.models import Critic, Generator
from fiberaug.models.calling import call_network, conditions_of, latent_shape


class Told(nn.Module):
    """Returns what it was given."""

    def forward(self, z, y=None, *, position=None):
        return z, y, position


class Plain(nn.Module):
    def forward(self, z, **more):
        return z


class Demanding(nn.Module):
    def forward(self, z, mood):
        return z


class Configured(nn.Module):
    """One of this library's, whose latents are flat whatever its first layer is."""

    config, z_dim = object(), 6

    def __init__(self):
        super().__init__()
        self.up = nn.Conv2d(4, 3, 1)


def test_conditions_are_given_under_the_names_that_a_module_has():
    z, labels, places = torch.zeros(1), torch.ones(1), torch.full((1, 3), 2.0)

    assert call_network(Told(), z, labels, places) == (z, labels, places)
    assert call_network(Told(), z, labels) == (z, labels, None)
    assert call_network(Plain(), z, labels, places) is z
    assert conditions_of(Plain()) == {}
    assert set(conditions_of(Critic(8, width=2))) == {"labels", "places"}


def test_a_module_that_needs_more_is_refused():
    with pytest.raises(UsageError, match="Demanding needs an argument 'mood'"):
        conditions_of(Demanding())


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (Generator(8, width=2, z_dim=5), (5,)),
        (nn.Sequential(nn.Linear(7, 3)), (7,)),
        (Configured(), (6,)),
        (nn.Sequential(nn.ConvTranspose2d(9, 3, 4)), (9, 1, 1)),
    ],
)
def test_the_shape_of_a_latent_is_found(module, shape):
    assert latent_shape(module) == shape


def test_an_attribute_says_the_shape_of_a_latent():
    module = nn.Sequential(nn.ConvTranspose2d(9, 3, 4))
    module.nz = 6
    assert latent_shape(module) == (6, 1, 1)
    module.latent_shape = (6, 2)
    assert latent_shape(module) == (6, 2)
    with pytest.raises(UsageError, match="which latents ReLU takes is not known"):
        latent_shape(nn.ReLU())
