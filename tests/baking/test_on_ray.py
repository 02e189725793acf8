"""Laws of a bake on Ray: the same bytes as of local processes."""

import os
import sys

import albumentations as A
import pytest
from sets import cut_jpeg, photo

from fiberaug.jobs.encoding import encode_image

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def cluster():
    """A real cluster on this machine."""
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Workers cannot import a test: its functions travel as they are.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


def test_the_bytes_are_those_of_local_processes(cluster, write_set, bake, hashes):
    content = [
        {"__key__": f"k{i:02d}", "label": i % 3, "jpg": cut_jpeg(i) if i == 7 else
         encode_image(photo(i, 120, 160), "jpeg")}
        for i in range(30)
    ]  # fmt: skip
    shards = write_set(content)
    secret = 5
    recipe = [
        A.RandomCrop(32, 32), lambda sample: {**sample, "label": secret}, A.Normalize(),
    ]  # fmt: skip
    options = {"recipe": recipe, "epochs": "0-1", "shard_size": "30kB"}
    local = bake(shards, "local", workers=1, **options)
    remote = bake(shards, "remote", engine="ray", workers=2, **options)

    assert hashes(local) == hashes(remote)
    assert "materialize_errors.jsonl" in hashes(remote)
    assert len(list(remote.glob("*.tar"))) > 4
