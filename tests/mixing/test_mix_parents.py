"""A pool whose parents a training must not see is refused, however it comes in."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import fiberaug
from fiberaug.errors import DataRefused

CLASSES = ("ant", "bee")


@pytest.fixture
def photos(tmp_path):
    """A set of 40 with the parts train and val, in a folder; {part: (shard, key)}."""
    rng = np.random.default_rng(0)
    for i in range(40):
        folder = tmp_path / "photos" / CLASSES[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 256, (12, 12, 3), np.uint8)
        from fiberaug.jobs.encoding import encode_image

        (folder / f"p{i:02}.png").write_bytes(encode_image(image, "png"))
    fiberaug.convert(
        tmp_path / "photos", tmp_path / "set", split={"train": 0.7, "val": 0.3},
        progress=False,
    )  # fmt: skip
    keys = {}
    for part in ("train", "val"):
        dataset = fiberaug.StreamingDataset(str(tmp_path / "set"), split=part)
        batch = next(iter(fiberaug.DataLoader(dataset, 2)))
        keys[part] = [(r.url, r.key) for r in batch["record"]]
    return tmp_path / "set", keys


class Edited:
    """Makes images of a parent that it is told."""

    classes = CLASSES
    source_type = "compositeWithTrainedAlgorithmicMedia"

    def __init__(self, parent):
        self.parent = parent

    def generate(self, seeds, labels, **_):
        return np.stack(
            [
                np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8)
                for seed in seeds
            ]
        )

    def sample_notes(self, seeds, labels, **_):
        return [{"parents": [self.parent]} for _ in seeds]


def pool_of(tmp_path, parent, name="pool"):
    return fiberaug.Pool.write(
        Edited(parent), tmp_path / name, per_class=3, progress=False
    )


def stated(photos, part, how):
    shard, key = photos[1][part][0]
    return {
        "shard": {"key": key, "shard": shard},
        "path": {"key": key, "shard": f"some/where/{Path(shard).name}"},
        "part": {"key": key, "split": part},
        "key": {"key": key},
    }[how]


def opened(photos, source, **options):
    return fiberaug.StreamingDataset(
        str(photos[0]), **{"split": "train", **options}, mix=fiberaug.Mix(source)
    )


@pytest.mark.parametrize("how", ["shard", "path", "part", "key"])
def test_parents_of_the_validation_part_are_refused(photos, tmp_path, how):
    pool = pool_of(tmp_path, stated(photos, "val", how))
    with pytest.raises(DataRefused, match=r"6 of its samples' parents.*'.*p\d\d'"):
        opened(photos, pool)


@pytest.mark.parametrize("how", ["shard", "path", "part", "key"])
def test_parents_of_the_training_part_are_not(photos, tmp_path, how):
    pool = pool_of(tmp_path, stated(photos, "train", how))
    assert opened(photos, pool).mixture is not None


@pytest.mark.parametrize("way", ["folder", "glob", "list", "converted"])
def test_they_are_found_however_the_pool_is_named(photos, tmp_path, way):
    pool = pool_of(tmp_path, stated(photos, "val", "shard"))
    source = str(pool.path)
    if way == "glob":
        source = f"{pool.path}/*.tar"
    if way == "list":
        source = sorted(map(str, pool.path.glob("*.tar")))
    if way == "converted":
        fiberaug.convert(str(pool.path), tmp_path / "again", progress=False)
        source = str(tmp_path / "again")
        shutil.rmtree(pool.path)
    with pytest.raises(DataRefused, match="not in the training part"):
        opened(photos, source)


@pytest.mark.parametrize("how", ["shard", "key"])
def test_a_share_by_hash_knows_which_keys_it_has(photos, tmp_path, how):
    whole = {"split": "all"}
    everything = [
        (record.url, record.key)
        for batch in fiberaug.DataLoader(
            fiberaug.StreamingDataset(str(photos[0]), **whole), 8
        )
        for record in batch["record"]
    ]
    train = fiberaug.StreamingDataset(str(photos[0]), split=("train", 0.5))
    inside = {
        record.key
        for batch in fiberaug.DataLoader(train, 8)
        for record in batch["record"]
    }
    assert 0 < len(inside) < len(everything)
    for number, (shard, key) in enumerate(everything[:12]):
        parent = {"key": key} | ({"shard": shard} if how == "shard" else {})
        pool = pool_of(tmp_path, parent, f"pool{number}")
        if key in inside:
            assert opened(photos, pool, split=("train", 0.5)).mixture is not None
        else:
            with pytest.raises(DataRefused, match=key):
                opened(photos, pool, split=("train", 0.5))


def test_a_pool_that_was_moved_is_found_where_it_is_said_to_be(photos, tmp_path):
    from fiberaug.replaying import open_run, open_run_whole

    pool = pool_of(tmp_path, stated(photos, "train", "shard"))
    run = tmp_path / "run"
    with fiberaug.DataLoader(opened(photos, {"gan": pool}), 8, log=run) as loader:
        batches = list(loader)
    row = next(
        (batch["record"][i], batch["image"][i])
        for batch in batches
        for i, source in enumerate(batch["__source__"])
        if source == "gan"
    )
    moved = pool.path.rename(tmp_path / "elsewhere")
    with pytest.raises(fiberaug.ReplayMismatch, match="'gan'"):
        fiberaug.replay(row[0], run)
    there = open_run_whole(run, sources={"gan": str(moved)})
    assert (fiberaug.replay(row[0], there)["image"] == row[1]).all()
    with pytest.raises(fiberaug.UsageError, match=r"sources \['gan'\].*'other'"):
        open_run(run, sources={"other": str(moved)})
