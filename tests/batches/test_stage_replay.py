"""What was done to a batch can be done again, to one sample or to all of them."""

import io
import json

import albumentations as A
import kornia.augmentation as K
import numpy as np
import pytest
import torch
from sets import samples
from staged import loader, operations

import fiberaug
from fiberaug.errors import ReplayMismatch, UsageError
from fiberaug.mixes.blending import MixUp


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay") / "set"
    fiberaug.convert(samples(60), folder, shard_size="60kB", progress=False)
    return str(folder)


@pytest.mark.parametrize("mixes", [None, [MixUp(num_classes=4)]])
@pytest.mark.parametrize("batch_size", [13, 16])
def test_every_record_gives_its_row_back(shards, mixes, batch_size):
    run = loader(shards, batch_size, mixes=mixes)
    run.set_epoch(2)
    for batch in run:
        for row, record in enumerate(batch["record"]):
            if not batch["is_pad"][row]:
                text = json.loads(record.to_json())
                sample = fiberaug.replay(text, run)
                assert torch.equal(sample["image"], batch["image"][row])
                assert torch.equal(
                    torch.as_tensor(sample["label"]), batch["label"][row]
                )


def test_the_records_of_a_batch_give_the_batch_back(shards):
    run = loader(shards, 20, mixes=[MixUp(num_classes=4)])
    for batch in run:
        again = fiberaug.replay(batch["record"], run)
        assert torch.equal(again["image"], batch["image"])
        assert torch.equal(again["label"], batch["label"])
        assert again["__key__"] == batch["__key__"]


def test_a_view_is_replayed_from_its_own_record(shards):
    run = loader(shards, 6, views=2, mixes=[MixUp(num_classes=4)])
    batch = next(iter(run))
    for row in range(6):
        for view in (0, 1):
            sample = fiberaug.replay(batch["record"][row][view], run)
            assert torch.equal(sample["image"], batch["image"][row, view])
            assert torch.equal(sample["label"], batch["label"][row, view])


def test_a_run_folder_is_enough(shards, tmp_path):
    dataset = fiberaug.StreamingDataset(
        shards, transform=A.Compose([A.RandomCrop(32, 24), A.Normalize()]), seed=3
    )
    run = fiberaug.DataLoader(
        dataset, 20, gpu_transform=operations(), log=tmp_path / "run",
        batch_transform=[MixUp(num_classes=4)],
    )  # fmt: skip
    batches = list(run)
    assert batches[0]["record"][0].replayable
    run.close()

    for batch in batches:
        for row in (0, 7, 19):
            sample = fiberaug.replay(batch["record"][row], tmp_path / "run")
            assert torch.equal(sample["image"], batch["image"][row])


