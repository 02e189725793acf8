"""Workers and ranks that are started anew take the rank of who started them."""

import pytest
from launching import SAMPLES, joined, run

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def spawned(shards):
    return run("spawned.py", 1, shards, 2)[0]


@pytest.mark.parametrize(
    "way", ["ours", "ours spawn", "plain fork", "plain spawn", "plain forkserver"]
)
def test_workers_that_see_no_process_group_have_the_rank_of_their_parent(
    spawned, unbroken, way
):
    for number, parts in enumerate(zip(*(r[way] for r in spawned), strict=True)):
        keys = joined(parts)
        assert sorted(keys) == [f"k{i:03d}" for i in range(SAMPLES)]
        if way.startswith("ours"):
            assert keys == unbroken[number]


def test_a_loader_takes_the_rank_of_a_group_that_is_made_after_it(spawned):
    for number, rank in enumerate(spawned):
        assert rank["before"] == [0, 1, "records-0.jsonl.zst"]
        assert rank["rank"] == [number, 2]
        assert rank["log"] == f"records-{number}.jsonl.zst"


def test_a_pass_whose_group_goes_away_is_an_error(spawned):
    for number, rank in enumerate(spawned):
        assert f"began as rank {number} of 2" in rank["error"]
        assert "rank 0 of 1" in rank["error"]
