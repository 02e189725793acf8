"""A pool is the same whatever the batches, processes and kills."""

import json
import random
import shutil
from functools import partial

import numpy as np
import pytest
from generators import Shapes, make_shapes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from killed import digests, kill_at, kill_when

import fiberaug
from fiberaug.errors import UsageError
from fiberaug.synthetic.journal import Journal

OPTIONS = {"per_class": 20, "shard_size": "24kB", "progress": False}


def write(folder, generator=None, **options):
    """A pool of some shards, in which samples are refused."""
    given_options = OPTIONS | options
    return fiberaug.Pool.write(generator or Shapes(twins=60), folder, **given_options)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    pool = write(tmp_path_factory.mktemp("unbroken") / "pool")
    assert len(pool.manifest.shards) >= 5
    assert sum(one["made"] for one in pool.file.counts.values()) > 60
    return digests(pool.path)


@pytest.mark.parametrize(
    ("batch_size", "processes"), [(1, 1), (64, 1), (7, 3), (1, 3), (64, 3)]
)
def test_batches_and_processes_change_nothing(
    tmp_path, unbroken, batch_size, processes
):
    pool = write(tmp_path / "pool", batch_size=batch_size, processes=processes)

    assert digests(pool.path) == unbroken


def test_processes_may_each_make_their_generator(tmp_path):
    pools = [
        write(tmp_path / str(n), make_shapes, processes=n, per_class=3) for n in (1, 2)
    ]

    assert digests(pools[0].path) == digests(pools[1].path)


def test_the_seed_and_the_encoding_change_everything(tmp_path, unbroken):
    for options in ({"seed": 1}, {"encoding": "webp"}):
        found = digests(write(tmp_path / str(options), **options).path)
        assert found["synth-000000.tar"] != unbroken["synth-000000.tar"]


def go_on(folder, unbroken, event, **options):
    """Kill at an event, then finish: the bytes are those of the unbroken run."""
    work = partial(write, folder, **options)
    was_killed = kill_at(event, folder, work)
    assert not (was_killed and (folder / "dataset.json").exists()
                and not (folder / "pool.json").exists())  # fmt: skip
    work()
    assert digests(folder) == unbroken, event
    shutil.rmtree(folder)
    return was_killed


@pytest.mark.parametrize("event", [4, 27, 61])
def test_a_killed_run_goes_on(tmp_path, unbroken, event):
    assert go_on(tmp_path / "pool", unbroken, event)


def test_a_run_that_is_killed_again_and_again_ends_the_same(tmp_path, unbroken):
    folder, rng, kills = tmp_path / "pool", random.Random(7), 0
    while kill_at(rng.randint(12, 30), folder, partial(write, folder)):
        kills += 1
        assert kills < 60
    assert kills >= 3
    assert digests(folder) == unbroken


@pytest.mark.slow
def test_a_kill_at_any_step_loses_nothing(tmp_path):
    options = {"per_class": 8, "shard_size": "30kB", "generator": Shapes(twins=20)}
    unbroken = digests(write(tmp_path / "unbroken", **options).path)
    event = 1
    while go_on(tmp_path / "p", unbroken, event, batch_size=1 + event % 9, **options):
        event += 1
    assert event > 25


@pytest.mark.parametrize(
    ("lost", "event"),
    [("synth-000000.tar", 35), ("synth-000000.tar", 37), ("synth-000001.tar.idx", 99)],
)
def test_a_shard_that_was_lost_is_made_again(tmp_path, half, unbroken, lost, event):
    """And the journal of a later shard is not gone on with."""
    folder = tmp_path / "pool"
    shutil.copytree(half, folder)
    (folder / lost).unlink()
    kill_at(event, folder, partial(write, folder))
    write(folder)

    assert digests(folder) == unbroken


def test_what_a_kill_at_the_very_end_left_is_removed(tmp_path):
    folder = write(tmp_path / "pool", per_class=2).path
    before = digests(folder)
    (folder / ".converting").mkdir()
    (folder / ".converting" / "000001.samples").write_bytes(b"")
    (folder / ".converting.json").write_text("{}")
    write(folder, per_class=2)

    assert digests(folder) == before


@pytest.mark.slow
def test_processes_that_are_killed_lose_nothing(tmp_path, unbroken):
    folder, rng = tmp_path / "pool", random.Random(3)
    for processes in (3, 1, 2):
        for shards in range(1, 5):
            limit = f"synth-{rng.randrange(shards):06d}.tar"
            ready = (folder / limit).exists
            work = partial(write, folder, processes=processes, batch_size=processes)
            assert kill_when(ready, work)
        write(folder, batch_size=9)
        assert digests(folder) == unbroken
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def half(tmp_path_factory, unbroken):
    """A run that was killed with some samples in its journal."""
    folder = tmp_path_factory.mktemp("half") / "pool"
    assert kill_at(34, folder, partial(write, folder, batch_size=5))
    (journal,) = (folder / ".converting").glob("*.samples")
    assert journal.stat().st_size > 1000
    return folder


