"""Damage in a pool is told with its source, and answered from the same source."""

import json
import logging
import shutil
from collections import Counter
from pathlib import Path

import pytest
from mixsets import delivered, opened, rows, shares

import fiberaug
from fiberaug import Mix
from fiberaug.errors import BudgetExceeded, ShardDamaged, StoreError
from fiberaug.jobs.indexing import index_shards


@pytest.fixture
def pool(sets, tmp_path):
    """A copy of the pool of 17, in shards of about four."""
    shutil.copytree(sets["gan"], tmp_path / "pool")
    return tmp_path / "pool"


def spoil(pool, key):
    """Overwrite the pixels of a sample; sizes, index and checksums say it is whole."""
    for tar in sorted(pool.glob("*.tar")):
        data = bytearray(tar.read_bytes())
        at = data.find(f"{key}.png".encode())
        if at >= 0:
            start = at + 512
            data[start + 60 : start + 200] = bytes(140)
            tar.write_bytes(data)
            index_shards(tar, progress=False)
            return
    raise AssertionError(key)


def cut(tar):
    with tar.open("r+b") as file:
        file.truncate(tar.stat().st_size // 2)


def empty(tar):
    tar.write_bytes(b"")


def gone(tar):
    tar.unlink()


def passed(dataset, batch=8, **options):
    with fiberaug.DataLoader(dataset, batch, **options) as loader:
        found = delivered(loader)
        return found, loader.stats()


def loose(sets, mix, **options):
    """A data set and a pool without names of classes: ids in the members say them."""
    return opened(sets["ids"], mix, **{"max_errors": 1, **options})


@pytest.fixture
def ids(sets, write_set):
    """Sets whose classes are numbers, so that a pool of loose shards fits."""
    content = [{**row, "label": "abc".find(row["label"][0])} for row in rows(50)]
    return {**sets, "ids": write_set(content, name="ids", shard_size="12kB")}


def broken(write_set, keys):
    """Loose shards of 17 samples whose classes are numbers; some do not decode."""
    content = [
        {**row, "label": "abc".find(row["label"][0])}
        for row in rows(17, seed=1, prefix="g")
    ]
    folder = Path(write_set(content, name="numbered", shard_size="12kB"))
    (folder / "dataset.json").unlink()
    for key in keys:
        spoil(folder, key)
    return str(folder / "*.tar")


def labels(found):
    """Return how many rows each class has."""
    return Counter(row[1] for row in found.values())


@pytest.fixture
def numbered(write_set):
    """A pool of which three samples do not decode."""
    return broken(write_set, ["g000", "g003", "g010"])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_sample_is_replaced_from_its_source_and_class(ids, numbered, workers):
    mix = Mix({"gan": numbered}, 0.5)
    found, stats = passed(loose(ids, mix), num_workers=workers)
    plain, _ = passed(loose(ids, None))
    assert shares(found, 0) == {"real": 25, "gan": 25}
    assert not {row[0] for row in found.values()} & {"g000", "g003", "g010"}
    assert labels(found) == labels(plain)
    stand_ins = [
        json.loads(row[3]) for row in found.values() if '"visit":1099' in row[3]
    ]
    assert stand_ins
    assert {one["origin"] for one in stand_ins} == {"gan"}
    assert stats["quarantined"] == 3
    assert stats["share/gan"] == 0.5


def test_the_quarantine_names_the_sources_shard_and_key(ids, numbered, tmp_path):
    mix = Mix({"gan": numbered}, 0.5)
    passed(loose(ids, mix), log=tmp_path / "run")
    text = (tmp_path / "run" / "quarantine.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in text]
    assert sorted({line["key"] for line in lines}) == ["g000", "g003", "g010"]
    names = {path.name for path in Path(numbered).parent.glob("*.tar")}
    assert all(line["shard"] in names for line in lines)


def test_broken_samples_of_a_pool_count_against_the_budget(ids, write_set):
    pool = broken(write_set, [f"g{i:03}" for i in range(12)])
    with pytest.raises(BudgetExceeded):
        passed(loose(ids, Mix({"gan": pool}, 0.9), max_errors=0.0))


def test_a_class_of_one_sound_sample_is_always_answered_by_it(ids, write_set):
    bees = [f"g{i:03}" for i in range(17) if (i * 2 + 1) % 3 == 1]
    pool = broken(write_set, bees[1:])
    found, _ = passed(loose(ids, Mix({"gan": pool}, 1.0)))
    used = {row[0] for row in found.values() if row[1] == 1}
    assert used == {bees[0]}


def test_a_class_of_no_sound_sample_is_answered_by_the_real_one_of_its_place(
    ids, write_set
):
    keys = [f"g{i:03}" for i in range(17) if (i * 2 + 1) % 3 == 1]  # all bees
    found, _ = passed(loose(ids, Mix({"gan": broken(write_set, keys)}, 0.5)))
    plain, _ = passed(loose(ids, None))
    bees = [
        sorted(row[0] for row in one.values() if row[1] == 1) for one in (found, plain)
    ]
    assert bees[0] == bees[1]  # each real one, once
    assert labels(found) == labels(plain)
    assert shares(found, 0)["gan"] > 10


def test_a_masked_row_of_a_pool_says_which_sample_it_was(ids, numbered):
    mix = Mix({"gan": numbered}, 0.5)
    dataset = loose(ids, mix, on_error="mask")
    masked = []
    with fiberaug.DataLoader(dataset, 5) as loader:
        for batch in loader:
            for i, record in enumerate(batch["record"]):
                if batch["is_pad"][i]:
                    masked.append((record.origin, record.key))
    assert set(masked) == {("gan", "g000"), ("gan", "g003"), ("gan", "g010")}


def test_a_broken_sample_is_raised_with_its_source_where_that_is_asked_for(
    ids, numbered
):
    dataset = loose(ids, Mix({"gan": numbered}, 0.5), on_error="raise")
    with pytest.raises(fiberaug.errors.SampleBroken, match="key g0"):
        passed(dataset)


@pytest.mark.parametrize("spoiler", [cut, empty])
def test_a_damaged_shard_of_a_pool_stops_the_run_or_is_gone_without(
    sets, pool, spoiler
):
    whole = opened(sets["real"], Mix({"gan": str(pool)}, 0.5))
    skipping = opened(
        sets["real"], Mix({"gan": str(pool)}, 0.5), on_shard_error="skip", max_errors=1
    )
    tar = sorted(pool.glob("*.tar"))[1]
    lost = {row["__key__"] for row in fiberaug.StreamingDataset(
        str(pool), shuffle=False) if row["__url__"] == tar.name}  # fmt: skip
    spoiler(tar)
    with pytest.raises((ShardDamaged, StoreError), match=tar.name):
        passed(whole)
    found, stats = passed(skipping)
    assert shares(found, 0) == {"real": 25, "gan": 25}
    assert not {row[0] for row in found.values()} & lost
    assert stats["quarantined_shards"] == 1


def test_an_unreadable_shard_of_a_pool_is_told_when_the_set_is_opened(sets, pool):
    gone(sorted(pool.glob("*.tar"))[1])
    with pytest.raises((ShardDamaged, StoreError), match="shard-000001"):
        passed(opened(sets["real"], Mix({"gan": str(pool)}, 0.5)))


def test_a_damaged_index_of_a_pool_is_told_when_the_set_is_opened(sets, pool):
    side_car = min(pool.glob("*.idx"))
    side_car.write_bytes(side_car.read_bytes()[:-40])
    with pytest.raises(ShardDamaged, match="shard-000000"):
        opened(sets["real"], Mix({"gan": str(pool)}, 0.5))


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_that_a_dry_source_ends_ends_alike_for_all(sets, world, workers):
    mix = Mix(sets["small"], 0.25, dry="stop", match_labels=False)
    rows_of, steps = Counter(), set()
    for rank in range(world):
        dataset = opened(sets["real"], mix, rank=rank, world_size=world)
        with fiberaug.DataLoader(dataset, 3, num_workers=workers) as loader:
            size, batches = len(loader), list(loader)
            steps.add(len(batches))
            assert len(batches) == size
            for place in delivered(batches):
                rows_of[place] += 1
    # The sixth of five samples would be position 23: every fourth is mixed in.
    assert sorted(rows_of) == [(0, position) for position in range(23)]
    assert set(rows_of.values()) == {1}
    assert len(steps) == 1


def test_epochs_after_one_that_ended_early_go_on_and_can_be_resumed(sets):
    mix = Mix(sets["small"], 0.25, dry="stop", match_labels=False)
    with fiberaug.DataLoader(opened(sets["real"], mix), 4) as loader:
        first = [delivered(loader) for _ in range(3)]
        loader.load_state_dict({**loader.state_dict(), "epoch": 1, "position": 8})
        again = delivered(loader)
    assert again == {place: row for place, row in first[1].items() if place[1] >= 8}


def test_skipped_damage_is_told_once_in_the_log(sets, pool, caplog):
    dataset = opened(
        sets["real"], Mix({"gan": str(pool)}, 0.5), on_shard_error="skip", max_errors=1
    )
    cut(sorted(pool.glob("*.tar"))[1])
    caplog.set_level(logging.WARNING, "fiberaug")
    passed(dataset)
    said = [r for r in caplog.records if "damaged shard, skipped" in r.getMessage()]
    assert len(said) == 1
    assert "shard-000001" in said[0].getMessage()
