"""In a plain torch DataLoader the order, the epochs and the resume are as in ours."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader as TorchLoader

import fiberaug
from fiberaug import passes
from fiberaug.passes import PassControl


def ours(shards, batch_size, epochs=1, **dataset):
    loader = fiberaug.DataLoader(
        fiberaug.StreamingDataset(shards, **dataset), batch_size
    )
    return [[key for b in loader for key in b["__key__"]] for _ in range(epochs)]


def plain(dataset, batch_size, epochs=1, **options):
    loader = TorchLoader(dataset, batch_size=batch_size, **options)
    return [[key for b in loader for key in b["__key__"]] for _ in range(epochs)]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_workers": 1},
        {"num_workers": 3},
        {"num_workers": 2, "persistent_workers": True},
        {"num_workers": 2, "multiprocessing_context": "spawn"},
    ],
    ids=str,
)
def test_three_epochs_are_those_of_our_loader(write_set, options):
    shards = write_set(50)
    dataset = fiberaug.StreamingDataset(shards, batch_size=8)

    assert plain(dataset, 8, 3, **options) == ours(shards, 8, 3)


def test_several_workers_must_be_told_the_batch_size(write_set):
    loader = TorchLoader(
        fiberaug.StreamingDataset(write_set(20)), batch_size=4, num_workers=2
    )
    with pytest.raises(fiberaug.UsageError, match="give the data set batch_size="):
        next(iter(loader))


def test_one_process_needs_not_be_told(write_set):
    shards = write_set(20)

    assert plain(fiberaug.StreamingDataset(shards), 4) == ours(shards, 4)


def test_samples_without_a_batch_are_in_the_order_of_positions(write_set):
    shards = write_set(20)
    loader = TorchLoader(
        fiberaug.StreamingDataset(shards, batch_size=1), batch_size=None, num_workers=2
    )

    assert [s["__key__"] for s in loader] == ours(shards, 1)[0]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_set_epoch_reaches_workers_and_the_next_pass_goes_on_from_there(
    write_set, num_workers
):
    shards = write_set(30)
    epochs = ours(shards, 5, 6)
    dataset = fiberaug.StreamingDataset(shards, batch_size=5)
    loader = TorchLoader(
        dataset,
        batch_size=5,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )

    def one():
        return [key for b in loader for key in b["__key__"]]

    assert one() == epochs[0]
    dataset.set_epoch(4)
    assert one() == epochs[4]
    assert one() == epochs[5]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_state_of_our_loader_resumes_a_plain_one(write_set, num_workers):
    shards = write_set(30)
    epochs = ours(shards, 5, 3)
    loader = fiberaug.DataLoader(fiberaug.StreamingDataset(shards), 5)
    list(loader)
    running = iter(loader)
    next(running)
    next(running)
    dataset = fiberaug.StreamingDataset(shards, batch_size=5)
    dataset.load_state_dict(json.loads(json.dumps(loader.state_dict())))

    rest, following = plain(dataset, 5, 2, num_workers=num_workers)
    assert rest == epochs[1][10:]
    assert following == epochs[2]


def test_ranks_yield_equal_rows_and_flag_padding(write_set):
    shards = write_set(25)
    rows = []
    for rank in range(2):
        dataset = fiberaug.StreamingDataset(
            shards, rank=rank, world_size=2, batch_size=4
        )
        rows.append(list(dataset))
        assert len(rows[-1]) == len(dataset) == 13

    real = [r["__key__"] for part in rows for r in part if not r["is_pad"]]
    assert sorted(real) == [f"k{i:03d}" for i in range(25)]


def test_a_discarded_iterator_starts_no_epoch_in_this_process(write_set):
    shards = write_set(20)
    dataset = fiberaug.StreamingDataset(shards)
    for _ in range(3):
        iter(dataset)

    assert [s["__key__"] for s in dataset] == ours(shards, 1)[0]


def test_a_finished_sample_is_what_torch_collates(write_set):
    sample = next(iter(fiberaug.StreamingDataset(write_set(9), train=False)))

    assert sample["image"].shape == (3, 40, 48)
    assert sample["image"].dtype == torch.uint8
    assert json.loads(sample["record"])["key"] == sample["__key__"] == "k000"
    assert sample["is_pad"] is False
    assert "record" not in next(
        iter(fiberaug.StreamingDataset(write_set(9, "b"), record="none"))
    )


class _Worker:
    """Stands for torch's description of a worker."""

    def __init__(self, worker, base_seed):
        self.id, self.seed = worker, base_seed + worker


@given(
    st.integers(1, 5),
    st.integers(1, 6),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_workers_agree_on_the_epoch_in_whatever_order_they_begin(
    workers, count, rng, persistent
):
    """Also where a slow worker begins a pass after a fast one began the next."""
    word = PassControl(fixed=False)
    controls = [_copy(word) for _ in range(workers)]
    done = [0] * workers
    epochs: dict[int, set[int]] = {}
    original = passes.get_worker_info
    try:
        while min(done) < count:
            behind = [w for w in range(workers) if done[w] == min(done)]
            free = [w for w in range(workers) if done[w] < count]
            w = rng.choice(free if persistent else behind)
            number = done[w]
            if not persistent:  # a new process in every pass
                controls[w] = _copy(word)
            base = 7 if persistent else 7 + 100 * number
            passes.get_worker_info = lambda w=w, base=base: _Worker(w, base)
            epochs.setdefault(number, set()).add(controls[w].begin()[0])
            done[w] += 1
    finally:
        passes.get_worker_info = original

    assert epochs == {number: {number} for number in range(count)}


def _copy(word):
    control = PassControl(fixed=False)
    control._words = word._words
    return control


def test_epochs_go_on_when_the_number_of_the_pass_wraps_around():
    control = PassControl(fixed=False)
    control._begun = 2**16 - 3

    assert [control.begin()[0] for _ in range(6)] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("epoch", [-1, 2**24])
def test_an_epoch_out_of_range_is_refused(write_set, epoch):
    with pytest.raises(fiberaug.UsageError, match="epoch must be in"):
        fiberaug.StreamingDataset(write_set(5)).set_epoch(epoch)


def test_a_failed_pass_stays_failed(write_set):
    def transform(_):
        raise ZeroDivisionError

    running = iter(fiberaug.StreamingDataset(write_set(5), transform=transform))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            next(running)
