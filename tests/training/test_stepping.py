"""A step's gradient does not depend on how its rows are divided."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fiberaug.models import Critic, Generator
from fiberaug.training.contracts import RealBatch
from fiberaug.training.drawing import Augmenter
from fiberaug.training.levers import Levers
from fiberaug.training.losses import LOSSES, loss_of
from fiberaug.training.networks import Conditions, Network
from fiberaug.training.penalties import squared_gradient, squared_slope
from fiberaug.training.stepping import GANStep, Share, parts

ROWS = 12


def _networks(*, places=False):
    torch.manual_seed(1)
    generator = Generator((8, 12), 3, 2, width=6, z_dim=5, places=places)
    critic = Critic((8, 12), 3, 2, width=6, places=places)
    for module in (generator, critic):  # exits begin at zero, and would hide much
        for weight in module.parameters():
            nn.init.normal_(weight, std=0.2)
    return generator, critic


def _batch(*, places=False):
    torch.manual_seed(2)
    return RealBatch(
        torch.rand(ROWS, 2, 8, 12) * 2 - 1,
        torch.randint(0, 3, (ROWS,)),
        torch.rand(ROWS, 3) if places else None,
    )


def _gradients(loss, levers, cuts=(), *, step=3, share=0.7, places=False):
    generator, critic = _networks(places=places)
    batch = _batch(places=places)
    stepper = GANStep(
        Network(generator, "generator"), Network(critic, "critic"), loss_of(loss),
        latent=(5,), augmenter=Augmenter("color,translation,cutout", share),
        levers=levers, seed=7,
    )  # fmt: skip
    edges = [0, *sorted(cuts), ROWS]
    figures = {}
    for first, last in itertools.pairwise(edges):
        if first == last:
            continue
        rows = slice(first, last)
        some = RealBatch(*(None if one is None else one[rows] for one in batch))
        mine = Share(first, ROWS)
        found = stepper.critic_half(some, step=step, share=mine, gamma=2.0)
        found |= stepper.generator_half(some, step=step, share=mine)
        for name, value in found.items():
            figures[name] = figures.get(name, 0.0) + float(value)
    halves = {
        name: torch.cat([one.grad.flatten().double() for one in module.parameters()])
        for name, module in (("generator", generator), ("critic", critic))
    }
    return halves, figures


def _apart(a, b):
    return max(float((a[k] - b[k]).norm() / a[k].norm().clamp(min=1e-30)) for k in a)


@settings(deadline=None, max_examples=25)
@given(
    loss=st.sampled_from(sorted(LOSSES)), micro=st.integers(1, ROWS + 3),
    cuts=st.lists(st.integers(0, ROWS), max_size=3),
    slopes=st.booleans(), share=st.sampled_from([0.0, 0.5, 1.0]), places=st.booleans(),
)  # fmt: skip
def test_micro_batches_and_ranks_give_the_gradient_of_the_whole_batch(
    loss, micro, cuts, slopes, share, places
):
    usual = Levers(finite_difference=slopes)
    whole, told = _gradients(loss, usual, share=share, places=places)
    levers = Levers(micro_batches=micro, finite_difference=slopes)
    divided, also = _gradients(loss, levers, cuts, share=share, places=places)
    # a difference along 0.01 makes what is rounded a hundred times as large
    assert _apart(whole, divided) < (1e-3 if slopes else 1e-5)
    assert all(abs(told[name] - also[name]) < 1e-4 for name in told)


def _in_words(stepper, half, batch, step, gamma):
    """Return the loss and the penalty of a half as their papers have them."""
    loss, rows, seen = stepper.loss, len(batch.images), {}
    draws = stepper.draws(half, step, Share(0, rows), batch.images.shape[1:])
    conditions = Conditions(batch.labels, batch.places)
    fake = stepper.generator(draws.latents, conditions)
    if half == "critic":
        fake = fake.detach()
    seen["real"] = stepper.augmenter(batch.images, draws.real)
    seen["fake"] = stepper.augmenter(fake, draws.fake)
    if half == "critic":
        seen = {name: one.detach().requires_grad_() for name, one in seen.items()}
    told = {name: stepper.critic.logits(one, conditions) for name, one in seen.items()}
    value = getattr(loss, half)(told["real"], told["fake"]).mean()
    if half == "generator":
        return value, torch.zeros(())
    penalty = torch.zeros(())
    if loss.penalty == "zero-centred":
        norms = [_norm(told[name], seen[name]).square() for name in seen]
        penalty = gamma / 2 * (norms[0] + norms[1]).mean()
    elif loss.penalty == "one-centred":
        share = draws.between[:, None, None, None]
        middle = (share * seen["fake"] + (1 - share) * seen["real"]).detach()
        middle.requires_grad_()
        norm = _norm(stepper.critic.logits(middle, conditions), middle)
        penalty = gamma * (norm - 1).square().mean()
    return value, penalty


def _norm(logits, images):
    (found,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return found.flatten(1).norm(dim=1)


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("half", ["critic", "generator"])
def test_a_half_makes_small_what_its_paper_says(loss, half):
    generator, critic = _networks(places=True)
    stepper = GANStep(
        Network(generator, "generator"), Network(critic, "critic"), loss_of(loss),
        latent=(5,), augmenter=Augmenter("color,translation,cutout", 0.7), seed=7,
    )  # fmt: skip
    batch, module = (
        _batch(places=True),
        {"critic": critic, "generator": generator}[half],
    )
    value, penalty = _in_words(stepper, half, batch, 3, 2.0)
    weights = list(module.parameters())
    expected = torch.autograd.grad(value + penalty, weights)
    share = Share(0, ROWS)
    if half == "critic":
        told = stepper.critic_half(batch, step=3, share=share, gamma=2.0)
        torch.testing.assert_close(told["penalty"], penalty.detach())
    else:
        told = stepper.generator_half(batch, step=3, share=share)
    torch.testing.assert_close(told[f"loss_{half}"], value.detach())
    for weight, gradient in zip(weights, expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-4, atol=1e-6)


def test_a_difference_of_two_logits_is_not_taken_in_bfloat16():
    _, usual = _gradients("rpgan", Levers(finite_difference=True))
    _, rounded = _gradients("rpgan", Levers(finite_difference=True, bf16=True))
    assert rounded["penalty"] == pytest.approx(usual["penalty"], rel=0.05)


def test_figures_tell_how_far_the_critic_is():
    """A critic that gives real photos more: the gap is above 0, and all are right."""
    generator, _ = _networks()
    critic = nn.Sequential(nn.Flatten(), nn.Linear(2 * 8 * 12, 1))
    stepper = GANStep(
        Network(generator, "generator"), Network(critic, "critic"), loss_of("bce"),
        latent=(5,), augmenter=Augmenter("", 0), seed=7,
    )  # fmt: skip
    nn.init.zeros_(critic[1].bias)
    nn.init.constant_(critic[1].weight, 1 / (2 * 8 * 12))
    with torch.no_grad():
        generator.out.weight.zero_()
        generator.out.bias.fill_(-2.0)
    batch = _batch()
    told = stepper.critic_half(batch, step=0, share=Share(0, ROWS), gamma=0.0)
    assert float(told["right"]) == 1.0
    assert float(told["gap"]) == pytest.approx(float(batch.images.mean()) + 2, abs=1e-4)


def test_all_that_is_drawn_is_drawn_anew():
    """Of each half, step, seed and row, and of real and generated images."""
    generator, critic = _networks()
    made = {
        seed: GANStep(
            Network(generator, "generator"), Network(critic, "critic"),
            loss_of("wgan-gp"), latent=(5,), seed=seed,
            augmenter=Augmenter("color,translation,cutout", 0.5),
        )
        for seed in (1, 1 + 2**32)
    }  # fmt: skip
    image = torch.Size((2, 8, 12))
    seen = []
    for seed, step, half in itertools.product(made, (0, 1), ("critic", "generator")):
        whole = made[seed].draws(half, step, Share(0, ROWS), image)
        mine = made[seed].draws(half, step, Share(5, ROWS), image)
        assert torch.equal(mine.latents, whole.latents[5:])
        for name, value in whole.real.items():
            assert torch.equal(mine.real[name], value[5:])
            assert torch.equal(mine.fake[name], whole.fake[name][5:])
        seen += [tuple(row.tolist()) for row in whole.latents]
        some = [name for name, value in whole.real.items() if value.is_floating_point()]
        assert some
        for name in some:
            assert not torch.equal(whole.real[name], whole.fake[name])
    assert len(set(seen)) == 8 * ROWS


@pytest.mark.parametrize("share", [0.25, 0.75, 1.0])
def test_so_large_a_share_of_the_rows_is_augmented(share):
    images = torch.rand(4_000, 1, 4, 4)
    augmenter = Augmenter("color", share)
    drawn = augmenter.draw(tuple(images.shape), torch.Generator().manual_seed(0))
    other = (augmenter(images, drawn) != images).flatten(1).any(1)
    assert torch.equal(other, drawn["chosen"])
    assert float(other.float().mean()) == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_a_step_draws_by_its_number_and_its_seed(loss):
    one, _ = _gradients(loss, Levers())
    again, _ = _gradients(loss, Levers())
    other, _ = _gradients(loss, Levers(), step=4)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert _apart(one, other) > 1e-3


def test_each_half_leaves_the_weights_of_the_other_network_alone():
    generator, critic = _networks()
    stepper = GANStep(
        Network(generator, "generator"), Network(critic, "critic"), loss_of("rpgan"),
        latent=(5,), augmenter=Augmenter("", 0),
    )  # fmt: skip
    share = Share(0, ROWS)
    stepper.critic_half(_batch(), step=0, share=share, gamma=1.0)
    assert all(one.grad is None for one in generator.parameters())
    assert all(one.grad is not None for one in critic.parameters())
    critic.zero_grad(set_to_none=True)
    stepper.generator_half(_batch(), step=0, share=share)
    assert all(one.grad is None for one in critic.parameters())
    assert all(one.grad is not None for one in generator.parameters())
    assert all(one.requires_grad for one in critic.parameters())


def test_the_losses_are_those_of_their_papers():
    real, fake = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])

    def log_sigmoid(x):
        return torch.log(1 / (1 + torch.exp(-x)))

    paired = loss_of("rpgan")
    assert torch.allclose(paired.critic(real, fake), -log_sigmoid(real - fake))
    assert torch.allclose(paired.generator(real, fake), -log_sigmoid(fake - real))
    entropy = loss_of("bce")
    expected = -log_sigmoid(real) - torch.log(1 - torch.sigmoid(fake))
    assert torch.allclose(entropy.critic(real, fake), expected)
    assert torch.allclose(entropy.generator(real, fake), -log_sigmoid(fake))
    for name in ("wgan-gp", "wgan-clip"):
        assert torch.equal(loss_of(name).critic(real, fake), fake - real)
        assert torch.equal(loss_of(name).generator(real, fake), -fake)


def test_the_penalty_of_a_linear_critic_is_the_square_of_its_weights():
    weights = torch.randn(2, 3, 4)
    images = torch.randn(5, 2, 3, 4, requires_grad=True)
    logits = (images * weights).sum((1, 2, 3)) * torch.arange(1.0, 6)
    found = squared_gradient(logits, images)
    assert torch.allclose(found, weights.square().sum() * torch.arange(1.0, 6) ** 2)


def test_slopes_have_the_penalty_as_their_mean():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(24, 16), nn.Tanh(), nn.Linear(16, 1))
    critic = critic.double()
    image = torch.randn(1, 2, 3, 4, dtype=torch.float64).repeat(20_000, 1, 1, 1)
    image.requires_grad_()
    logits = critic(image)[:, 0]
    exact = float(squared_gradient(logits, image)[0].detach())
    along = torch.randn_like(image)
    found = squared_slope(lambda x: critic(x)[:, 0], logits, image, along)
    assert abs(float(found.detach().mean()) / exact - 1) < 0.05


def test_the_penalty_pushes_the_critic_towards_flatness():
    generator, critic = _networks()
    stepper = GANStep(
        Network(generator, "generator"), Network(critic, "critic"), loss_of("rpgan"),
        latent=(5,), augmenter=Augmenter("", 0),
    )  # fmt: skip
    optimiser = torch.optim.Adam(critic.parameters(), lr=1e-3)
    told = []
    for _ in range(15):
        optimiser.zero_grad()
        found = stepper.critic_half(_batch(), step=0, share=Share(0, ROWS), gamma=1e4)
        told.append(float(found["penalty"]))
        optimiser.step()
    assert told[-1] < told[0] / 2


@given(rows=st.integers(1, 50), count=st.integers(1, 60))
def test_parts_cover_each_row_once(rows, count):
    found = list(parts(rows, count))
    assert [i for one in found for i in range(one.start, one.stop)] == list(range(rows))
    lengths = [one.stop - one.start for one in found]
    assert max(lengths) - min(lengths) <= 1
