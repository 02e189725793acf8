"""A GAN's step: whose gradient moves what, when, by how much; and its whole state."""

import json
import threading
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import nn

from fiberaug.errors import StateMismatch
from fiberaug.models import Critic, Generator
from fiberaug.synthetic.gans import GANGenerator
from fiberaug.training.averaging import Average
from fiberaug.training.contracts import RealBatch
from fiberaug.training.drawing import Augmenter
from fiberaug.training.gan_options import GANOptions
from fiberaug.training.gan_task import GANTask
from fiberaug.training.levers import Levers
from fiberaug.training.networks import Network
from fiberaug.training.ranking import Ranks
from fiberaug.training.stepping import GANStep, Share

ROWS, SIDE, TOTAL = 4, 8, 1_600


def _networks():
    torch.manual_seed(1)
    made = Generator(SIDE, 2, 1, width=4, z_dim=3), Critic(SIDE, 2, 1, width=4)
    for module in made:  # exits begin at zero, and would hide much
        for weight in module.parameters():
            nn.init.normal_(weight, std=0.2)
    return made


def _batch(step):
    source = torch.Generator().manual_seed(step)
    images = torch.rand(ROWS, 1, SIDE, SIDE, generator=source) * 2 - 1
    return RealBatch(images, torch.randint(0, 2, (ROWS,), generator=source))


def _task(*, networks=None, levers=None, ranks=None, save=None, **options):
    options = {"seed": 7, "half_life": 30.0, "augment_share": 0.5} | options
    return GANTask(
        *(networks or _networks()), GANOptions(**options), latent=(3,), photos=100,
        total=TOTAL, levers=levers or Levers(), ranks=ranks or Ranks.alone(),
        save=save or (lambda *_: None),
    )  # fmt: skip


def _go(task, first, last):
    for step in range(first, last):
        told = task.step(_batch(step), step=step, nimg=step * ROWS)
    return told


def _same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].keys() == other[name].keys()
        for key, value in one[name].items():
            assert torch.equal(value, other[name][key]), (name, key)


def _copied(tensors):
    return {
        name: {key: value.detach().clone() for key, value in some.items()}
        for name, some in tensors.items()
    }


@pytest.mark.parametrize("loss", ["rpgan", "wgan-gp", "wgan-clip"])
def test_a_step_is_the_critics_then_the_generators_then_the_averages(loss):
    """Made by hand of the step's gradients and of Adam as torch has it."""
    options = GANOptions(
        loss=loss, seed=7, half_life=30.0, augment_share=0.5, critic_steps=2,
        lr="cosine 1e-2 1e-3", critic_lr="3e-3",
    )  # fmt: skip
    task = _task(loss=loss, critic_steps=2, lr="cosine 1e-2 1e-3", critic_lr="3e-3")
    generator, critic = _networks()
    average = Average(generator, half_life=30.0)
    stepper = GANStep(
        Network(generator, "generator"), Network(critic, "critic"), options.made,
        latent=(3,), augmenter=Augmenter("color,translation,cutout", 0.5), seed=7,
    )  # fmt: skip
    adams = [torch.optim.Adam(one.parameters()) for one in (generator, critic)]

    def move(adam, lr, betas):
        for group in adam.param_groups:
            group.update(lr=lr, betas=betas)
        adam.step()
        for module in (generator, critic):
            module.zero_grad()

    share = Share(0, ROWS)
    for step in range(4):
        nimg, batch = 100 + 350 * step, _batch(step)  # to where 30 images are less
        gamma = options.gamma_at(nimg, TOTAL, pixels=SIDE * SIDE, rows=ROWS)
        betas = options.betas_at(nimg, TOTAL)
        stepper.critic_half(batch, step=step, share=share, gamma=gamma)
        move(adams[1], 3e-3, betas)
        if loss == "wgan-clip":
            for weight in critic.parameters():
                weight.data.clamp_(-0.01, 0.01)
        if step % 2:
            stepper.generator_half(batch, step=step, share=share)
            move(adams[0], options.lr_at(nimg, TOTAL), betas)
            average.update(generator, images=2 * ROWS, nimg=nimg + ROWS)
        told = task.step(batch, step=step, nimg=nimg)
        found = task.tensors()
        assert told["lr"] == options.lr_at(nimg, TOTAL)
        assert told["gamma"] == gamma
        for name, module in (
            ("generator", generator), ("critic", critic), ("average", average.module),
        ):  # fmt: skip
            for key, value in module.state_dict().items():
                torch.testing.assert_close(
                    found[name][key], value, rtol=1e-5, atol=1e-7
                )


