"""A record of a sample that was mixed in makes its pixels again, wherever it lies."""

import json
import shutil

import albumentations as A
import pytest
import torch
from mixsets import opened, rows

import fiberaug
from fiberaug import Mix
from fiberaug.engine import Engine
from fiberaug.errors import ReplayMismatch
from fiberaug.mixes import MixUp
from fiberaug.replaying import open_run

PIPELINE = A.Compose(
    [A.RandomCrop(8, 8), A.HorizontalFlip(), A.GaussNoise(p=1), A.Normalize()]
)


@pytest.fixture
def pools(sets, write_set):
    """Folders of two pools of this test's own."""
    return {
        "gan": write_set(rows(17, seed=1, prefix="g"), name="g", shard_size="12kB"),
        "diffusion": write_set(rows(8, seed=2, prefix="d"), name="d"),
    }


@pytest.fixture
def run(sets, pools, tmp_path):
    """A loader of a mix with a log, and its batches of two epochs."""
    dataset = opened(sets["real"], Mix(pools, 0.6), transform=PIPELINE)
    loader = fiberaug.DataLoader(dataset, 9, num_workers=1, log=tmp_path / "run")
    batches = [batch for _ in range(2) for batch in loader]
    loader.close()
    return loader, batches, tmp_path / "run"


def cases(batches):
    """Yield the record, pixels and label of each row that is no padding."""
    for batch in batches:
        for i, record in enumerate(batch["record"]):
            if not batch["is_pad"][i]:
                yield record, batch["image"][i], int(batch["label"][i])


@pytest.mark.parametrize("place", ["loader", "dataset", "folder"])
def test_every_row_of_every_source_is_replayed_bit_for_bit(run, place):
    loader, batches, folder = run
    source = {"loader": loader, "dataset": loader.dataset, "folder": folder}[place]
    seen = set()
    for record, image, label in list(cases(batches))[:: 1 if place == "loader" else 7]:
        form = json.loads(record.to_json()) if place == "folder" else record
        sample = fiberaug.replay(form, source)
        assert torch.equal(sample["image"], image)
        assert sample["label"] == label
        assert sample.key == record.key
        seen.add(record.origin)
    assert seen == {"real", "gan", "diffusion"}


def test_the_log_of_a_run_has_the_source_of_every_row(run):
    _, batches, folder = run
    logged = [(r.epoch, r.position, r.origin) for r in fiberaug.RecordLog(folder)]
    assert sorted(logged) == sorted(
        (record.epoch, record.position, record.origin) for record, *_ in cases(batches)
    )


def test_a_pool_that_was_converted_anew_gives_the_same_pixels(run, sets, write_set):
    _, batches, _ = run
    again = {
        "gan": write_set(reversed(list(rows(17, seed=1, prefix="g"))), name="g2"),
        "diffusion": write_set(
            rows(8, seed=2, prefix="d"), name="d2", shard_size="3kB"
        ),
    }
    dataset = opened(sets["real"], Mix(again, 0.6), transform=PIPELINE)
    moved, engine = 0, Engine(dataset.setup)
    for record, image, label in cases(batches):
        if record.origin != "real":
            sample = fiberaug.replay(record, dataset)
            assert torch.equal(sample["image"], image)
            assert sample["label"] == label
            found = engine.find(record.url, record.key, record.origin)
            moved += found[1] != record.index
    assert moved > 20


def test_a_stream_of_a_pool_that_was_converted_anew_draws_alike_for_each_sample(
    run, sets, write_set
):
    _, batches, _ = run
    uids = {r.key: r.uid for r, *_ in cases(batches)}
    again = {
        "gan": write_set(reversed(list(rows(17, seed=1, prefix="g"))), name="g2"),
        "diffusion": write_set(
            rows(8, seed=2, prefix="d"), name="d2", shard_size="3kB"
        ),
    }
    dataset = opened(sets["real"], Mix(again, 0.6), transform=PIPELINE)
    with fiberaug.DataLoader(dataset, 9) as loader:
        assert all(uids.get(r.key, r.uid) == r.uid for r, *_ in cases(loader))


