"""A plan counts what waits beside a step, and takes levers until it fits."""

from dataclasses import replace

import pytest
import torch

from fiberaug.models import Critic, Generator
from fiberaug.training.footprint import footprint, pretended
from fiberaug.training.gan_options import GANOptions
from fiberaug.training.gan_workload import GANWorkload
from fiberaug.training.levers import Levers
from fiberaug.training.plans import plan_for, with_time
from fiberaug.training.shapes import shapes_of

MIB = 2**20


@pytest.fixture(scope="module")
def work():
    torch.manual_seed(0)
    generator, critic = Generator(16, 2, 3, 8), Critic(16, 2, 3, 8)
    return GANWorkload(
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
    # what is added for doubt grows with the whole; what the process has varies
    assert 270 * MIB < with_them.peak - alone.peak < 340 * MIB


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


def test_a_step_in_which_a_large_generator_learns_is_the_worst(work):
    """Of one that learns at every fifth step of its critic, too."""
    wide = replace(work, generator=Generator(16, 2, 3, 48))
    often = replace(wide, options=GANOptions(critic_steps=5))
    one, other = (some.needs(Levers(), base=0, beside=0) for some in (wide, often))
    assert abs(one / other - 1) < 0.01


def test_rows_that_wait_for_their_part_are_counted(work):
    found = [
        replace(work, rows=rows).needs(Levers(micro_batches=rows), base=0, beside=0)
        for rows in (64, 1_064)
    ]
    rows = 1_000 * 16 * 16 * 3 * 4
    assert rows <= found[1] - found[0] < 1.3 * rows


def test_the_time_is_that_of_all_images(work):
    assert with_time(plan(work, images=600), 0.5).seconds == 300


def test_a_plan_counts_states_and_generators_on_the_disk(work):
    found = plan(work, warned=["few photos"])
    made, judged = (found.parameters[one] for one in ("generator", "critic"))
    weights, average = 4 * (made + judged), 4 * made
    moments = 2 * weights
    assert found.disk == 3 * (weights + average + moments) + 3 * average
    assert found.warned == ("few photos",)
    assert "warning: few photos" in str(found)


def test_holes_of_a_heap_are_not_counted_where_memory_goes_back_at_once(work):
    wide = replace(
        work, generator=Generator(64, 2, 3, 16), critic=Critic(64, 2, 3, 16), rows=32
    )
    wide = replace(wide, shapes=shapes_of(wide.generator, wide.critic))
    kept, given = (
        wide.needs(Levers(recompute=recompute), base=0, beside=0)
        for recompute in (False, True)
    )
    found = []
    for at_once in (False, True):

        def build():
            networks = {name: pretended(one) for name, one in wide.networks.items()}
            advance = wide.task(networks, Levers(recompute=True))
            return lambda: advance(wide._batch(32), step=0, nimg=0)

        found.append(footprint(build, at_once=at_once).total)
    assert given == pytest.approx(found[1], rel=0.01)
    assert found[1] < 0.9 * found[0], "most of it is in pieces of a megabyte"
    assert given < kept