def test_a_restored_task_makes_the_step_that_the_first_one_makes():
    first = _task()
    _go(first, 0, 3)
    first.slow_down(2)
    tensors = _copied(first.tensors())
    facts = json.loads(json.dumps(first.facts()))
    told = _go(first, 3, 6)

    torch.manual_seed(9)
    other = _task(networks=(Generator(SIDE, 2, 1, 4, z_dim=3), Critic(SIDE, 2, 1, 4)))
    _go(other, 3, 4)  # whatever it did before is gone
    other.restore(tensors, facts)
    _same(other.tensors(), tensors)
    assert _go(other, 3, 6) == told
    _same(other.tensors(), first.tensors())
    assert other.slowed == 0.25


def test_a_restored_task_takes_the_levers_of_the_state_and_keeps_its_own():
    first = _task(levers=Levers(micro_batches=4, finite_difference=True))
    other = _task(levers=Levers(micro_batches=2, recompute=True))
    other.restore(first.tensors(), json.loads(json.dumps(first.facts())))
    assert asdict(other.levers) == {
        "micro_batches": 4, "finite_difference": True, "recompute": True, "bf16": False,
    }  # fmt: skip


@pytest.mark.parametrize(("fact", "value"), [("loss", "bce"), ("kind", "diffusion")])
def test_a_state_of_another_loss_or_kind_is_refused(fact, value):
    task = _task()
    with pytest.raises(StateMismatch, match=f"{fact} '{value}'"):
        task.restore(task.tensors(), {**task.facts(), fact: value})


def test_slowing_down_halves_the_rates_of_both_networks():
    one, other = _task(lr=0.01), _task(lr=0.0025)
    one.slow_down(2)
    assert _go(one, 0, 2) == _go(other, 0, 2)
    _same(one.tensors(), other.tensors())


def test_what_is_sampled_and_saved_is_the_average(tmp_path):
    saved = []
    task = _task(save=lambda *given: saved.append(given), lr=0.05)
    _go(task, 0, 4)
    average, live = (
        GANGenerator(module, latent=(3,)).generate([1, 2], [0, 1])
        for module in (task.average.module, task.generator.module)
    )
    task.generator.module.train()
    assert np.array_equal(task.sample([1, 2], [0, 1]), average)
    assert not np.array_equal(average, live)
    assert task.generator.module.training
    task.save_generator(tmp_path, {"a": 1})
    assert saved == [(task.average.module, tmp_path, {"a": 1})]


