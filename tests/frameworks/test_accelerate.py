"""Under Accelerate our loader is left alone; a plain one, split again, is refused."""

import pytest
from launching import SAMPLES, finish, joined, run, start

pytestmark = pytest.mark.timeout(240)
# Slow: the ranks are started again for it.
WORKERS = [2, pytest.param(0, marks=pytest.mark.slow)]
KEYS = [f"k{i:03d}" for i in range(SAMPLES)]


@pytest.fixture(scope="module", params=WORKERS, ids=str)
def ranks(shards, tmp_path_factory, request):
    return run("accelerated.py", 2, shards, tmp_path_factory.mktemp("s"), request.param)


def test_prepare_leaves_our_loader_alone_and_each_rank_has_its_part(ranks, unbroken):
    assert all(rank["left alone"] for rank in ranks)
    for number in range(2):
        assert joined([rank["ours"][number] for rank in ranks]) == unbroken[number]


def test_the_last_batches_of_a_pass_are_accumulated_and_stepped(ranks):
    """Six steps, four to an update: one after four, one at the end of the loader."""
    assert [rank["updates"] for rank in ranks] == [[2, 2], [2, 2]]


def test_metrics_are_gathered_over_every_sample_once_and_no_padding(ranks):
    for rank in ranks:
        assert rank["gathered"] == [list(range(SAMPLES))] * 2


def test_a_state_that_accelerate_saved_goes_on_in_the_middle_of_a_pass(ranks, unbroken):
    for way in ("first", "again"):
        assert joined([rank[way] for rank in ranks]) == unbroken[2]


def test_skipping_batches_of_our_loader_is_refused_with_what_to_do_instead(ranks):
    for rank in ranks:
        assert "skip_first_batches" in rank["skip"]
        assert "loader.load_state_dict()" in rank["skip"]


@pytest.mark.parametrize("way", ["None", "fork", "spawn"])
def test_a_plain_loader_that_accelerate_would_split_again_is_refused(ranks, way):
    for rank in ranks:
        assert "Accelerate with 2 processes" in rank["naive"][way]
        assert "fiberaug.DataLoader" in rank["naive"][way]


def test_both_other_remedies_of_that_error_deal_every_sample_once(ranks):
    assert sorted(joined([rank["own rank"] for rank in ranks])) == KEYS
    for rank in ranks:
        seen = [i for batch in rank["split by accelerate"] for i in batch]
        assert set(seen) == set(range(SAMPLES))
        assert len(seen[:SAMPLES]) == len(set(seen[:SAMPLES]))


def test_the_refusal_also_ends_ranks_that_only_listen(shards):
    """Accelerate reads an iterable data set in rank 0 and sends the batches around."""
    done = finish(start("dispatched.py", 2, shards), 60)

    assert all(code != 0 and not out for code, out, _ in done)
    assert "Accelerate with 2 processes" in done[0][2]
