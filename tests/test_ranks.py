"""A process knows its rank from arguments, torch.distributed, its parent, variables."""

import pickle
import sys

import pytest
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader as TorchLoader

import fiberaug
from fiberaug.ranks import Share, same_world


@pytest.fixture
def group(tmp_path, monkeypatch):
    """A gloo group of this process alone, as rank 0 of 1."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # torch puts in its own
    dist.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    yield
    dist.destroy_process_group()


class Told(torch.utils.data.IterableDataset):
    """Yields the rank that a worker believes to have."""

    def __init__(self, share):
        self.share = share

    def __iter__(self):
        yield torch.tensor(self.share())


def test_without_a_group_the_variables_of_the_environment_count(monkeypatch):
    assert Share()() == (0, 1)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "5")
    assert Share()() == (2, 5)
    assert Share(1, 3)() == (1, 3)


@pytest.mark.usefixtures("group")
def test_a_group_counts_more_than_variables_and_less_than_arguments(monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "5")

    assert Share()() == (0, 1)
    assert Share(1, 3)() == (1, 3)


@pytest.mark.usefixtures("group")
def test_a_worker_that_is_started_anew_goes_by_what_its_parent_knew(monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "5")
    loader = TorchLoader(
        Told(Share()), batch_size=None, num_workers=1, multiprocessing_context="spawn"
    )

    assert [rank.tolist() for rank in loader] == [[0, 1]]


def test_what_was_noted_counts_in_workers_only(group, monkeypatch):
    """A data set that was pickled to a file belongs to no rank."""
    data = pickle.dumps(Share())
    dist.destroy_process_group()
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "5")
    try:
        assert pickle.loads(data)() == (2, 5)
    finally:
        monkeypatch.undo()
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)


@pytest.mark.parametrize(("rank", "world"), [(1, None), (None, 2)])
def test_one_without_the_other_is_refused(rank, world):
    with pytest.raises(fiberaug.UsageError, match="give both rank and world_size"):
        Share(rank, world)


@pytest.mark.parametrize("rank", [-1, 2])
def test_a_rank_out_of_range_is_refused(rank):
    with pytest.raises(
        fiberaug.UsageError, match=rf"rank must be in \[0, 2\), got {rank}"
    ):
        Share(rank, 2)


@pytest.mark.parametrize(
    "variables", [{"RANK": "1"}, {"WORLD_SIZE": "2"}, {"RANK": "x", "WORLD_SIZE": "2"}]
)
def test_half_an_environment_is_refused(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(fiberaug.UsageError, match="must both be integers"):
        Share()()


def test_a_pass_goes_on_only_as_the_rank_as_which_it_began():
    same_world((1, 2), (1, 2))
    with pytest.raises(fiberaug.UsageError, match="began as rank 0 of 1"):
        same_world((0, 1), (1, 2))


def test_a_loader_and_its_data_set_say_the_same_rank(write_set, monkeypatch):
    loader = fiberaug.DataLoader(fiberaug.StreamingDataset(write_set(20)), 4)
    assert (loader.rank, loader.world_size, len(loader)) == (0, 1, 5)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert (loader.rank, loader.world_size, len(loader)) == (1, 2, 3)


def test_the_epoch_of_a_data_set_is_that_of_the_loader_that_holds_it(write_set):
    """As in timm: it calls ``dataset.set_epoch`` and never the loader's."""
    shards = write_set(20)
    loader = fiberaug.DataLoader(fiberaug.StreamingDataset(shards), 4)
    epochs = [[key for b in loader for key in b["__key__"]] for _ in range(4)]
    loader = fiberaug.DataLoader(fiberaug.StreamingDataset(shards), 4)
    gone = fiberaug.DataLoader(loader.dataset, 4)
    del gone
    loader.dataset.set_epoch(3)

    assert loader.epoch == 3
    assert [key for b in loader for key in b["__key__"]] == epochs[3]
