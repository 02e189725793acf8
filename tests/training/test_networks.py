"""Networks of the user's own are called with what they take."""

import pytest
import torch
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.models import Critic, Generator
from fiberaug.models.calling import latent_shape
from fiberaug.training.networks import Conditions, Network
from fiberaug.training.shapes import shapes_of


class OwnGenerator(nn.Module):
    def __init__(self, z_dim=7):
        super().__init__()
        self.up = nn.ConvTranspose2d(z_dim, 3, 8)

    def forward(self, z):
        return self.up(z)


class OwnCritic(nn.Module):
    def __init__(self, numbers=1):
        super().__init__()
        self.down = nn.Conv2d(3, numbers, 8)

    def forward(self, x):
        return self.down(x)


class Labelled(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(4, 12)
        self.z_dim = 12

    def forward(self, z, y):
        return (z * self.table(y)).view(-1, 3, 2, 2)


class Needy(nn.Module):
    def forward(self, z, temperature):
        return z * temperature


def test_a_network_gets_the_conditions_that_it_names():
    labels = torch.tensor([1, 3])
    network, z = Network(Labelled(), "generator"), torch.randn(2, 12)
    expected = (z * network.module.table(labels)).view(2, 3, 2, 2)
    found = network(z, Conditions(labels, torch.zeros(2, 3)))
    assert torch.equal(found, expected)
    assert network.conditioned
    assert not network.placed


class Placed(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Linear(3, 12)
        self.z_dim = 12

    def forward(self, z, positions):
        return (z * self.table(positions)).view(-1, 3, 2, 2)


def test_a_network_gets_the_places_of_its_rows():
    places = torch.randn(4, 3)
    network, z = Network(Placed(), "generator"), torch.randn(2, 12)
    some = Conditions(torch.zeros(4), places).rows(slice(1, 3))
    expected = (z * network.module.table(places[1:3])).view(2, 3, 2, 2)
    assert torch.equal(network(z, some), expected)
    assert (network.conditioned, network.placed) == (False, True)


def test_a_network_of_ours_takes_what_it_is_made_for():
    for classes, places in ((0, False), (3, True)):
        made = Generator(8, classes, width=4, places=places)
        network = Network(made, "generator")
        assert (network.conditioned, network.placed) == (classes > 0, places)


def test_windows_are_for_where_either_network_takes_places():
    def places(generator, critic):
        made = Generator(8, width=4, places=generator)
        return shapes_of(made, Critic(8, width=4, places=critic)).places

    assert places(True, False)  # noqa: FBT003  # which of them
    assert places(False, True)  # noqa: FBT003
    assert not places(False, False)  # noqa: FBT003


def test_a_network_that_needs_something_else_is_refused_by_its_name():
    with pytest.raises(UsageError, match="temperature"):
        Network(Needy(), "generator")


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (OwnGenerator(9), (9, 1, 1)),
        (nn.Sequential(nn.Linear(11, 4), nn.ReLU()), (11,)),
        (Labelled(), (12,)),
        (Generator(8, width=4, z_dim=6), (6,)),
    ],
)
def test_the_latent_of_a_generator_is_found(module, shape):
    assert latent_shape(module) == shape


def test_a_latent_that_cannot_be_found_is_asked_for():
    with pytest.raises(UsageError, match="shape of one latent"):
        latent_shape(nn.Sequential(nn.Flatten(), nn.Tanh()))


def test_what_networks_are_made_for_is_found_without_changing_them():
    generator, critic = Generator((8, 12), 3, 1, 4), Critic((8, 12), 3, 1, 4)
    critic.eval()
    found = shapes_of(generator, critic)
    assert (found.size, found.channels, found.classes) == ((8, 12), 1, 3)
    assert generator.training
    assert not critic.training
    own = shapes_of(OwnGenerator(), OwnCritic())
    assert (own.latent, own.size, own.classes) == ((7, 1, 1), (8, 8), 0)


@pytest.mark.parametrize(
    ("generator", "critic", "said"),
    [
        (OwnGenerator(), OwnCritic(2), "one number for each"),
        (OwnGenerator(), Critic(16, channels=3, width=4), "cannot be run"),
        (nn.Linear(3, 4), OwnCritic(), r"images \[B, C, H, W\]"),
        (Generator(8, 3, width=4), Critic(8, 4, width=4), "3 classes.*4"),
        (nn.ConvTranspose2d(4, 5, 8), OwnCritic(), "1 to 4 channels"),
    ],
)
def test_networks_that_do_not_fit_are_refused_before_training(generator, critic, said):
    with pytest.raises(UsageError, match=said):
        shapes_of(generator, critic)


def test_a_logit_is_one_number_an_image():
    images = torch.randn(5, 3, 8, 8)
    network = Network(OwnCritic(), "critic")
    assert network.logits(images, Conditions()).shape == (5,)
