"""Several views of a sample: decoded once, drawn independently, each on record."""

import json

import albumentations as A
import numpy as np
import pytest
import torch
from sets import cut_jpeg, samples
from torch.utils.data import DataLoader as TorchLoader

import fiberaug
from fiberaug.decode.sample import SampleDecoder

PIPELINE = A.Compose(
    [A.RandomResizedCrop((24, 24)), A.HorizontalFlip(), A.GaussNoise(), A.Normalize()]
)


def content(count=22):
    return samples(
        count,
        mask=lambda i: np.full((40, 48), i % 3, np.uint8),
        bboxes=lambda i: np.array([[2, 2, 40, 30.0]] * (i % 3)).reshape(-1, 4),
        bbox_labels=lambda i: [1, 2][: i % 3],
        caption=lambda i: f"photo {i}",
    )


@pytest.fixture
def shards(write_set):
    return write_set(content())


def make(shards, views=3, **options):
    return fiberaug.StreamingDataset(
        shards, transform=PIPELINE, seed=2, views=views, **options
    )


def test_a_row_has_a_view_dimension_and_a_record_for_each(shards, tmp_path):
    with fiberaug.DataLoader(make(shards), 5, num_workers=2, log=tmp_path) as loader:
        batches = list(loader)
    for batch in batches:
        size = len(batch["__key__"])
        assert batch["image"].shape == (size, 3, 3, 24, 24)
        assert batch["mask"].shape == (size, 3, 24, 24)
        assert batch["label"].shape == batch["is_pad"].shape == (size,)
        assert [len(views) for views in batch["bboxes"]] == [3] * size
        assert len(batch["caption"]) == len(batch["record"]) == size
        for row, records in enumerate(batch["record"]):
            assert [record.view for record in records] == [0, 1, 2]
            assert {record.key for record in records} == {batch["__key__"][row]}
            for view, record in enumerate(records):
                for source in (loader, tmp_path):
                    again = fiberaug.replay(record, source)
                    assert torch.equal(again["image"], batch["image"][row][view])
                    assert torch.equal(again["mask"], batch["mask"][row, view])
                    assert torch.equal(again["bboxes"], batch["bboxes"][row][view])
    rows = sum(int((~batch["is_pad"]).sum()) for batch in batches)
    assert rows == 22
    logged = [(r.key, r.view) for r in fiberaug.RecordLog(tmp_path)]
    assert len(set(logged)) == len(logged) == 66


def test_views_differ_and_the_first_is_what_one_view_would_be(shards):
    batch = next(iter(fiberaug.DataLoader(make(shards), 8)))
    single = next(iter(fiberaug.DataLoader(make(shards, 1), 8)))

    assert torch.equal(batch["image"][:, 0], single["image"])
    first, second, third = batch["image"].unbind(1)
    for row in range(8):
        assert not torch.equal(first[row], second[row])
        assert not torch.equal(second[row], third[row])
    assert single["record"][0] == batch["record"][0][0]


def test_a_sample_is_decoded_once_however_many_views_it_has(shards, monkeypatch):
    decoded = []
    original = SampleDecoder.__call__

    def counted(self, members):
        decoded.append(1)
        return original(self, members)

    monkeypatch.setattr(SampleDecoder, "__call__", counted)
    list(fiberaug.DataLoader(make(shards, 4), 11))
    assert len(decoded) == 22


@pytest.mark.parametrize("workers", [0, 2])
def test_a_plain_torch_loader_gives_the_same(shards, workers):
    ours = list(fiberaug.DataLoader(make(shards), 4, num_workers=1))
    dataset = make(shards, batch_size=4)
    plain = list(TorchLoader(dataset, 4, num_workers=workers, collate_fn=list))
    for batch, rows in zip(ours, plain, strict=True):
        for row, sample in enumerate(rows):
            assert torch.equal(sample["image"], batch["image"][row])
            texts = json.loads(sample["record"])
            records = batch["record"][row]
            assert texts == [json.loads(r.to_json()) for r in records]
            assert sample["label"] == batch["label"][row]


def test_targets_can_be_padded_and_forms_for_one_view_are_refused(shards):
    batch = next(iter(fiberaug.DataLoader(make(shards), 6, targets="padded")))
    assert batch["bboxes"].shape[:2] == (6, 3)
    assert batch["bbox_labels"].shape[:2] == (6, 3)
    for form in ("torchvision", "yolo"):
        with pytest.raises(fiberaug.UsageError, match="is for one view"):
            fiberaug.DataLoader(make(shards), 6, targets=form)


def test_views_of_several_sizes_are_listed(shards):
    dataset = fiberaug.StreamingDataset(
        shards, transform=A.RandomScale((-0.5, 0.5), p=1), views=2
    )
    batch = next(iter(fiberaug.DataLoader(dataset, 3, collate="list")))
    assert [len(row) for row in batch["image"]] == [2, 2, 2]
    padded = next(iter(fiberaug.DataLoader(dataset, 3, collate="pad")))
    assert padded["image"].shape[:2] == padded["image_mask"].shape[:2] == (3, 2)


def test_a_list_of_records_says_that_it_holds_views(shards):
    dataset = make(shards, 2)
    batch = next(iter(fiberaug.DataLoader(dataset, 2)))
    with pytest.raises(fiberaug.UsageError, match="records of 2 views; give one"):
        fiberaug.replay(batch["record"][0], dataset)


def test_texts_collate_fn_and_stand_ins_know_views(write_set):
    def broken(i):
        return {"image": cut_jpeg(i)} if i == 3 else {}

    shards = write_set(
        ({**sample, **broken(i)} for i, sample in enumerate(content(9))), name="broken"
    )
    dataset = make(shards, 2, record="text")
    (batch,) = fiberaug.DataLoader(dataset, 9)
    assert [len(texts) for texts in batch["record"]] == [2] * 9
    visits = {json.loads(t)["visit"] for texts in batch["record"] for t in texts}
    assert len(visits) == 2  # the plan's, and a stand-in's
    seen = next(iter(fiberaug.DataLoader(make(shards, 2), 4, collate_fn=len)))
    assert seen == 4
