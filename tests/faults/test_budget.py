"""Workers share one budget of broken samples, in our loader and in torch's."""

import logging

import pytest
from sets import cut_jpeg, photo, samples
from torch.utils.data import DataLoader as TorchLoader

import fiberaug
from fiberaug.budget import LEAST, SharedBudget
from fiberaug.errors import BudgetExceeded
from fiberaug.making import Failure

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def shards(write_set):
    """Sixty samples of which twelve, two more than are allowed, are broken."""

    def content():
        for i, sample in enumerate(samples(60)):
            yield {**sample, "image": cut_jpeg(i) if i % 5 == 0 else photo(i, 120, 160)}

    return write_set(content(), shard_size="200kB")


def failure(uid: int, key: str | None = "k") -> Failure:
    return Failure("s.tar", key, 512, "decode", "cut", uid, 0, 0, 0)


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_in_our_loader(shards, num_workers):
    options = {"multiprocessing_context": "fork"} if num_workers else {}
    loader = fiberaug.DataLoader(
        fiberaug.StreamingDataset(shards), 4, num_workers=num_workers, **options
    )
    with pytest.raises(fiberaug.BudgetExceeded, match=r"11 samples .* allows 10"):
        list(loader)


@pytest.mark.parametrize(
    ("num_workers", "context"),
    [
        (0, None),
        (1, "fork"),
        (3, "fork"),
        pytest.param(3, "spawn", marks=pytest.mark.slow),
    ],
)
def test_in_a_plain_torch_loader_no_worker_alone_meets_too_many(
    shards, num_workers, context
):
    """Three workers meet four each; together they meet twelve."""
    options = {"multiprocessing_context": context} if num_workers else {}
    dataset = fiberaug.StreamingDataset(shards, batch_size=4)
    loader = TorchLoader(dataset, batch_size=4, num_workers=num_workers, **options)
    with pytest.raises(fiberaug.BudgetExceeded, match=r"samples .* allows 10"):
        list(loader)


def test_a_plain_loader_has_a_budget_for_each_epoch(shards):
    """In the same processes, and whatever the epoch before has used up."""
    dataset = fiberaug.StreamingDataset(shards, batch_size=4, max_errors=0.2)
    loader = TorchLoader(dataset, batch_size=4, num_workers=2, persistent_workers=True)

    assert [sum(len(b["__key__"]) for b in loader) for _ in range(3)] == [60] * 3


def test_broken_samples_of_a_plain_loader_are_logged(shards, caplog):
    dataset = fiberaug.StreamingDataset(shards, max_errors=0.2)
    with caplog.at_level(logging.WARNING):
        rows = list(dataset)

    assert len(rows) == 60
    assert caplog.text.count("broken sample: ") == 12


def test_in_evaluation_masked_samples_count_too(shards):
    loader = fiberaug.DataLoader(fiberaug.StreamingDataset(shards, train=False), 4)
    with pytest.raises(fiberaug.BudgetExceeded):
        list(loader)


def test_workers_count_together_each_sample_once():
    budget = SharedBudget()
    workers = [SharedBudget() for _ in range(4)]
    for worker in workers:
        worker._slots = budget._slots
    for uid in range(LEAST):
        for worker in (workers[uid % 4], workers[(uid + 1) % 4]):
            worker.spend([failure(2**40 * uid + 5)], epoch=3, share=0, samples=9)
    with pytest.raises(BudgetExceeded, match="11 samples of this epoch"):
        workers[0].spend([failure(2**63 + 7)], epoch=3, share=0, samples=9)
    workers[0].spend([failure(2**63 + 7)], epoch=4, share=0, samples=9)


def test_a_slot_that_another_worker_took_is_made_up_for():
    budget = SharedBudget()
    budget.spend([failure(20)], epoch=0, share=0, samples=9)
    budget._slots[20] = 0  # as if another had written there at the same time
    for uid in range(21, 21 + LEAST - 1):
        budget.spend([failure(uid)], epoch=0, share=0, samples=9)
    other = SharedBudget()
    other._slots = budget._slots
    with pytest.raises(BudgetExceeded, match="11 samples"):
        other.spend([failure(99)], epoch=0, share=0, samples=9)


def test_damaged_shards_use_up_nothing():
    budget = SharedBudget()
    shards = [failure(uid, key=None)._replace(shard=f"{uid}.tar") for uid in range(50)]
    budget.spend(shards, epoch=0, share=0, samples=9)
