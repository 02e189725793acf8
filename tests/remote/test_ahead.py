"""Laws of what comes next: windows as shards, and the bytes live at one time."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.ahead import Lanes, live_bytes, shard_row
from fiberaug.order import DiscoveredOrder, EpochOrder
from fiberaug.plan import Plan

LAW = settings(deadline=None, max_examples=200)
SHARDS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 10_000)), min_size=1, max_size=9
).filter(lambda shards: any(count for count, _ in shards))
PLANS = st.builds(
    Plan,
    counts=st.none(),
    seed=st.integers(0, 2**64 - 1),
    shuffle=st.booleans(),
    window=st.integers(1, 40),
)


@st.composite
def plans(draw):
    """A plan, the sizes of its shards, an epoch."""
    shards = draw(SHARDS)
    plan = Plan(
        counts=tuple(count for count, _ in shards), seed=draw(st.integers(0, 99)),
        shuffle=draw(st.booleans()), lanes=draw(st.integers(1, 7)),
        unit=draw(st.integers(1, 9)), window=draw(st.integers(1, 40)),
    )  # fmt: skip
    return plan, [size for _, size in shards], draw(st.sampled_from([0, 1, 7]))


@given(plans())
@LAW
def test_a_window_touches_the_shards_in_which_its_positions_lie(case):
    plan, _, epoch = case
    order = EpochOrder(plan, epoch)
    lanes = Lanes(order)
    touched: dict[tuple[int, int], set[int]] = {}
    for position in range(plan.n):
        shard, _ = order.locate(position)
        touched.setdefault(lanes.where(position), set()).add(shard)

    for (lane, window), shards in touched.items():
        found = lanes.shards(lane, window)
        assert set(found) == shards
        assert len(found) == len(shards)


@given(plans())
@LAW
def test_behind_the_last_window_of_a_lane_nothing_is_touched(case):
    plan, _, epoch = case
    lanes = Lanes(EpochOrder(plan, epoch))
    last: dict[int, int] = {}
    for position in range(plan.n):
        lane, window = lanes.where(position)
        last[lane] = max(last.get(lane, 0), window)

    assert all(lanes.shards(lane, window + 1) == [] for lane, window in last.items())


@given(plans(), st.integers(1, 2))
@LAW
def test_no_row_of_any_epoch_touches_more_than_the_live_bytes(case, windows):
    plan, sizes, epoch = case
    lanes = Lanes(EpochOrder(plan, epoch))
    bound = live_bytes(plan, sizes, windows=windows)
    count = len({lanes.where(position)[0] for position in range(plan.n)})
    row = (plan.unit * count) if plan.shuffle else plan.n
    for start in range(0, plan.n, row):
        places: dict[int, set[int]] = {}
        for position in range(start, min(start + row, plan.n)):
            lane, window = lanes.where(position)
            places.setdefault(lane, set()).add(window)
        for step in range(max(map(len, places.values()))):
            live = {
                shard
                for lane, numbers in places.items()
                for ahead in range(windows)
                for shard in lanes.shards(lane, min(numbers) + step + ahead)
            }
            assert sum(sizes[shard] for shard in live) <= bound

    assert bound <= sum(sizes)


def test_equal_shards_are_live_as_windows_and_two_shards_a_lane():
    plan = Plan(counts=(1000,) * 1000, window=4000, lanes=10)

    assert live_bytes(plan, [1_000_000] * 1000) == 10 * (3_998_000 + 2 * 1_000_000)
    assert live_bytes(plan, [1_000_000] * 1000, windows=2) == 10 * (7_998 + 2000) * 1000


def test_shards_larger_than_a_window_are_live_two_a_lane():
    plan = Plan(counts=(10_000,) * 100, window=4000, lanes=10)

    assert live_bytes(plan, [7] * 100) == 2 * 10 * 7


def test_a_small_set_is_live_whole():
    assert live_bytes(Plan(counts=(5, 5), window=4), [100, 50]) == 150


@given(PLANS, st.lists(st.integers(1, 60), min_size=1, max_size=9))
@LAW
def test_without_an_index_the_shards_come_as_the_epoch_lays_them(plan, counts):
    row = shard_row(plan, 3, len(counts))
    asked: list[int] = []

    def count(shard: int) -> int:
        asked.append(shard)
        return counts[shard]

    DiscoveredOrder(plan, 3, len(counts), count).reach(10**9)

    assert row == asked
