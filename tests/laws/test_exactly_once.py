"""Exactly once, whoever reads: ranks, workers, cuts and resumes over every kind of set.

Over hundreds of small sets of which only the side-cars exist; real shards, pixels and
processes are compared in `test_exactly_once_pixels.py`. P1 to P7 and P11 are the
properties of exactly-once delivery as a design states them.
"""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fiberaug.order import Order, open_order
from fiberaug.planning import make_plan
from fiberaug.seeding import ShardUids, key
from fiberaug.shards.index import Facts, Field, IndexBuilder, ShardIndex, read_head
from fiberaug.shards.manifest import FILE, Manifest, ShardEntry
from fiberaug.shards.resolve import resolve
from fiberaug.sharing import rank_range, steps, worker_batches
from fiberaug.tiling import Tiling

LAW = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
WORLDS = (1, 2, 3, 4, 6)
TILES = Tiling(height=5, width=4, overlap=1)


class Item(NamedTuple):
    """What is delivered at a position."""

    place: tuple[int, int, int | None]
    """Shard, sample, tile."""

    visit: int
    label: int
    seed: bytes
    """Key of the augmentation."""


class Dealing:
    """A set of which only the side-cars are there, and how it is dealt."""

    def __init__(self, labels, **options):
        self.labels, self.options = labels, options
        with TemporaryDirectory() as folder:
            write_index(Path(folder), labels)
            found = resolve(folder)
            self.names = [ref.name for ref in found.refs]
            self.indexes = [
                ShardIndex.open(Path(ref.index), shard=ref.name) for ref in found.refs
            ]
            self.plan, self.rows = make_plan(found, train=True, **options)

    def order(self, epoch) -> Order:
        return open_order(self.plan, epoch, len(self.labels), len)

    def stream(self, epoch):
        """Return the items of an epoch, in the order of their positions."""
        order, found = self.order(epoch), []
        for position in range(self.plan.n):
            shard, row = order.locate(position)
            index, again, tile = row, 0, None
            if self.rows is not None:
                index, again, tile = self.rows.place(
                    epoch, shard, row, lambda shard=shard: self.indexes[shard]
                )
            visit = order.visit(position) + again
            uid = ShardUids("real", self.names[shard])(index)
            stage = "cpu" if tile is None else f"cpu/tile {tile}"
            seed = key(self.plan.seed, epoch, uid, visit, 0, stage)
            label = self.labels[shard][index]
            found.append(Item((shard, index, tile), visit, label, seed))
        return found


def write_index(folder, labels):
    entries = []
    for number, own in enumerate(labels):
        name = f"s-{number:06d}.tar"
        builder = IndexBuilder(name)
        for row, label in enumerate(own):
            members = [Field("jpg", 512, 1, 0)]
            builder.add(
                f"{number}-{row}",
                members,
                Facts(label=label, width=row + 1, height=row % 9),
            )
        index = builder.finish(shard_bytes=1024, checksums=True)
        path = folder / f"{name}.idx"
        path.write_bytes(index.to_bytes())
        entries.append(
            ShardEntry(
                name=name, bytes=1024, samples=len(own), sha256="",
                index_crc32=read_head(path, shard=name).digest,
                counts={str(label): n for label, n in Counter(own).items()},
            )
        )  # fmt: skip
    (folder / FILE).write_bytes(Manifest(shards=tuple(entries)).to_bytes())


CHOICES = st.fixed_dictionaries(
    {},
    optional={
        "subset": st.sampled_from([0.3, 0.5, 1.0, 3, "width < 9 or label == 1"]),
        "balance": st.sampled_from(["uniform", "sqrt", "weights"]),
        "epoch_size": st.integers(1, 90),
        "tiling": st.sampled_from([TILES, Tiling(height=3, width=7)]),
    },
)
ORDERS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**64 - 1),
        "shuffle": st.booleans(),
        "lanes": st.integers(1, 5),
        "unit": st.integers(1, 6),
        "window": st.integers(1, 30),
    }
)
LABELS = st.lists(
    st.lists(st.integers(0, 3), max_size=20), min_size=1, max_size=5
).filter(lambda labels: sum(map(len, labels)) > 2)
DEALINGS = st.builds(
    lambda labels, choice, order: Dealing(labels, **choice, **order),
    LABELS, CHOICES, ORDERS,
)  # fmt: skip
EPOCHS = st.sampled_from([0, 1, 5, 2**20])


def delivered(n, world, workers, batch, *, start=0, stop=None, drop_last=False):
    """Return the positions of each step of each rank, as its workers build them."""
    total = steps(n, batch, drop_last=drop_last, start=start)
    total = total if stop is None else min(stop, total)
    ranks = []
    for rank in range(world):
        built = {
            k: list(rank_range(n, batch, k, rank, world, start)[0])
            for worker in range(workers)
            for k in worker_batches(total, worker, workers)
        }
        assert sorted(built) == list(range(total))
        ranks.append([built[k] for k in range(total)])
    return ranks


def joined(ranks):
    """Return the positions of all ranks in their global order."""
    return [p for step in zip(*ranks, strict=True) for part in step for p in part]


