"""What a step takes is known before any of it is asked for."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from fiberaug.models import Critic, Generator
from fiberaug.training.contracts import RealBatch
from fiberaug.training.drawing import Augmenter
from fiberaug.training.footprint import Footprint, footprint, pretended
from fiberaug.training.footprint_heap import CachingHeap, HoledHeap, heap_of
from fiberaug.training.footprint_process import base_bytes, resident_bytes
from fiberaug.training.footprint_workspace import workspace
from fiberaug.training.levers import Levers
from fiberaug.training.losses import loss_of
from fiberaug.training.networks import Network
from fiberaug.training.recomputing import recompute
from fiberaug.training.stepping import GANStep, Share

MIB = 2**20
BENCH = Path(__file__).parents[2] / "benchmarks" / "bench_footprint.py"


def of_gan(levers: Levers, rows: int = 8, size: int = 16) -> Footprint:
    """Return the footprint of both halves of a step and of Adam."""
    made = Generator(size, width=4), Critic(size, width=4)

    def build():
        generator, critic = (pretended(one) for one in made)
        if levers.recompute:
            for one in (generator, critic):
                recompute(one)
        step = GANStep(
            Network(generator, "generator"), Network(critic, "critic"),
            loss_of("rpgan"), latent=(128,), levers=levers,
            augmenter=Augmenter("color,translation,cutout", 1.0),
        )  # fmt: skip
        adam = [torch.optim.Adam(one.parameters()) for one in (generator, critic)]
        batch = RealBatch(torch.empty(rows, 3, size, size))
        share = Share(0, rows)

        def make() -> None:
            step.critic_half(batch, step=0, share=share, gamma=1.0)
            step.generator_half(batch, step=0, share=share)
            for one in adam:
                one.step()
                one.zero_grad()

        return make

    return footprint(build)


def working(found: Footprint) -> int:
    return found.tensors - found.kept


@pytest.fixture(scope="module")
def plain():
    return of_gan(Levers())


def test_bytes_are_counted_to_the_byte():
    def build():
        weight = torch.empty(MIB)

        def step() -> None:
            twice = weight * 2
            more = twice + 1
            del twice
            more.view(2, -1).mul_(3)

        return step

    found = footprint(build)
    assert found.kept == 4 * MIB
    assert found.tensors == 12 * MIB
    assert found.step >= 12 * MIB
    assert "add" in found.worst


def test_tensors_from_before_count_once():
    weight = torch.empty(MIB)
    found = footprint(lambda: lambda: (weight + 1, weight + 2))
    assert found.kept == 4 * MIB
    assert found.tensors == 12 * MIB


def test_rows_count_in_proportion(plain):
    assert working(of_gan(Levers(), rows=16)) == pytest.approx(
        2 * working(plain), rel=0.1
    )


@pytest.mark.parametrize(
    ("levers", "share"),
    [
        (Levers(micro_batches=4), 0.5),
        (Levers(bf16=True), 0.75),
        (Levers(finite_difference=True, recompute=True), 0.9),
    ],
)
def test_each_lever_saves(plain, levers, share):
    assert working(of_gan(levers)) < share * working(plain)


def test_recomputation_saves_nothing_with_exact_penalties(plain):
    assert working(of_gan(Levers(recompute=True))) > 0.9 * working(plain)


def test_two_parts_stand_for_many():
    levers, rows = Levers(micro_batches=8).two_parts(16)
    some, all_ = of_gan(levers, rows), of_gan(Levers(micro_batches=8), 16)
    assert working(some) == pytest.approx(working(all_), rel=0.15)


def test_nothing_is_asked_for():
    base_bytes()
    before = resident_bytes()

    def build():
        critic = nn.Conv2d(3, 4096, 3)
        return lambda: critic(torch.empty(4096, 3, 256, 256)).sum().backward()

    assert footprint(build).tensors > 10**12
    assert resident_bytes() - before < 100 * MIB


def test_a_network_stays_what_it_is():
    critic = Critic(16, width=4)
    before = {name: one.clone() for name, one in critic.state_dict().items()}

    def build():
        copy = pretended(critic)
        assert list(copy.state_dict()) == list(before)
        return lambda: copy(torch.empty(2, 3, 16, 16)).sum().backward()

    footprint(build)
    assert all(one.grad is None for one in critic.parameters())
    after = critic.state_dict()
    assert all(torch.equal(one, after[name]) for name, one in before.items())


def test_a_footprint_is_told_with_its_parts():
    found = footprint(lambda: lambda: None, base=10**6, beside=2 * 10**6)
    assert found.total == 3 * 10**6
    assert str(found).startswith("3.0 MB: 1.0 MB the process")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@settings(deadline=None)
@given(
    acts=st.lists(st.tuples(st.integers(1, 64 * MIB), st.integers(0, 30)), max_size=60)
)
def test_an_allocator_has_what_is_in_use_and_not_twice_of_it(device, acts):
    heap, held, most = heap_of(device), [], 0
    for size, which in acts:
        held.append((size, heap.take(size)))
        most = max(most, sum(one for one, _ in held))
        assert heap.peak >= most
        if which < len(held):
            heap.give(held.pop(which)[1])
    if device == "cpu":
        assert heap.peak <= 1.5 * most + 1


@given(
    acts=st.lists(st.tuples(st.integers(1, 64 * MIB), st.integers(0, 30)), max_size=60)
)
def test_pieces_of_a_gpu_do_not_overlap(acts):
    heap, held = CachingHeap(), []
    for size, which in acts:
        held.append(heap.take(size))
        assert held[-1].size >= size
        if which < len(held):
            heap.give(held.pop(which))
        lying = sorted((one.at, one.at + one.size) for one in held)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(lying))


@pytest.mark.parametrize("make", [HoledHeap, CachingHeap])
def test_what_was_given_back_is_used_again(make):
    heap = make()
    sizes = [3 * MIB, 50_000, 20 * MIB, 7 * MIB]
    peaks = []
    for number in range(30):
        pieces = [heap.take(size) for size in sizes]
        for piece in pieces[:: 1 if number % 2 else -1]:
            heap.give(piece)
        peaks.append(heap.peak)
    assert peaks[-1] == peaks[9]


def test_pieces_above_32_mib_leave_no_holes():
    small, large = HoledHeap(), HoledHeap()
    small.take(31 * MIB)
    large.take(33 * MIB)
    assert large.peak == 33 * MIB < small.peak


def test_a_convolution_takes_copies_in_blocks_of_16_channels():
    images, weight = torch.empty(4, 20, 8, 8), torch.empty(3, 20, 3, 3)
    out = functional.conv2d(images, weight, padding=1)
    found = workspace("aten::convolution", (images, weight), [out])
    assert found.first == (4 * 32 * 64 * 4, weight.numel() * 4)
    assert found.beside == (4 * 16 * 64 * 4,)
    assert workspace("aten::mul", (images, 2), [images]) == ((), ())


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads /proc/self/status"
)
@pytest.mark.parametrize("levers", ["none", "micro-batches"])
def test_a_process_takes_what_was_predicted(levers):
    command = [sys.executable, str(BENCH), "--row", "32", levers, "--steps", "2"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert 0.75 < found["ratio"] < 1.3
