"""Shards that tests of mixing share; none of them writes there."""

import pytest
from mixsets import rows

import fiberaug


@pytest.fixture(scope="session")
def sets(tmp_path_factory):
    """Folders of a real set of 50 samples and of pools of 17, 8 and 5."""
    folder = tmp_path_factory.mktemp("mixing")

    def write(name, content, shard_size="12kB"):
        place = str(folder / name)
        fiberaug.convert(content, place, shard_size=shard_size, progress=False)
        return place

    return {
        "real": write("real", rows(50)),
        "gan": write("gan", rows(17, seed=1, prefix="g")),
        "diffusion": write("diffusion", rows(8, seed=2, prefix="d")),
        "small": write("small", rows(5, seed=1, prefix="s")),
    }