def test_a_whole_batch_is_replayed_with_partners_of_any_source(sets, pools, tmp_path):
    dataset = opened(sets["real"], Mix(pools, 0.5), transform=PIPELINE)
    options = {"batch_transform": MixUp(p=1, num_classes=3), "log": tmp_path / "run"}
    with fiberaug.DataLoader(dataset, 9, **options) as loader:
        batches = list(loader)
        for source in (loader, tmp_path / "run"):
            for batch in batches[:3]:
                again = fiberaug.replay(batch["record"], source)
                assert torch.equal(again["image"], batch["image"])
                assert torch.equal(again["label"], batch["label"])


def test_sources_may_have_the_same_keys(sets, write_set):
    same = {
        name: write_set(rows(17, seed=seed), name=name, shard_size="12kB")
        for name, seed in (("a", 1), ("b", 2))
    }
    dataset = opened(sets["real"], Mix(same, 0.6), transform=PIPELINE)
    with fiberaug.DataLoader(dataset, 9) as loader:
        for record, image, label in cases(list(loader)):
            sample = fiberaug.replay(record, loader)
            assert torch.equal(sample["image"], image)
            assert sample["label"] == label


def test_views_of_a_mixed_in_sample_are_replayed_each(sets, pools):
    dataset = opened(sets["real"], Mix(pools, 0.6), transform=PIPELINE, views=2)
    with fiberaug.DataLoader(dataset, 9) as loader:
        batch = next(iter(loader))
        for i, records in enumerate(batch["record"]):
            for view, record in enumerate(records):
                sample = fiberaug.replay(record, loader)
                assert torch.equal(sample["image"], batch["image"][i][view])


def of_source(batches, name):
    """Return the first record of a source."""
    return next(record for record, *_ in cases(batches) if record.origin == name)


def test_without_the_mix_a_record_of_it_is_refused_with_its_source(run, sets, pools):
    _, batches, _ = run
    record = of_source(batches, "diffusion")
    for mix in (None, Mix({"gan": pools["gan"]}, 0.6)):
        with pytest.raises(ReplayMismatch, match=r"'diffusion'.*not here"):
            fiberaug.replay(record, opened(sets["real"], mix, transform=PIPELINE))


def test_a_pool_without_the_sample_is_refused_with_source_and_key(run, sets, pools):
    _, batches, _ = run
    record = of_source(batches, "diffusion")
    swapped = {"gan": pools["gan"], "diffusion": sets["gan"]}
    dataset = opened(sets["real"], Mix(swapped, 0.6), transform=PIPELINE)
    with pytest.raises(ReplayMismatch, match=f"'{record.key}'.*'diffusion'.*no such"):
        fiberaug.replay(record, dataset)


def test_a_pool_whose_pixels_changed_is_found_by_its_hash(sets, pools, write_set):
    options = {"transform": PIPELINE, "pixel_hash": True}
    with fiberaug.DataLoader(
        opened(sets["real"], Mix(pools, 0.6), **options), 9
    ) as own:
        record = of_source(list(own), "diffusion")
    other = write_set(rows(8, seed=5, prefix="d"), name="other")
    dataset = opened(sets["real"], Mix({**pools, "diffusion": other}, 0.6), **options)
    with pytest.raises(ReplayMismatch):
        fiberaug.replay(record, dataset)


def test_a_run_whose_pool_is_gone_says_which_one(run, pools):
    _, batches, folder = run
    shutil.rmtree(pools["diffusion"])
    with pytest.raises(ReplayMismatch, match="diffusion"):
        fiberaug.replay(of_source(batches, "diffusion"), folder)


def test_real_samples_of_a_run_are_replayed_though_a_pool_is_gone(run, pools):
    _, batches, folder = run
    shutil.rmtree(pools["diffusion"])
    record, image, _ = next(c for c in cases(batches) if c[0].origin == "real")
    assert torch.equal(fiberaug.replay(record, folder)["image"], image)


def test_what_a_run_was_warned_of_is_not_told_again(sets, pools, run, caplog):
    opened(sets["real"], Mix(pools, 0.6))
    assert "60 % of the delivered samples" in caplog.text
    caplog.clear()
    assert open_run(run[2]).mixture is not None
    assert "of the delivered samples" not in caplog.text
