"""A plan counts what waits beside a step, and takes levers until it fits."""

from dataclasses import replace

import pytest
import torch

from fiberaug.models import Critic, Generator
from fiberaug.training.gan_options import GANOptions
from fiberaug.training.levers import Levers
from fiberaug.training.plans import Workload, plan_for
from fiberaug.training.shapes import shapes_of

MIB = 2**20


@pytest.fixture(scope="module")
def work():
    torch.manual_seed(0)
    generator, critic = Generator(16, 2, 3, 8), Critic(16, 2, 3, 8)
    return Workload(
        generator=generator, critic=critic, options=GANOptions(),
        shapes=shapes_of(generator, critic), rows=16, photos=100, conditioned=True,
        places=False,
    )  # fmt: skip


def plan(work, **options):
    usual = {"images": 1_000, "memory": "20GB", "levers": Levers(), "may_bf16": False}
    return plan_for(work, **(usual | options))


def test_processes_that_read_photos_take_of_the_same_memory(work):
    alone = plan(work)
    with_them = plan(work, workers_bytes=300 * MIB)
    assert abs(with_them.peak - alone.peak - 300 * MIB) < 8 * MIB


def test_batches_that_wait_are_counted(work):
    images = 16 * 16 * 3
    assert work.beside == 3 * 16 * images * 4 + 32 * images * 6
    few = replace(work, rows=8)
    assert work.beside - few.beside == 3 * 8 * images * 4


def test_levers_are_taken_until_it_fits_and_named(work):
    whole = plan(work)
    assert whole.said == ()
    assert whole.levers == Levers()
    found = plan(work, memory=whole.peak - 1)
    assert found.budget == whole.peak - 1
    assert found.peak <= found.budget
    assert found.levers.micro_batches > 1
    assert any("micro-batches" in one for one in found.said)


def test_a_step_without_the_generators_half_is_not_the_worst(work):
    """A network that takes five steps of its critic is planned with the sixth part."""
    often = replace(work, options=GANOptions(critic_steps=5))
    assert abs(plan(often).peak - plan(work).peak) < MIB


def test_a_plan_counts_states_and_generators_on_the_disk(work):
    found = plan(work, warned=["few photos"])
    made, judged = found.parameters
    weights, average = 4 * (made + judged), 4 * made
    moments = 2 * weights
    assert found.disk == 3 * (weights + average + moments) + 3 * average
    assert found.warned == ("few photos",)
    assert "warning: few photos" in str(found)
