"""Opening a set reads one file, or one header a shard: never a sample each."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from listed import list_shards, write_sparse_shards

# In a process of its own: the memory of this one has other tests in it.
OPEN = textwrap.dedent("""
    import json, sys
    sys.path.insert(0, sys.argv[1])
    from listed import uss_mib
    import fiberaug
    fiberaug.StreamingDataset(sys.argv[2])  # its imports are not what is measured
    before = uss_mib()
    dataset = fiberaug.StreamingDataset(sys.argv[3])
    print(json.dumps({
        "samples": dataset.plan.n, "mib": uss_mib() - before,
        "state": len(json.dumps(dataset.state(9, dataset.plan.n))),
    }))
""")


def opened(request, tmp_path, folder):
    few = list_shards(tmp_path / f"few-{Path(folder).name}", 1, 8)
    tests = request.config.rootpath / "tests"
    answer = subprocess.run(
        [sys.executable, "-c", OPEN, str(tests), few, folder],
        check=True, stdout=subprocess.PIPE, text=True, timeout=160,
    )  # fmt: skip
    return json.loads(answer.stdout)


@pytest.mark.timeout(180)
def test_a_hundred_million_samples_open_in_little_memory(request, tmp_path):
    folder = list_shards(tmp_path / "many", 10_000, 10_000)
    figures = opened(request, tmp_path, folder)
    assert figures["samples"] == 9_999 * 10_000 + 8
    assert figures["mib"] < 30


@pytest.mark.timeout(180)
def test_opening_costs_the_same_however_many_samples_a_shard_has(request, tmp_path):
    small = opened(request, tmp_path, list_shards(tmp_path / "a", 2_000, 1))
    large = opened(request, tmp_path, list_shards(tmp_path / "b", 2_000, 10**12))
    assert large["samples"] > 10**8 * small["samples"]
    assert large["mib"] < small["mib"] + 5
    assert large["state"] < 4096


@pytest.mark.timeout(180)
def test_without_dataset_json_only_the_head_of_each_side_car_is_read(request, tmp_path):
    folder = write_sparse_shards(tmp_path / "many", 3_000)
    figures = opened(request, tmp_path, folder)
    assert figures["samples"] == 3_000 * 8
    assert figures["mib"] < 30
