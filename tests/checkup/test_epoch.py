"""Laws of what is said of an epoch: it is what the order and the ranks then do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.checkup.epoch import Run, check_epoch
from fiberaug.checkup.lanes import lane_bytes, lane_shares, readers_of_shards
from fiberaug.errors import UsageError
from fiberaug.order import EpochOrder
from fiberaug.plan import Plan
from fiberaug.sharing import rank_range, steps, worker_batches


def told(counts, run, shard_bytes=None):
    sizes = [1000 * count for count in counts] if shard_bytes is None else shard_bytes
    return {one.topic: one for one in check_epoch(counts, sizes, run)}


runs = st.builds(
    Run, world_size=st.integers(1, 6), workers=st.integers(0, 4),
    batch_size=st.integers(1, 40),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), runs)
def test_steps_pads_and_samples_are_those_of_the_ranks(counts, run):
    topics, n, size = told(counts, run), sum(counts), run.global_batch
    total = steps(n, size, drop_last=False)
    parts = [
        [rank_range(n, size, k, r, run.world_size) for k in range(total)]
        for r in range(run.world_size)
    ]
    workers = max(1, run.workers)
    rows = [
        sum(len(rank[k][0]) for k in worker_batches(total, w, workers))
        for rank in parts
        for w in range(workers)
    ]

    figures = topics["steps"].figures
    assert figures["steps"] == total
    assert figures["padded"] == sum(pads for rank in parts for _, pads in rank)
    assert figures["steps_drop_last"] * size + figures["dropped"] == n
    assert topics["skew"].figures["samples"] == [min(rows), max(rows)]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 6), st.integers(1, 24), st.integers(1, 40), st.integers(1, 6),
    st.integers(1, 3), st.data(),
)  # fmt: skip
def test_the_shares_of_lanes_are_those_of_whole_rounds(
    lanes, unit, rows, ranks, workers, data
):
    """Counted over lcm(step, b0 V) positions, after which everything repeats."""
    size = rows * ranks
    rank = data.draw(st.integers(0, ranks - 1))
    worker = data.draw(st.integers(0, workers - 1))
    first, step, around = worker * size + rank * rows, workers * size, lanes * unit
    plan = Plan(counts=(10 * around,), lanes=lanes, unit=unit, window=unit)
    begins = first + step * np.arange(np.lcm(step, around) // step)
    places = (begins[:, None] + np.arange(rows)).ravel() // unit % lanes
    expected = np.bincount(places, minlength=lanes) / len(places)

    shares = lane_shares(plan, first=first, rows=rows, step=step)
    assert np.allclose(shares, expected)


def test_the_bytes_of_ranks_are_those_of_an_epoch_that_is_counted():
    """Lanes of very unlike bytes, and ranks that keep to their lanes."""
    rng = np.random.default_rng(3)
    counts = tuple(rng.integers(400, 900, 12).tolist())
    sizes = rng.integers(10_000, 900_000, 12)
    plan = Plan(counts=counts, lanes=4, window=512)
    order = EpochOrder(plan, 0)
    each = sizes / np.asarray(counts)
    rows, ranks = 32, 2
    size = rows * ranks
    counted = [
        sum(
            each[order.locate(p)[0]]
            for k in range(plan.n // size)
            for p in rank_range(plan.n, size, k, r, ranks)[0]
        )
        for r in range(ranks)
    ]
    of_lane = lane_bytes(plan, order, sizes)
    expected = [
        float(lane_shares(plan, first=r * rows, rows=rows, step=size) @ of_lane)
        * rows * (plan.n // size)
        for r in range(ranks)
    ]  # fmt: skip

    assert counted[0] / counted[1] != pytest.approx(1, abs=0.05)
    assert expected == pytest.approx(counted, rel=0.02)


@pytest.mark.parametrize(("rows", "ranks"), [(16, 4), (32, 4), (24, 4), (64, 2)])
def test_the_nodes_that_read_a_shard_are_those_of_an_epoch_that_is_counted(rows, ranks):
    plan = Plan(counts=(256,) * 32, lanes=8, window=256)
    order, size = EpochOrder(plan, 0), rows * ranks
    readers = [set() for _ in plan.counts]
    for k in range(steps(plan.n, size, drop_last=False)):
        for r in range(ranks):
            for p in rank_range(plan.n, size, k, r, ranks)[0]:
                readers[order.locate(p)[0]].add(r)
    shares = np.stack(
        [lane_shares(plan, first=r * rows, rows=rows, step=size) for r in range(ranks)]
    )

    counted = sum(map(len, readers)) / len(readers)
    assert readers_of_shards(plan, order, shares) == pytest.approx(counted, abs=0.05)


def test_where_units_of_a_batch_divide_the_lanes_each_shard_goes_to_one_node():
    run = Run(world_size=4, batch_size=16, ranks_per_node=1)
    topics = told((4096,) * 64, run)

    assert topics["lanes"].figures["divides"]
    assert topics["lanes"].figures["nodes_per_shard"] == pytest.approx(1, abs=0.05)
    assert topics["lanes"].level == "ok"


def test_where_they_do_not_every_node_reads_every_shard_and_it_is_noted():
    run = Run(world_size=4, batch_size=24, ranks_per_node=1)
    topics = told((4096,) * 64, run)

    assert not topics["lanes"].figures["divides"]
    assert topics["lanes"].figures["nodes_per_shard"] > 3.9
    assert topics["lanes"].level == "note"


def test_fewer_samples_than_a_global_batch_are_noted():
    topics = told((10,), Run(world_size=4, batch_size=8))

    assert topics["steps"].level == "note"
    assert topics["steps"].figures["steps_drop_last"] == 0


def test_a_cache_that_is_smaller_than_what_is_touched_at_once_is_noted():
    small = told((100,) * 8, Run(cache_limit=700_000))["cache"]
    large = told((100,) * 8, Run(cache_limit=800_000))["cache"]

    assert (small.level, large.level) == ("note", "ok")
    assert small.figures["live_bytes"] == 800_000
    assert 'cache_limit="1GB"' in small.remedy


def test_bytes_that_differ_between_workers_are_noted():
    sizes = [10_000_000 if i < 16 else 10_000 for i in range(32)]
    run = Run(world_size=8, batch_size=16, workers=1)
    low, high = told((4096,) * 32, run, sizes)["skew"].figures["bytes"]

    assert high > 1.1 * low
    assert told((4096,) * 32, run, sizes)["skew"].level == "note"
    assert told((4096,) * 32, run)["skew"].level == "ok"


@pytest.mark.parametrize("name", ["world_size", "batch_size", "prefetch", "workers"])
def test_a_run_out_of_range_is_refused(name):
    with pytest.raises(UsageError, match=name):
        Run(**{name: -1})
