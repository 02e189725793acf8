"""Laws of the order of samples: one stream of positions, whoever reads it."""

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.order import DiscoveredOrder, EpochOrder, locate, open_order
from fiberaug.plan import Plan, default_lanes, lane_start
from fiberaug.sharing import rank_range, steps, worker_batches

GOLDEN = Path(__file__).parent / "golden" / "order.json"
LAW = settings(deadline=None, max_examples=300, report_multiple_bugs=False)

COUNTS = (
    st.lists(st.integers(0, 60), min_size=1, max_size=9).map(tuple).filter(any)
)  # some shards are empty, not all
SEEDS = st.integers(0, 2**64 - 1)
EPOCHS = st.sampled_from([0, 1, 7, 2**31])
PLANS = st.builds(
    Plan,
    counts=COUNTS,
    seed=SEEDS,
    shuffle=st.booleans(),
    lanes=st.integers(1, 12),
    unit=st.integers(1, 9),
    window=st.integers(1, 40),
)
UNKNOWN = st.builds(
    Plan,
    counts=st.none(),
    seed=SEEDS,
    shuffle=st.booleans(),
    window=st.integers(1, 40),
)


class Counting:
    """Shards without an index; notes which were counted."""

    def __init__(self, counts):
        self.counts = counts
        self.asked = []

    def __call__(self, shard):
        self.asked.append(shard)
        return self.counts[shard]


def stream(plan, epoch=0):
    """Return the samples of an epoch in order."""
    order = EpochOrder(plan, epoch)
    return [order.locate(position) for position in range(plan.n)]


def samples(counts):
    """Return all samples in the order of the data set."""
    return [(shard, i) for shard, count in enumerate(counts) for i in range(count)]


def discovered(plan, counts, epoch=0):
    """Return a fresh reader of shards without an index."""
    return DiscoveredOrder(plan, epoch, len(counts), Counting(counts))


def discovered_stream(plan, counts, epoch=0):
    order = discovered(plan, counts, epoch)
    return [order.locate(position) for position in range(sum(counts))]


def window_of(plan, position, n):
    """Return the positions that share the window of a position, without an index."""
    start = position - position % plan.window
    return range(start, min(start + plan.window, n))


# ---- the closed form -----------------------------------------------------------------


@LAW
@given(PLANS, EPOCHS)
def test_positions_and_samples_are_a_bijection(plan, epoch):
    assert sorted(stream(plan, epoch)) == samples(plan.counts)