@pytest.mark.parametrize("where", ["generator", "critic", "average"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_one_weight_anywhere_that_is_not_finite_is_seen(where, value):
    task = _task()
    assert task.finite()
    found = task.modules() | {"average": task.average.module}
    with torch.no_grad():
        list(found[where].parameters())[-1].view(-1)[-1] = value
    assert not task.finite()


@pytest.mark.parametrize("half", ["critic_half", "generator_half"])
def test_a_step_made_again_after_an_error_of_memory_is_the_step(half, monkeypatch):
    task, usual = _task(), _task()
    original, left = getattr(task.stepper, half), [1]

    def fails(*args, **options):
        found = original(*args, **options)  # with the gradients of what it had made
        if left:
            left.pop()
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")
        return found

    monkeypatch.setattr(task.stepper, half, fails)
    with pytest.raises(MemoryError, match="can't allocate"):
        _go(task, 0, 1)
    assert _go(task, 0, 3) == _go(usual, 0, 3)
    _same(task.tensors(), usual.tensors())


def test_a_step_that_is_made_again_after_a_restore_moves_the_critic_again():
    task = _task()
    tensors, facts = _copied(task.tensors()), task.facts()
    _go(task, 0, 1)
    after = _copied(task.tensors())
    task.restore(tensors, facts)
    _go(task, 0, 1)
    _same(task.tensors(), after)


class Dropping(nn.Module):
    """A critic that draws by itself."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(SIDE**2, 1))

    def forward(self, x):
        return self.net(x)


def test_networks_that_draw_by_themselves_draw_from_the_step():
    made = []
    for seed in (1, 2):
        torch.manual_seed(3)
        task = _task(networks=(_networks()[0], Dropping()))
        torch.manual_seed(seed)  # of the user's program
        before = torch.get_rng_state()
        _go(task, 0, 2)
        assert torch.equal(torch.get_rng_state(), before)
        made.append(task.tensors())
    _same(*made)


def test_networks_that_draw_by_themselves_draw_anew_at_each_step():
    seen = []
    critic = Dropping()
    critic.net[1].register_forward_hook(lambda _, given, out: seen.append(out == 0))
    task = _task(networks=(_networks()[0], critic), augment="")
    _go(task, 0, 2)
    half = len(seen) // 2
    assert half > 1
    assert not torch.equal(seen[0], seen[half])


class Together(Ranks):
    """Two ranks that are threads of a process."""

    def __init__(self, rank, board, barrier):
        self.rank, self.world, self.board, self.barrier = rank, 2, board, barrier

    def _all(self, value):
        self.board[self.rank] = value
        self.barrier.wait(20)
        found = [self.board[0], self.board[1]]
        self.barrier.wait(20)
        return found

    def sum_(self, tensors):
        some = [one for one in tensors if one is not None]
        both = self._all([one.clone() for one in some])
        for one, a, b in zip(some, *both, strict=True):
            one.copy_(a + b)

    def any(self, said):
        return any(self._all(said))

    def told(self, value):
        return self._all(value)[0]

    def same_(self, tensors):
        some = list(tensors)
        first = self._all([one.clone() for one in some])[0]
        with torch.no_grad():
            for one, other in zip(some, first, strict=True):
                one.copy_(other)


def _on_two(work):
    """Return what two ranks give, by rank."""
    board, found, barrier = {}, {}, threading.Barrier(2)

    def run(rank):
        try:
            found[rank] = work(rank, Together(rank, board, barrier))
        except MemoryError as error:
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in (0, 1)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return found[0], found[1]


def _rows_of(rank, batch):
    half = ROWS // 2
    mine = slice(rank * half, (rank + 1) * half)
    return RealBatch(batch.images[mine], batch.labels[mine])


def test_two_ranks_of_other_weights_make_the_step_of_one_process():
    given = [_networks(), _networks()]
    for weight in [*given[1][0].parameters(), *given[1][1].parameters()]:
        nn.init.zeros_(weight)

    def work(rank, ranks):
        task = _task(networks=given[rank], ranks=ranks)
        for step in range(3):
            batch = _rows_of(rank, _batch(step))
            told = task.step(batch, step=step, nimg=step * ROWS)
        return told, task.tensors()

    alone = _task()
    expected = _go(alone, 0, 3)
    one, two = _on_two(work)
    _same(one[1], two[1])
    assert one[0] == two[0] == pytest.approx(expected, rel=1e-3, abs=1e-5)
    for name, some in alone.tensors().items():
        for key, value in some.items():
            torch.testing.assert_close(one[1][name][key], value, rtol=1e-2, atol=1e-4)


def test_ranks_fail_together_where_one_has_no_memory(monkeypatch):
    given = [_networks(), _networks()]

    def fails(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")

    def work(rank, ranks):
        task = _task(networks=given[rank], ranks=ranks)
        if rank:
            monkeypatch.setattr(task.stepper, "generator_half", fails)
        return task.step(_rows_of(rank, _batch(0)), step=0, nimg=0)

    told = _on_two(work)
    assert [str(one).partition(":")[0] for one in told] == [
        "another rank has no memory left", "DefaultCPUAllocator",
    ]  # fmt: skip
