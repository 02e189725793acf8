"""A loop as timm's train.py writes it trains on every sample once in each epoch."""

import pytest
from launching import joined, run
from sets import samples

import fiberaug

pytestmark = pytest.mark.timeout(240)
SAMPLES = 45  # six steps of 2 ranks x 4 rows


@pytest.mark.parametrize("workers", [2, pytest.param(0, marks=pytest.mark.slow)])
def test_epochs_that_only_the_data_set_is_told_are_dealt_in_order(tmp_path, workers):
    fiberaug.convert(
        samples(SAMPLES), tmp_path / "set", shard_size="60kB", progress=False
    )
    shards = str(tmp_path / "set")
    ranks = run("timm_shaped.py", 2, shards, workers)
    loader = fiberaug.DataLoader(fiberaug.StreamingDataset(shards), 8)
    loader.set_epoch(2)

    for number in range(2):
        keys = [key for batch in loader for key in batch["__key__"]]
        assert joined([r["epochs"][number]["seen"] for r in ranks]) == keys
        for rank in ranks:
            assert rank["epochs"][number]["updates"] == [2, 2, 2]
    assert all(rank["sampler"] is None and rank["schedule"] == 2 for rank in ranks)
