"""subset, balance and epoch_size through the data set: what is dealt, what stays."""

import json
import pickle
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from dealt import places

import fiberaug
from fiberaug.engine import Engine
from fiberaug.errors import ShardDamaged, StateMismatch, UsageError

N = 60
PLAN = {"unit": 2, "window": 8, "lanes": 2, "record": "none"}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Four shards of 60 tiny samples, class 0 five times as often as class 2."""
    folder = tmp_path_factory.mktemp("chosen") / "set"
    rng = np.random.default_rng(1)
    with fiberaug.ShardWriter(folder, shard_size="36kB") as writer:
        for i in range(N):
            image = rng.integers(0, 256, (8, 8 + i % 3, 3), np.uint8)
            label = 0 if i % 12 < 7 else 1 if i % 12 < 11 else 2
            writer.write({"__key__": f"s{i:02}", "image": image, "label": label})
    assert len(list(folder.glob("*.tar"))) >= 3
    return str(folder)


def dealt(dataset, epoch=0):
    """Return (key, visit, label) of each position of an epoch."""
    pool = Engine(dataset.setup)._pool
    return [
        (pool[shard].index.key(index), visit, label)
        for shard, index, visit, label in places(dataset, epoch)
    ]


def opened(shards, **options):
    return fiberaug.StreamingDataset(shards, **PLAN, **options)


def test_a_fraction_has_exactly_its_size_and_holds_the_smaller_ones(shards):
    smaller = set()
    for share in (0.01, 0.1, 0.25, 0.26, 0.5, 0.9, 1.0):
        chosen = {key for key, _, _ in dealt(opened(shards, subset=share))}
        assert len(chosen) == round(share * N)
        assert smaller <= chosen
        smaller = chosen


def test_a_fraction_is_the_same_for_every_seed_epoch_and_order_of_shards(shards):
    folder = sorted(map(str, Path(shards).glob("*.tar")))
    wanted = {key for key, _, _ in dealt(opened(shards, subset=0.5))}
    for options in ({"seed": 9}, {"shuffle": False}):
        assert {
            k for k, _, _ in dealt(opened(shards, subset=0.5, **options), 3)
        } == wanted
    whole = {k for k, _, _ in dealt(opened(folder[::-1], subset=1.0))}
    assert len(whole) == N


def test_a_number_takes_that_many_of_each_class_and_all_of_a_small_one(shards, caplog):
    counts = Counter(label for _, _, label in dealt(opened(shards, subset=8)))
    assert counts == {0: 8, 1: 8, 2: 5}
    assert "class 2 has 5 samples, subset=8" in caplog.text


def test_keys_choose_with_and_without_their_shard(shards):
    chosen = dealt(opened(shards, subset=["s03", "s59"]))
    assert {key for key, _, _ in chosen} == {"s03", "s59"}
    shard = Engine(opened(shards).setup).setup.refs[0].name
    named = dealt(opened(shards, subset={f"{shard}/s00"}))
    assert [key for key, _, _ in named] == ["s00"]


def test_a_condition_chooses_by_the_index(shards):
    chosen = dealt(opened(shards, subset="label == 1 and width == 9"))
    assert {key for key, _, _ in chosen} == {
        f"s{i:02}" for i in range(N) if 7 <= i % 12 < 11 and i % 3 == 1
    }


def test_a_chosen_sample_looks_as_in_the_whole_set(shards):
    def uids(dataset):
        engine = Engine(dataset.setup)
        made = [engine.deliver(0, p) for p in range(dataset.plan.n)]
        return {m.packed.key: (m.packed.uid, m.packed.visit) for m in made}

    whole, part = uids(opened(shards)), uids(opened(shards, subset=0.3))
    assert part == {key: whole[key] for key in part}


def test_uniform_deals_every_class_equally_and_no_two_repeats_alike(shards):
    for epoch in (0, 1, 5):
        rows = dealt(opened(shards, balance="uniform"), epoch)
        assert Counter(label for _, _, label in rows) == {0: 20, 1: 20, 2: 20}
        assert len({(key, visit) for key, visit, _ in rows}) == N


def test_a_class_that_is_dealt_less_comes_whole_over_the_epochs(shards):
    dataset = opened(shards, balance={0: 1, 1: 1, 2: 1}, epoch_size=21)
    epochs = [dealt(dataset, epoch) for epoch in range(5)]
    assert all(len(rows) == 21 for rows in epochs)
    seen = {key for rows in epochs for key, _, label in rows if label == 0}
    assert len(seen) == 35  # 7 of 35 in each epoch


def test_weights_of_classes_are_the_shares_of_the_epoch(shards):
    dataset = opened(shards, balance={0: 0, 1: 3, 2: 1}, epoch_size=40)
    counts = Counter(label for _, _, label in dealt(dataset))
    assert counts == {1: 30, 2: 10}


def test_a_balance_goes_by_the_chosen_samples(shards):
    dataset = opened(shards, subset="label != 1", balance="uniform")
    counts = Counter(label for _, _, label in dealt(dataset))
    assert counts == {0: 20, 2: 20}


def test_weights_of_the_index_are_one_each_by_default_and_deal_the_set_once(shards):
    rows = dealt(opened(shards, balance="weights"))
    assert sorted(key for key, _, _ in rows) == sorted(f"s{i:02}" for i in range(N))


@pytest.mark.parametrize("size", [7, 59, 60, 61, 130])
def test_epochs_of_any_size_deal_every_sample_once_in_each_set_of_positions(
    shards, size
):
    dataset = opened(shards, epoch_size=size)
    row = [item for epoch in range(18) for item in dealt(dataset, epoch)]
    assert len(dataset) == size
    for first in range(0, len(row) - N + 1, N):
        assert len({key for key, _, _ in row[first : first + N]}) == N
    for epoch in range(3):
        rows = dealt(dataset, epoch)
        assert len({(key, visit) for key, visit, _ in rows}) == size


def test_len_steps_and_ranks_follow_the_epoch(shards):
    for options, positions in (
        ({"subset": 0.5}, 30),
        ({"epoch_size": 47}, 47),
        ({"balance": "sqrt", "epoch_size": 33}, 33),
    ):
        loaders = [
            fiberaug.DataLoader(
                opened(shards, rank=rank, world_size=2, **options), 4, collate="list"
            )
            for rank in range(2)
        ]
        batches = [list(loader) for loader in loaders]
        assert len(batches[0]) == len(batches[1]) == len(loaders[0])
        assert len(loaders[0]) == -(-positions // 8)
        rows = sum(int((~batch["is_pad"]).sum()) for part in batches for batch in part)
        assert rows == positions


def test_a_state_of_another_part_balance_or_size_is_refused_by_name(shards):
    options = [
        {}, {"subset": 0.5}, {"subset": 4}, {"subset": "label == 1"},
        {"subset": ["s01"]}, {"balance": "uniform"}, {"balance": "sqrt"},
        {"balance": {0: 1, 1: 2, 2: 3}}, {"epoch_size": 60},
    ]  # fmt: skip
    datasets = [opened(shards, **option) for option in options]
    for i, one in enumerate(datasets):
        one.load_state_dict(one.state(1, 1))
        for j, other in enumerate(datasets):
            if i != j:
                with pytest.raises(StateMismatch, match=r"plan\."):
                    other.load_state_dict(one.state(1, 1))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"subset": 0.0}, r"subset must be in \(0, 1\]"),
        ({"subset": 1.5}, r"subset must be in \(0, 1\]"),
        ({"subset": True}, "subset must be a fraction"),
        ({"subset": 0}, "subset must be >= 1"),
        ({"subset": ["nobody"]}, "no shard has"),
        ({"subset": "label == 77"}, "names none of 60 samples"),
        ({"balance": "even"}, "balance must be one of"),
        ({"balance": {}}, "empty"),
        ({"balance": {0: 1}}, r"no weight to the classes \[1, 2\]"),
        ({"balance": {0: 1, 1: 1, 2: 1, 3: 1}}, "no sample of class 3"),
        ({"balance": {0: -1, 1: 1, 2: 1}}, "finite and >= 0"),
        ({"balance": {0: 0, 1: 0, 2: 0}}, "no class of the set a weight"),
        ({"epoch_size": 0}, "epoch_size must be >= 1"),
        ({"epoch_size": 9.5}, "epoch_size must be >= 1, got 9.5"),
        ({"subset": float("nan")}, r"subset must be in \(0, 1\]"),
        ({"subset": []}, "names none of 60 samples"),
        ({"subset": b"s03"}, "keys, which are text"),
        ({"subset": 0.001}, "names none of 60 samples"),
        ({"epoch_size": 5, "train": False}, "train=False delivers every sample once"),
        ({"balance": "sqrt", "train": False}, "train=False delivers every sample once"),
    ],
)
def test_what_cannot_be_dealt_is_refused_with_value_and_bound(shards, options, words):
    with pytest.raises(UsageError, match=words):
        opened(shards, **options)


def test_a_subset_needs_an_index_and_says_how_to_make_one(shards, tmp_path):
    bare = tmp_path / "bare.tar"
    first = min(Path(shards).glob("*.tar"))
    bare.write_bytes(first.read_bytes())
    with pytest.raises(UsageError, match="fiberaug index"):
        fiberaug.StreamingDataset(bare, subset=0.5)


def test_a_repeated_sample_replays_and_differs_between_its_visits(shards):
    def noisy(sample):
        sample["image"] = np.random.randint(0, 256, (8, 8, 3), np.uint8)  # keyed
        return sample

    dataset = fiberaug.StreamingDataset(
        shards, transform=noisy, balance="uniform", unit=2, window=8, lanes=2
    )
    loader = fiberaug.DataLoader(dataset, batch_size=60)
    batch = next(iter(loader))
    pixels = {}
    for row, key in enumerate(batch["__key__"]):
        pixels.setdefault(key, []).append(batch["image"][row].numpy().tobytes())
    repeated = [rows for rows in pixels.values() if len(rows) > 1]
    assert repeated
    assert all(len(set(rows)) == len(rows) for rows in repeated)
    for row in range(60):
        again = fiberaug.replay(batch["record"][row], loader)
        assert (again["image"] == batch["image"][row]).all()


def copied(shards, folder):
    shutil.copytree(shards, folder)
    return folder


CHOICES = [
    {"subset": 0.4},
    {"subset": 7},
    {"subset": ["s03", "s59", "s20"]},
    {"subset": "label in (0, 2) and width == 8"},
    {"balance": "sqrt"},
    {"subset": 0.5, "balance": "uniform", "epoch_size": 70},
    {"epoch_size": 100},
]


@pytest.mark.parametrize("options", CHOICES, ids=str)
def test_without_counts_in_dataset_json_the_side_cars_tell_the_same(
    shards, tmp_path, options
):
    bare = copied(shards, tmp_path / "bare")
    (bare / "dataset.json").unlink()

    assert dealt(opened(str(bare), **options)) == dealt(opened(shards, **options))


@pytest.mark.parametrize("options", CHOICES, ids=str)
def test_what_a_worker_gets_is_small_and_deals_the_same(shards, options):
    dataset = opened(shards, **options)
    dealt(dataset)  # rows of shards are kept, and are not sent
    sent = pickle.dumps(dataset.setup.rows)
    other = opened(shards, **options)
    other.setup = pickle.loads(pickle.dumps(dataset.setup))

    assert len(sent) < 4000
    assert dealt(other, 2) == dealt(dataset, 2)


@pytest.mark.parametrize("kind", ["subset", "subset of classes"])
def test_a_part_does_not_depend_on_the_place_of_a_shard_in_the_set(shards, kind):
    """Of shards of one size: names and classes decide, not numbers."""
    folder = sorted(map(str, Path(shards).glob("*.tar")))[:2]
    options = {"subset": 1.0 if kind == "subset" else "label < 2"}
    there, back = opened(folder, **options), opened(folder[::-1], **options)

    assert {k for k, _, _ in dealt(there)} == {k for k, _, _ in dealt(back)}
    names = there.setup.refs[0].name, back.setup.refs[1].name
    assert names[0] == names[1]


@pytest.mark.parametrize("counts", [{"0": 15}, {"0": 5, "1": 5, "7": 5}])
def test_counts_in_dataset_json_that_the_index_does_not_have_are_reported(
    shards, tmp_path, counts
):
    folder = copied(shards, tmp_path / "wrong")
    described = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    first = described["shards"][0]
    scale = first["samples"] - sum(counts.values())
    first["counts"] = {**counts, "0": counts["0"] + scale}
    (folder / "dataset.json").write_text(json.dumps(described), encoding="utf-8")

    with pytest.raises(ShardDamaged, match=f"take dataset.json.*{first['name']}"):
        dealt(opened(str(folder), balance="uniform"))


def test_counts_in_dataset_json_that_are_none_are_not_used(shards, tmp_path):
    folder = copied(shards, tmp_path / "odd")
    described = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    for counts in ({"a": 15}, {"0": -1, "1": 16}, {"0": "15"}, {"0": 15.0}):
        described["shards"][0]["counts"] = counts
        (folder / "dataset.json").write_text(json.dumps(described), encoding="utf-8")

        assert dealt(opened(str(folder), balance="sqrt")) == dealt(
            opened(shards, balance="sqrt")
        )


def test_samples_without_a_class_are_refused_with_their_number(write_set):
    folder = write_set(
        {"__key__": f"k{i}", "image": np.full((8, 8, 3), i, np.uint8)}
        | ({"label": i % 2} if i % 3 else {})
        for i in range(12)
    )
    with pytest.raises(UsageError, match=r"4 samples have no class.*label >= 0"):
        opened(folder, balance="uniform")

    rows = dealt(opened(folder, balance="uniform", subset="label >= 0"))
    assert Counter(label for _, _, label in rows) == {0: 4, 1: 4}
    rows = dealt(opened(folder, subset=2))
    assert Counter(label for _, _, label in rows) == {0: 2, 1: 2}


def test_in_evaluation_a_subset_comes_once_in_order(shards):
    dataset = opened(shards, subset=0.5, train=False)
    keys = [key for key, _, _ in dealt(dataset)]

    assert keys == sorted(keys)
    assert len(set(keys)) == len(dataset) == dataset.num_samples == 30
    assert dealt(dataset, 4) == dealt(dataset, 0)


@pytest.mark.parametrize(
    "options", [{"balance": "uniform"}, {"epoch_size": 150}], ids=["balance", "epoch"]
)
def test_records_of_later_visits_replay_from_the_run_folder(shards, tmp_path, options):
    import albumentations as A

    dataset = fiberaug.StreamingDataset(
        shards, transform=A.Compose([A.GaussNoise(p=1)]), unit=2, lanes=2, **options
    )
    with fiberaug.DataLoader(dataset, 30, collate="list", log=tmp_path) as loader:
        images = {
            record.to_json(): image
            for batch in loader
            for record, image in zip(batch["record"], batch["image"], strict=True)
        }
    records = list(fiberaug.RecordLog(tmp_path))
    later = [record for record in records if record.visit]

    assert len(records) == len({r.to_json() for r in records}) == len(dataset)
    assert later
    for record in later[::9]:
        again = fiberaug.replay(record, tmp_path)
        assert np.array_equal(again["image"], images[record.to_json()])
