"""Under torch's DDP each rank has its part, every key once, in equal steps."""

import pytest
from launching import SAMPLES, joined, run

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def ranks(shards, tmp_path_factory):
    return run("ddp.py", 2, shards, tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("way", ["ours 0", "ours 2", "plain fork", "plain spawn"])
def test_the_ranks_together_deal_the_order_of_one_process(ranks, unbroken, way):
    """Also where loaders are older than the process group, as these are."""
    passes = list(zip(*(rank[way] for rank in ranks), strict=True))
    for number, parts in enumerate(passes):
        keys = joined(parts)
        assert sorted(keys) == [f"k{i:03d}" for i in range(SAMPLES)]
        if way.startswith("ours"):
            assert keys == unbroken[number]


def test_the_last_batch_is_dropped_on_all_ranks(ranks, unbroken):
    assert joined([rank["drop_last"][0] for rank in ranks]) == unbroken[0][:40]


def test_lengths_are_those_of_a_rank(ranks):
    for rank in ranks:
        assert rank["len"] == len(rank["ours 0"][0]) == 6
        assert rank["rows"] == sum(len(step) for step in rank["plain fork"][0]) == 23


def test_all_ranks_have_learnt_the_same_and_each_has_its_log(ranks):
    assert ranks[0]["weights"] == ranks[1]["weights"]
    assert [rank["log"] for rank in ranks] == [
        "records-0.jsonl.zst",
        "records-1.jsonl.zst",
    ]