@given(cut=st.floats(0, 1), torn=st.booleans())
@settings(
    max_examples=5, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_a_journal_that_was_torn_is_gone_on_with(tmp_path, half, unbroken, cut, torn):
    folder = tmp_path / "pool"
    shutil.copytree(half, folder)
    (journal,) = (folder / ".converting").glob("*.samples")
    data = bytearray(journal.read_bytes())
    place = int(cut * (len(data) - 1))
    if torn:
        del data[place:]
    else:
        data[place] ^= 0x41
    journal.write_bytes(data)

    write(folder)
    assert digests(folder) == unbroken
    shutil.rmtree(folder)


class Counted(Shapes):
    """Notes the seeds that it is asked for."""

    def __init__(self):
        super().__init__(twins=60)
        self.seen = []

    def generate(self, seeds, labels, **conditions):
        self.seen.extend(seeds)
        return super().generate(seeds, labels, **conditions)


def test_what_a_kill_kept_is_not_made_again(tmp_path):
    folder, generator = tmp_path / "pool", Counted()
    assert kill_at(34, folder, partial(write, folder, generator, batch_size=5))
    (path,) = (folder / ".converting").glob("*.samples")
    *_, last = sorted((folder / ".converting").glob("*.json"))
    kept = json.loads(last.read_bytes())["state"]["made"]
    with Journal(path) as journal:
        count = sum(kept.values()) + len(list(journal.read()))
    made = write(folder, generator).file.cost["made"]

    assert count > 10
    assert len(set(generator.seen[1:])) == made - count
    assert len(generator.seen) == 1 + made - count  # one tells that it is the same


def test_a_generator_that_depends_on_its_batch_is_noted(tmp_path, caplog):
    class Noisy(Shapes):
        def generate(self, seeds, labels, **conditions):
            return super().generate(seeds, labels) | np.uint8(len(seeds) > 1)

    pool = write(tmp_path / "pool", Noisy(), per_class=2)

    assert pool.file.checks["batch"]["compared"] == 4
    assert pool.file.checks["batch"]["differing"] >= 3
    assert pool.file.checks["batch"]["most"] == 1
    assert "differ by up to 1 levels when they are made in another" in caplog.text


def test_a_generator_that_does_not_is_not_warned_of(tmp_path, caplog):
    pool = write(tmp_path / "pool", per_class=2)

    assert pool.file.checks["batch"] == {"compared": 4, "differing": 0, "most": 0}
    assert not caplog.text


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"per_class": 21}, "counts.bar is 20 there and 21 here"),
        ({"classes": ["bar"]}, "counts.disc is 20 there and None here"),
        ({"encoding": "webp"}, "encoding is 'png' there and 'webp' here"),
        ({"generator": Shapes((8, 8), twins=60)}, "generator.params.size"),
        ({"conditions": {"dark": 1}}, "conditions.dark is None there and 1 here"),
        ({"dedupe": False}, "dedupe is True there and False here"),
        ({"filter": lambda images, labels: labels * 0 + 1}, "filter"),
        ({"licence": "mine"}, "licence is 'CC0-1.0' there and 'mine' here"),
    ],
)
@pytest.mark.parametrize("finished", [False, True])
def test_another_pool_is_not_gone_on_with(tmp_path, half, options, named, finished):
    folder = tmp_path / "pool"
    shutil.copytree(half, folder)
    if finished:
        write(folder)
    before = digests(folder) if finished else None

    with pytest.raises(UsageError, match="holds another pool: ") as caught:
        write(folder, **options)

    assert named in str(caught.value)
    assert "probe" not in str(caught.value)  # it follows from the rest
    assert before is None or digests(folder) == before


def test_a_generator_that_says_nothing_is_known_by_what_it_makes(tmp_path):
    class Silent(Shapes):
        def describe(self):
            return {}

    write(tmp_path / "pool", Silent(twins=60), per_class=2)
    with pytest.raises(UsageError, match=r"another pool: generator\.probe is"):
        write(tmp_path / "pool", Silent((8, 8)), per_class=2)


def test_the_cost_of_all_runs_is_told(tmp_path, half):
    folder = tmp_path / "pool"
    shutil.copytree(half, folder)
    (path,) = (folder / ".converting").glob("*.samples")
    with Journal(path) as journal:
        kept = [made for made, _ in journal.read()]
    path.unlink()
    with Journal(path) as journal:
        for made in kept:
            journal.write(made, 1000.0)
    cost = write(folder).file.cost
    told = json.loads((folder / "pool.json").read_text())

    assert told["cost"] == cost
    assert 0 < cost["generate_s"] - 1000 * len(kept) < 900
    assert cost["calls"] > len(kept)
    assert cost["made"] == sum(one["made"] for one in told["counts"].values())