@LAW
@given(PLANS)
def test_lanes_are_cut_in_whole_units_and_the_lane_dealt_last_has_the_short_one(plan):
    starts = [lane_start(plan, lane) for lane in range(plan.lanes + 1)]
    sizes = [high - low for low, high in pairwise(starts)]
    units = -(-plan.n // plan.unit)
    short = [lane for lane, size in enumerate(sizes) if size % plan.unit]

    assert (starts[0], starts[-1]) == (0, plan.n)
    assert [-(-size // plan.unit) for size in sizes] == [
        len(range(lane, units, plan.lanes)) for lane in range(plan.lanes)
    ]
    assert short == ([(units - 1) % plan.lanes] if plan.n % plan.unit else [])


@LAW
@given(PLANS, EPOCHS)
def test_a_unit_comes_from_its_lane_and_a_sample_stays_in_its_equal_window(plan, epoch):
    """In one shard the sample's number is its place in the row of shards."""
    plan = replace(plan, counts=(plan.n,), shuffle=True)
    for position, (_, place) in enumerate(stream(plan, epoch)):
        row, lane = divmod(position // plan.unit, plan.lanes)
        low, high = lane_start(plan, lane), lane_start(plan, lane + 1)
        windows = max(1, round((high - low) / plan.window))
        width = -(-(high - low) // windows)

        assert low <= place < high
        dealt = row * plan.unit + position % plan.unit
        assert dealt // width == (place - low) // width


def test_units_are_dealt_to_the_lanes_in_turn():
    """Four lanes of 16 samples, units of 4: one unit of each lane, then another."""
    order = EpochOrder(Plan(counts=(64,), unit=4, lanes=4), 0)
    lanes = [order.locate(position)[1] // 16 for position in range(32)]

    assert lanes == [lane for _ in range(2) for lane in range(4) for _ in range(4)]


def test_windows_of_a_lane_are_even():
    """A lane of 105 in windows of 50 is cut into 53 and 52, not 50, 50 and 5."""
    plan = Plan(counts=(105,), window=50, lanes=1)
    order = [index for _, index in stream(plan)]

    assert sorted(order[:53]) == list(range(53))


@LAW
@given(PLANS, EPOCHS)
def test_without_shuffle_every_epoch_is_in_the_order_of_the_data_set(plan, epoch):
    assert stream(replace(plan, shuffle=False), epoch) == samples(plan.counts)


@given(PLANS, EPOCHS, st.data())
@LAW
def test_locate_is_pure_and_agrees_with_the_order_of_the_epoch(plan, epoch, data):
    positions = data.draw(st.lists(st.integers(0, plan.n - 1), max_size=20))
    order = EpochOrder(plan, epoch)

    first = [locate(plan, epoch, position) for position in positions]
    locate(plan, epoch + 1, 0)

    assert first == [order.locate(position) for position in positions]
    assert first == [locate(plan, epoch, position) for position in positions]


@LAW
@given(SEEDS, st.integers(24, 100))
def test_every_epoch_and_every_seed_shuffles_the_windows_anew(seed, n):
    plan = Plan(counts=(n,), seed=seed, window=n)
    other = replace(plan, seed=seed ^ 1)
    streams = [stream(plan, 0), stream(plan, 1), stream(plan, 2), stream(other, 0)]

    assert len({tuple(s) for s in streams}) == len(streams)


@LAW
@given(SEEDS, st.integers(24, 60))
def test_every_epoch_and_every_seed_permutes_the_shards_anew(seed, shards):
    plan = Plan(counts=(1,) * shards, seed=seed, window=1, lanes=1)  # shards alone
    other = replace(plan, seed=seed ^ 1)
    streams = [stream(plan, 0), stream(plan, 1), stream(plan, 2), stream(other, 0)]

    assert len({tuple(s) for s in streams}) == len(streams)


@pytest.mark.parametrize("position", [-1, 10, 2**40])
def test_a_position_outside_of_the_epoch_is_an_index_error(position):
    plan = Plan(counts=(4, 0, 6))
    with pytest.raises(IndexError, match=r"\[0, 10\)"):
        EpochOrder(plan, 0).locate(position)
    with pytest.raises(IndexError, match=str(position)):
        locate(plan, 0, position)


def test_an_empty_set_has_no_position():
    plan = Plan(counts=())

    assert (plan.n, plan.lanes, EpochOrder(plan, 0).reach(5)) == (0, 1, 0)
    assert steps(0, 4, drop_last=False) == 0
    with pytest.raises(IndexError):
        locate(plan, 0, 0)


# ---- batches, ranks, workers ---------------------------------------------------------


@LAW
@given(PLANS, EPOCHS, st.data())
def test_the_stream_is_the_same_for_any_ranks_workers_batch_size_and_resume(
    plan, epoch, data
):
    """Cut after any batch and go on with other ranks, workers and batch size."""
    whole, got, start = stream(plan, epoch), [], 0
    for part in ("until the cut", "resumed", "resumed again"):
        world = data.draw(st.sampled_from([1, 2, 3, 4, 6, 12]))
        batch = 12 * data.draw(st.integers(1, 3))
        workers = data.draw(st.integers(1, 5))
        total = steps(plan.n, batch, drop_last=False, start=start)
        end = total if part == "resumed again" else data.draw(st.integers(0, total))
        built = {
            k: [
                whole[position]
                for rank in range(world)
                for position in rank_range(plan.n, batch, k, rank, world, start)[0]
            ]
            for worker in range(workers)
            for k in worker_batches(end, worker, workers)
        }
        for k in range(end):
            assert built[k] == whole[start + k * batch : start + (k + 1) * batch]
            got += built[k]
        start = min(start + end * batch, plan.n)

    assert got == whole


@LAW
@given(
    st.integers(0, 200),
    st.integers(1, 8),
    st.integers(1, 9),
    st.integers(0, 200),
    st.data(),
)
def test_every_rank_has_equal_rows_and_the_padding_fills_them_up(
    n, world, local, start, data
):
    """The last batch of n positions has ceil(n / R) rows on each rank."""
    batch = world * local
    last = max(0, n - start) // batch
    k = data.draw(st.one_of(st.just(last), st.integers(0, last + 2)))
    parts = [rank_range(n, batch, k, rank, world, start) for rank in range(world)]
    first = start + k * batch
    left = max(0, min(batch, n - first))

    assert {len(part) + pads for part, pads in parts} == {-(-left // world)}
    assert sum(pads for _, pads in parts) == -(-left // world) * world - left
    assert [p for part, _ in parts for p in part] == list(range(first, first + left))
    assert all(pads == 0 for _, pads in parts) or left < batch


@LAW
@given(st.integers(0, 200), st.integers(1, 50), st.integers(0, 220))
def test_steps_counts_all_batches_or_with_drop_last_the_full_ones(n, batch, start):
    sizes = [len(rank_range(n, batch, k, 0, 1, start)[0]) for k in range(201)]

    assert steps(n, batch, drop_last=False, start=start) == sum(s > 0 for s in sizes)
    assert steps(n, batch, drop_last=True, start=start) == sizes.count(batch)


@given(st.integers(0, 50), st.integers(1, 9))
def test_workers_take_turns(total, workers):
    turns = {k: w for w in range(workers) for k in worker_batches(total, w, workers)}

    assert turns == {k: k % workers for k in range(total)}


def test_a_global_batch_that_ranks_cannot_share_is_refused():
    with pytest.raises(UsageError, match=r"multiple of world_size 3, got 32"):
        rank_range(100, 32, 0, 0, 3)


# ---- how well it shuffles ------------------------------------------------------------


def label_entropy(labels):
    """Return the mean entropy of the labels of full batches of 64, bits."""
    batches = np.asarray(labels)[: len(labels) // 64 * 64].reshape(-1, 64)
    entropies = []
    for batch in batches:
        share = np.bincount(batch) / len(batch)
        entropies.append(-(share[share > 0] * np.log2(share[share > 0])).sum())
    return np.mean(entropies)


@pytest.mark.parametrize(("n", "shards"), [(640, 1), (3072, 4), (20_000, 20)])
def test_batches_of_a_set_sorted_by_class_are_as_mixed_as_a_full_shuffle(n, shards):
    """At least 95 % of the label entropy, ten classes."""
    labels = np.arange(n) * 10 // n
    plan = Plan(counts=(n // shards,) * shards)
    ours = np.mean(
        [
            label_entropy([labels[s * (n // shards) + i] for s, i in stream(plan, e)])
            for e in range(4)
        ]
    )
    full = np.mean(
        [label_entropy(np.random.default_rng(e).permutation(labels)) for e in range(20)]
    )

    assert ours >= 0.95 * full


@pytest.mark.parametrize(
    ("n", "lanes"),
    [(0, 1), (640, 1), (8191, 1), (8192, 2), (262_143, 63), (262_144, 64), (10**9, 64)],
)
def test_there_are_as_many_lanes_as_full_windows_from_1_to_64(n, lanes):
    assert default_lanes(n) == Plan(counts=(n,)).lanes == lanes


# ---- shards without an index ---------------------------------------------------------


@LAW
@given(UNKNOWN, COUNTS, EPOCHS)
def test_without_an_index_too_positions_and_samples_are_a_bijection(
    plan, counts, epoch
):
    assert sorted(discovered_stream(plan, counts, epoch)) == samples(counts)


@LAW
@given(UNKNOWN, COUNTS, EPOCHS, st.data())
def test_without_an_index_every_reader_finds_the_same_order(plan, counts, epoch, data):
    """Several readers, each of which asks for other positions in another order."""
    whole = discovered_stream(plan, counts, epoch)
    for _ in range(3):
        order = discovered(plan, counts, epoch)
        for position in data.draw(st.lists(st.integers(0, len(whole) - 1))):
            assert order.locate(position) == whole[position]


@LAW
@given(UNKNOWN, COUNTS, st.data())
def test_without_an_index_a_resumed_reader_goes_on_as_if_never_stopped(
    plan, counts, data
):
    whole = discovered_stream(plan, counts)
    start = data.draw(st.integers(0, len(whole)))
    order = discovered(plan, counts)

    assert [order.locate(p) for p in range(start, len(whole))] == whole[start:]


@LAW
@given(UNKNOWN, COUNTS, st.data())
def test_only_shards_up_to_the_end_of_the_window_are_counted_and_each_once(
    plan, counts, data
):
    count = Counting(counts)
    order = DiscoveredOrder(plan, 0, len(counts), count)
    position = data.draw(st.integers(0, sum(counts) - 1))

    assert count.asked == []
    order.locate(position)

    needed = window_of(plan, position, sum(counts)).stop if plan.shuffle else position
    assert sum(counts[shard] for shard in count.asked[:-1]) <= needed
    assert len(count.asked) == len(set(count.asked))


def test_the_first_position_counts_only_the_shards_that_cover_one_window():
    count = Counting((10,) * 100)
    DiscoveredOrder(Plan(counts=None, window=25), 0, 100, count).locate(0)

    assert len(count.asked) == 3


@LAW
@given(UNKNOWN, COUNTS, EPOCHS, st.integers(1, 4))
def test_with_even_windows_and_one_lane_the_index_changes_nothing(
    plan, counts, epoch, windows
):
    n = sum(counts)
    assume(n % windows == 0)
    plan = replace(plan, window=n // windows)
    known = replace(plan, counts=counts, lanes=1)

    assert discovered_stream(plan, counts, epoch) == stream(known, epoch)


@LAW
@given(SEEDS, st.integers(24, 60))
def test_without_an_index_every_epoch_differs(seed, n):
    for counts, window in (((n,), n), ((1,) * n, 1)):  # windows alone, shards alone
        plan = Plan(counts=None, seed=seed, window=window)
        streams = {tuple(discovered_stream(plan, counts, epoch)) for epoch in range(3)}

        assert len(streams) == 3


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("position", [-1, 10, 2**40])
def test_without_an_index_a_position_outside_is_an_index_error(position, shuffle):
    order = discovered(Plan(counts=None, shuffle=shuffle, window=4), (4, 0, 6))
    with pytest.raises(IndexError, match=str(position)):
        order.locate(position)


@LAW
@given(PLANS, st.integers(0, 700))
def test_reach_is_the_position_or_the_end_of_the_epoch(plan, position):
    unknown = Plan(counts=None, seed=plan.seed, window=plan.window)
    expected = min(position, plan.n)

    assert EpochOrder(plan, 0).reach(position) == expected
    assert discovered(unknown, plan.counts).reach(position) == expected


def test_an_order_is_closed_form_where_the_counts_are_known_and_discovered_otherwise():
    count = Counting((3, 4))
    known = open_order(Plan(counts=(3, 4)), 1, 2, count)
    unknown = open_order(Plan(counts=None), 1, 2, count)

    assert isinstance(known, EpochOrder)
    assert isinstance(unknown, DiscoveredOrder)
    assert count.asked == []
    with pytest.raises(UsageError, match="counts"):
        EpochOrder(Plan(counts=None), 0)
    with pytest.raises(UsageError, match="counts"):
        locate(Plan(counts=None), 0, 0)


# ---- stand-ins -----------------------------------------------------------------------


@LAW
@given(PLANS, EPOCHS, st.data(), st.integers(0, 15))
def test_a_stand_in_is_a_sample_of_the_set_and_a_pure_choice(
    plan, epoch, data, attempt
):
    position = data.draw(st.integers(0, plan.n - 1))
    order = EpochOrder(plan, epoch)
    found = order.stand_in(position, attempt)

    assert 0 <= found[1] < plan.counts[found[0]]
    order.locate(plan.n - 1)
    assert found == order.stand_in(position, attempt)
    assert found == EpochOrder(plan, epoch).stand_in(position, attempt)


@LAW
@given(UNKNOWN, COUNTS, EPOCHS, st.data(), st.integers(0, 15))
def test_without_an_index_a_stand_in_is_of_the_same_window_and_a_pure_choice(
    plan, counts, epoch, data, attempt
):
    whole = discovered_stream(plan, counts, epoch)
    position = data.draw(st.integers(0, len(whole) - 1))
    found = discovered(plan, counts, epoch).stand_in(position, attempt)
    other = discovered(plan, counts, epoch)
    other.reach(len(whole))

    assert found in [whole[p] for p in window_of(plan, position, len(whole))]
    assert found == other.stand_in(position, attempt)


def test_attempts_positions_and_epochs_choose_different_stand_ins():
    plan = Plan(counts=(10**6,))
    order = EpochOrder(plan, 0)
    chosen = Counter(order.stand_in(p, a) for p in range(8) for a in range(16))
    chosen[EpochOrder(plan, 1).stand_in(0, 0)] += 1

    assert len(chosen) == 8 * 16 + 1


# ---- the plan ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"counts": (3, -1)}, "samples of a shard must be >= 0, got -1"),
        ({"counts": (3,), "unit": 0}, "unit must be >= 1, got 0"),
        ({"counts": (3,), "window": -4}, "window must be >= 1, got -4"),
        ({"counts": (3,), "lanes": 0}, "lanes must be >= 1, got 0"),
        ({"counts": (3,), "version": 2}, "plan version must be 1, got 2"),
        ({"counts": (3,), "seed": -1}, "[0, 2**64), got -1"),
        ({"counts": (3,), "seed": 2**64}, f"[0, 2**64), got {2**64}"),
        (
            {"counts": None, "lanes": 4},
            "must be 1 where the shards have no index",
        ),
        ({"counts": None, "lanes": 4}, "got 4; run `fiberaug index`"),
    ],
)
def test_a_wrong_plan_is_refused_with_the_value_and_the_bound(arguments, words):
    with pytest.raises(UsageError) as caught:
        Plan(**arguments)

    assert words in str(caught.value)


def test_without_an_index_there_is_one_lane_and_no_number_of_samples():
    plan = Plan(counts=None)

    assert plan.lanes == Plan(counts=None, lanes=1).lanes == 1
    with pytest.raises(TypeError, match="fiberaug index"):
        _ = plan.n


def test_the_plan_in_a_state_is_short_however_many_shards_there_are():
    plan = Plan(
        counts=(10**6,) * 100_000, seed=2**64 - 1, unit=10**6, window=10**9, lanes=64
    )

    assert len(json.dumps(plan.to_json())) < 400
    assert json.loads(json.dumps(plan.to_json())) == plan.to_json()


def test_the_plan_in_a_state_differs_when_anything_differs():
    plan = Plan(counts=(5, 6), lanes=2)
    others = [
        Plan(counts=None, lanes=1),
        replace(plan, counts=(6, 5)),
        replace(plan, counts=(5, 6, 0)),
        replace(plan, seed=1),
        replace(plan, shuffle=False),
        replace(plan, lanes=3),
        replace(plan, unit=8),
        replace(plan, window=9),
    ]

    assert len({json.dumps(p.to_json()) for p in (plan, *others)}) == 1 + len(others)


# ---- the order as it was published ---------------------------------------------------


@pytest.mark.parametrize(
    "case", json.loads(GOLDEN.read_text()), ids=lambda case: case["name"]
)
def test_the_order_is_the_one_that_was_published(case):
    """The order is API: runs of earlier releases resume on these positions."""
    counts, plan = tuple(case["counts"]), dict(case["plan"])
    if case["indexed"]:
        order = EpochOrder(Plan(counts=counts, **plan), case["epoch"])
    else:
        order = discovered(Plan(counts=None, **plan), counts, case["epoch"])

    assert [list(order.locate(p)) for p in case["positions"]] == case["samples"]
    assert [list(order.stand_in(p, attempt)) for p, attempt in case["broken"]] == case[
        "stand_ins"
    ]