def test_a_recipe_file_says_all_of_it(shards, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("""
version: 1
cpu:
  - RandomCrop: {height: 32, width: 24}
gpu:
  - RandomAffine: {degrees: 15, p: 0.7}
  - ColorJiggle: {brightness: 0.2, contrast: 0.2, p: 0.8}
batch:
  - MixUp: {alpha: 0.4, num_classes: 4}
normalize: {mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2]}
""")
    dataset = fiberaug.StreamingDataset(shards, transform=recipe, seed=3)
    run = fiberaug.DataLoader(dataset, 16)
    by_hand = loader(
        shards, 16,
        cpu=[A.RandomCrop(32, 24), A.Normalize([0.5] * 3, [0.2] * 3)],
        gpu=[K.RandomAffine(15.0, p=0.7), K.ColorJiggle(0.2, 0.2, p=0.8)],
        mixes=[MixUp(alpha=0.4, num_classes=4)],
    )  # fmt: skip
    for batch, other in zip(run, by_hand, strict=True):
        assert torch.equal(batch["image"], other["image"])
        assert torch.equal(batch["label"], other["label"])
        names = {t.name for r in batch["record"] for t in r.applied_transforms}
        assert {"RandomAffine", "ColorJiggle", "MixUp", "Normalize"} <= names
    with pytest.raises(UsageError, match="gpu is given twice"):
        fiberaug.DataLoader(dataset, 16, gpu_transform=operations())
    with pytest.raises(UsageError, match=r"torch DataLoader.*\['batch', 'gpu'\]"):
        next(iter(torch.utils.data.DataLoader(dataset)))
    again = fiberaug.Recipe.from_file(recipe)
    assert fiberaug.Recipe.from_dict(again.to_dict()) == again


def test_a_data_set_alone_gives_the_sample_before_the_batch_and_says_so(shards):
    run = loader(shards, 16, mixes=[MixUp(num_classes=4)])
    record = next(iter(run))["record"][5]
    with pytest.warns(UserWarning, match="the sample before them"):
        sample = fiberaug.replay(record, run.dataset)

    bare = loader(shards, 16, gpu=[], mixes=None)
    batch = next(iter(bare))
    assert torch.equal(sample["image"], batch["image"][5])


def test_other_batch_operations_are_refused(shards):
    run = loader(shards, 16, gpu=[K.RandomRotation(20.0, p=1.0)])
    record = next(iter(run))["record"][0]
    with pytest.raises(ReplayMismatch, match="gpu_transform"):
        fiberaug.replay(record, loader(shards, 16, gpu=[K.RandomRotation(21.0, p=1.0)]))
    with pytest.raises(ReplayMismatch, match="seed=3"):
        fiberaug.replay(
            record, loader(shards, 16, gpu=[K.RandomRotation(20.0, p=1.0)], seed=4)
        )


def test_a_record_with_other_numbers_is_refused(shards):
    run = loader(shards, 16, gpu=[K.RandomRotation(20.0, p=1.0)])
    text = json.loads(next(iter(run))["record"][0].to_json())
    (rotation,) = [t for t in text["applied_transforms"] if t["path"] == "gpu.0"]
    rotation["params"]["degrees"] += 0.5
    with pytest.raises(ReplayMismatch, match="applied_transforms"):
        fiberaug.replay(text, run)


def test_a_partner_that_is_broken_is_its_stand_in(tmp_path):
    fiberaug.convert(
        samples(60), tmp_path / "set", shard_size="60kB", encode="png", progress=False
    )
    found = damaged(tmp_path)
    run = loader(found, 16, mixes=[MixUp(num_classes=4)], max_errors=1.0)
    seen = 0
    for batch in run:
        for row, record in enumerate(batch["record"]):
            if not batch["is_pad"][row]:
                seen += any(p["key"] in BROKEN for p in record.batch["partners"])
                sample = fiberaug.replay(record, run)
                assert torch.equal(sample["image"], batch["image"][row])
    assert seen == 0
    assert run.stats()["quarantined"] == len(BROKEN)


BROKEN = ("k007", "k023", "k041")


def damaged(folder):
    """A set in which some images cannot be decoded."""
    import tarfile

    target = folder / "damaged"
    target.mkdir()
    for shard in sorted((folder / "set").glob("*.tar")):
        with (
            tarfile.open(shard) as source,
            tarfile.open(target / shard.name, "w") as out,
        ):
            for member in source:
                data = source.extractfile(member).read()
                if member.name in {f"{key}.png" for key in BROKEN}:
                    data = data[: len(data) // 2]
                    member.size = len(data)
                out.addfile(member, io.BytesIO(data))
    return str(target)


@pytest.mark.parametrize(
    "part",
    [
        {"subset": "label in (0, 2)"},
        {"subset": 0.5},
        {"subset": 7},
        {"balance": "uniform"},
        {"balance": {0: 1.0, 1: 3.0, 2: 0.5}, "epoch_size": 40},
        {"epoch_size": 50},
        {"split": ("train", 0.6)},
    ],
    ids=str,
)
def test_partners_are_those_of_the_part_that_the_run_was_of(part, tmp_path):
    rng = np.random.default_rng(0)
    with fiberaug.ShardWriter(tmp_path / "set", shard_size="20kB") as writer:
        for i in range(60):
            image = rng.integers(0, 256, (16, 16, 3), np.uint8)
            writer.write({"__key__": f"k{i:02}", "image": image, "label": i % 3})
    dataset = fiberaug.StreamingDataset(
        str(tmp_path / "set"), transform=A.Normalize(), **part
    )
    with fiberaug.DataLoader(
        dataset, 8, batch_transform=MixUp(p=1, num_classes=3), log=tmp_path / "run"
    ) as loader:
        batches = list(loader)
    again = fiberaug.replay(batches[1]["record"], tmp_path / "run")
    assert torch.equal(again["image"], batches[1]["image"])
