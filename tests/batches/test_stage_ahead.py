"""Batches that are begun before their turn, and told in it."""

import pytest
import torch
from sets import samples
from staged import loader, operations

import fiberaug
from fiberaug.loading import Ahead
from fiberaug.transport import Message


def messages(count, *, last=None):
    """Messages that note which of them were asked for."""
    asked = []

    def come():
        for number in range(count):
            asked.append(number)
            yield Message(end=number)
        if last is not None:
            asked.append(count)
            yield last

    return come(), asked


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_message_comes_once_and_in_order_with_its_batch(depth):
    source, asked = messages(5)
    ahead = Ahead(source, lambda message: message.end * 10, depth)

    for number in range(5):
        message, _, made, error = next(ahead)
        assert (message.end, made, error) == (number, number * 10, None)
        assert len(asked) == min(5, number + depth)
    assert next(ahead).message is None
    assert next(ahead).message is None


@pytest.mark.parametrize("last", [Message(end=9, over=True), Message(end=9, error=b"")])
def test_the_end_and_errors_of_workers_come_in_their_turn(last):
    source, _ = messages(2, last=last)
    ahead = Ahead(source, lambda message: message.end, 2)

    assert [next(ahead).made for _ in range(2)] == [0, 1]
    assert next(ahead) == (last, pytest.approx(0, abs=5), None, None)
    assert next(ahead).message is None


def test_what_goes_wrong_with_a_batch_is_told_after_the_ones_before_it():
    def make(message):
        if message.end == 1:
            raise ValueError("of one")
        return message.end

    source, asked = messages(4)
    ahead = Ahead(source, make, 3)

    assert next(ahead).made == 0
    assert isinstance(next(ahead).error, ValueError)
    assert asked == [0, 1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gets_the_same_records_and_nearly_the_same_pixels(tmp_path):
    fiberaug.convert(samples(90), tmp_path / "set", progress=False)
    dataset = loader(tmp_path / "set", 16).dataset
    for batch, expected in zip(
        fiberaug.DataLoader(
            dataset, 16, num_workers=2, gpu_transform=operations(), device="cuda"
        ),
        fiberaug.DataLoader(dataset, 16, gpu_transform=operations()),
        strict=True,
    ):
        assert batch["image"].is_cuda
        assert list(batch["record"]) == list(expected["record"])
        torch.testing.assert_close(
            batch["image"].cpu(), expected["image"], atol=2e-3, rtol=1e-3
        )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_not_waited_for(tmp_path):
    fiberaug.convert(samples(200), tmp_path / "set", progress=False)
    dataset = loader(tmp_path / "set", 16).dataset
    run = fiberaug.DataLoader(
        dataset, 16, num_workers=2, gpu_transform=operations(), device="cuda"
    )
    batches = iter(run)
    sums = [next(batches)["image"].sum() for _ in range(3)]  # streams and caches exist
    torch.cuda.set_sync_debug_mode("error")
    try:
        sums += [batch["image"].sum() for batch in batches]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(torch.stack(sums)).all()
