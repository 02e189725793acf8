"""The set that most frameworks are tested on."""

import pytest
from launching import SAMPLES
from sets import samples

import fiberaug


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """Shards of 45 samples: six steps of 2 ranks x 4 rows, the last one short."""
    folder = tmp_path_factory.mktemp("frameworks") / "set"
    fiberaug.convert(samples(SAMPLES), folder, shard_size="60kB", progress=False)
    return str(folder)


@pytest.fixture(scope="session")
def unbroken(shards):
    """The keys of three epochs in one process."""
    loader = fiberaug.DataLoader(fiberaug.StreamingDataset(shards), 8)
    return [[key for b in loader for key in b["__key__"]] for _ in range(3)]
