"""Laws of passes over a tiny set: epochs, resume, ranks, padding; seconds in all."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader as TorchLoader

import fiberaug
from fiberaug.order import locate

N = 22
BATCH = 4
PERSISTENT = {"num_workers": 2, "persistent_workers": True}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Return three shards of 22 samples of 8 x 8 pixels."""
    folder = tmp_path_factory.mktemp("tiny") / "set"
    rng = np.random.default_rng(1)
    with fiberaug.ShardWriter(folder, shard_size="18kB") as writer:
        for i in range(N):
            image = rng.integers(0, 256, (8, 8, 3), np.uint8)
            writer.write({"__key__": f"s{i:02}", "image": image, "label": i % 3})
    assert len(list(folder.glob("*.tar"))) == 3
    return str(folder)


def opened(shards, **options):
    plan = {"seed": 3, "unit": 2, "window": 8, "lanes": 2}
    return fiberaug.StreamingDataset(shards, **{"record": "none", **plan, **options})


def ours(shards, *, world_size=1, rank=0, batch_size=BATCH, **options):
    dataset = opened(shards, rank=rank, world_size=world_size)
    return fiberaug.DataLoader(dataset, batch_size, **options)


def plain(shards, **options):
    """Return a plain torch DataLoader; its workers are told the batch size."""
    return TorchLoader(opened(shards, batch_size=BATCH), BATCH, **options)


def keys(batch):
    """Return the keys of the rows of a batch that are no padding."""
    rows = zip(batch["__key__"], batch["is_pad"].tolist(), strict=True)
    return [key for key, pad in rows if not pad]


def passed(loader):
    """Return the keys of each batch of one pass."""
    return [keys(batch) for batch in loader]


@pytest.fixture(scope="module")
def epochs(shards):
    """Return the batches of the first eight epochs, as the closed form has them."""
    names = []
    for path in sorted(Path(shards).glob("*.tar")):
        with tarfile.open(path) as tar:
            names.append([n[:-4] for n in tar.getnames() if n.endswith(".png")])
    plan = opened(shards).plan
    found = []
    for epoch in range(8):
        places = [locate(plan, epoch, position) for position in range(N)]
        order = [names[shard][index] for shard, index in places]
        found.append([order[i : i + BATCH] for i in range(0, N, BATCH)])
    return found


def test_the_tiny_set_is_shuffled_anew_in_every_epoch(epochs):
    flat = [[key for batch in epoch for key in batch] for epoch in epochs]

    assert all(sorted(keys) == [f"s{i:02}" for i in range(N)] for keys in flat)
    assert len({tuple(keys) for keys in flat}) == len(flat)


@pytest.mark.parametrize("make", [ours, plain])
@pytest.mark.parametrize("options", [{}, PERSISTENT], ids=["here", "persistent"])
def test_every_epoch_reaches_the_workers(shards, epochs, make, options):
    """Pass after pass, and after set_epoch: of our loader and of torch's."""
    loader = make(shards, **options)
    told = loader if make is ours else loader.dataset

    assert [passed(loader), passed(loader)] == epochs[:2]
    told.set_epoch(6)
    assert [passed(loader), passed(loader)] == epochs[6:8]
    told.set_epoch(1)
    assert passed(loader) == epochs[1]
    if make is ours:
        loader.close()


def states(shards):
    """Return the state after each batch of the first epoch, as JSON."""
    with ours(shards) as loader:
        found = [json.dumps(loader.state_dict())]
        for _ in loader:
            found.append(json.dumps(loader.state_dict()))  # noqa: PERF401  # taken inside
    return found


@pytest.mark.parametrize("make", [ours, plain])
def test_resumed_after_any_batch_the_rest_is_the_uninterrupted_rest(
    shards, epochs, make
):
    """Whatever the number of workers; the pass after it is the next epoch."""
    found = states(shards)

    assert len(found) == len(epochs[0]) + 1
    for k, state in enumerate(found):
        loader = make(shards, num_workers=(0, 2, 1)[k % 3])
        told = loader if make is ours else loader.dataset
        told.load_state_dict(json.loads(state))
        assert [passed(loader), passed(loader)] == [epochs[0][k:], epochs[1]], k


def test_the_state_counts_samples_of_all_ranks_and_no_padding(shards):
    """After each batch, the last one included: 22, not the 24 rows of three ranks."""
    found = []
    for rank in range(3):
        with ours(shards, rank=rank, world_size=3, batch_size=2) as loader:
            found.append([loader.state_dict()["position"] for _ in loader])
            over = loader.state_dict()

        assert (over["epoch"], over["position"]) == (1, 0)
    assert found == [[6, 12, 18, N]] * 3


def test_ranks_joined_again_are_one_rank_and_padding_is_flagged(shards):
    """Rank 2 has nothing left in the last batch of four: two rows of padding."""
    loaders = [ours(shards, rank=rank, world_size=3, batch_size=2) for rank in range(3)]
    parts = [list(loader) for loader in loaders]
    joined = [
        [key for batch in batches for key in keys(batch)]
        for batches in zip(*parts, strict=True)
    ]

    assert joined == passed(ours(shards, batch_size=6))
    assert [len(batch["__key__"]) for part in parts for batch in part] == [2] * 12
    assert [[batch["is_pad"].sum() for batch in part] for part in parts] == [
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 2],
    ]


def test_the_log_of_all_ranks_holds_every_position_once_and_no_padding(
    shards, tmp_path
):
    for rank in range(3):
        dataset = opened(shards, record="packed", rank=rank, world_size=3)
        with fiberaug.DataLoader(dataset, 2, log=tmp_path) as loader:
            list(loader)

    records = list(fiberaug.RecordLog(tmp_path))
    assert sorted(record.position for record in records) == list(range(N))
    assert len({record.uid for record in records}) == N