@LAW
@given(
    DEALINGS, EPOCHS, st.sampled_from(WORLDS), st.integers(1, 4), st.integers(1, 4),
    st.booleans(),
)  # fmt: skip
def test_all_ranks_make_equal_steps_and_no_turn_comes_twice_or_is_lost(
    dealing, epoch, world, workers, local, drop_last
):
    """P1, P2, P3: with drop_last exactly the tail is missing."""
    n, batch = dealing.plan.n, world * local
    ranks = delivered(n, world, workers, batch, drop_last=drop_last)
    positions = joined(ranks)
    items = dealing.stream(epoch)
    turns = Counter(item.place for item in items)

    assert len({len(steps_of_rank) for steps_of_rank in ranks}) == 1
    assert positions == list(range(n // batch * batch if drop_last else n))
    assert len({(item.place, item.visit) for item in items}) == n
    for place, count in turns.items():
        visits = sorted(item.visit for item in items if item.place == place)
        if "balance" in dealing.options:
            assert visits == list(range(count))
    if not {"balance", "epoch_size"} & set(dealing.options):
        assert set(turns.values()) == {1}
        assert len(turns) == dealing.plan.samples


@LAW
@given(DEALINGS, EPOCHS, st.data())
def test_cut_anywhere_and_resumed_by_others_the_stream_is_the_unbroken_one(
    dealing, epoch, data
):
    """P4, P11: three parts, so two resumes in a row; seeds of augmentation included."""
    n, whole, got, start = dealing.plan.n, dealing.stream(epoch), [], 0
    for part in range(3):
        world, workers = (
            data.draw(st.sampled_from(WORLDS)),
            data.draw(st.integers(1, 4)),
        )
        batch = world * data.draw(st.integers(1, 9))
        stop = data.draw(st.integers(0, 4)) if part < 2 else None
        again = Dealing(dealing.labels, **dealing.options)  # in another process
        positions = joined(delivered(n, world, workers, batch, start=start, stop=stop))
        items = again.stream(epoch)
        got += [items[p] for p in positions]
        start += len(positions)

    assert got == whole


@LAW
@given(
    st.lists(st.integers(0, 2), min_size=40, max_size=60),
    CHOICES, st.integers(0, 2**64 - 1),
)  # fmt: skip
def test_the_next_epoch_has_another_order_and_other_seeds(labels, choice, seed):
    """P5, P6, P7: in one window, where every order is possible."""
    dealing = Dealing([labels[:17], labels[17:]], **choice, seed=seed, window=1000)
    assume(dealing.plan.n >= 24)
    epochs = [dealing.stream(epoch) for epoch in range(3)]
    orders = {tuple(item.place for item in items) for items in epochs}
    seeds = [item.seed for items in epochs for item in items]

    assert len(orders) == 3
    assert len(set(seeds)) == len(seeds)


@LAW
@given(LABELS, ORDERS, st.sampled_from(["uniform", "sqrt"]), st.integers(1, 90), EPOCHS)
def test_every_epoch_of_a_balance_deals_each_class_its_share(
    labels, order, rule, size, epoch
):
    """Never a class more than one off; never a sample two turns before another."""
    dealing = Dealing(labels, balance=rule, epoch_size=size, **order)
    items = dealing.stream(epoch)
    sizes = Counter(label for own in labels for label in own)
    shares = {c: 1 if rule == "uniform" else n**0.5 for c, n in sizes.items()}
    turns = Counter(item.label for item in items)
    each = Counter(item.place for item in items)

    assert len(items) == size
    for label, share in shares.items():
        assert abs(turns[label] - size * share / sum(shares.values())) < 1
        own = [
            each[shard, index, None]
            for shard, row in enumerate(labels)
            for index, found in enumerate(row)
            if found == label
        ]
        assert max(own) - min(own) <= 1


@LAW
@given(LABELS, ORDERS, st.integers(1, 50), st.sampled_from([None, 0.5, 2]))
def test_epochs_of_any_size_laid_end_to_end_are_passes_of_the_set(
    labels, order, size, subset
):
    choice = {} if subset is None else {"subset": subset}
    dealing = Dealing(labels, epoch_size=size, **choice, **order)
    once = Dealing(labels, **choice, **order)
    samples, row = once.plan.samples, []
    while len(row) < 2 * samples + size:
        row += dealing.stream(len(row) // size)

    for number in range(2):
        part = row[number * samples : (number + 1) * samples]
        assert [i.place for i in part] == [i.place for i in once.stream(number)]


@LAW
@given(LABELS, ORDERS, st.data())
def test_a_part_does_not_depend_on_the_seed_and_lies_within_a_larger_one(
    labels, order, data
):
    sizes = data.draw(st.sampled_from([(0.2, 0.6), (0.5, 1.0), (1, 2), (2, 5)]))
    parts = []
    for subset, seed in ((sizes[0], 1), (sizes[0], 2), (sizes[1], 3)):
        if isinstance(subset, float):
            assume(round(subset * sum(map(len, labels))))
        dealing = Dealing(labels, subset=subset, **{**order, "seed": seed})
        parts.append({item.place for item in dealing.stream(0)})

    assert parts[0] == parts[1]
    assert parts[0] <= parts[2]


@LAW
@given(LABELS, ORDERS, st.sampled_from([None, 0.5, 2, "width < 9 or label == 1"]))
def test_of_each_photo_that_takes_part_an_epoch_deals_every_tile_once(
    labels, order, subset
):
    choice = {} if subset is None else {"subset": subset}
    photos = Dealing(labels, **choice, **order).stream(0)
    tiles = Dealing(labels, tiling=TILES, **choice, **order).stream(0)

    def along(side, size):  # counted by walking
        count, end = 1, size
        while end < side:
            count, end = count + 1, end + size - 1
        return count

    # The side-cars say that sample i is i + 1 px wide and i % 9 px high.
    expected = {
        (shard, i, tile)
        for (shard, i, _), *_ in photos
        for tile in range(along(i + 1, 4) * along(i % 9, 5))
    }
    assert {item.place for item in tiles} == expected
    assert len(tiles) == len(expected)
