"""Mixes in a loader: partners are on record, and the pixels are theirs."""

import albumentations as A
import kornia.augmentation as K
import numpy as np
import pytest
import torch
from sets import samples
from staged import loader, rows

import fiberaug
from fiberaug.mixes.blending import CutMix, MixUp, MixUpOrCutMix
from fiberaug.mixes.mosaic import Mosaic

GPU = [K.RandomHorizontalFlip(p=0.5)]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixes") / "set"
    fiberaug.convert(samples(90), folder, shard_size="60kB", progress=False)
    return str(folder)


def both(shards, mix, gpu=None, batch_size=16, **data):
    """Rows of a loader that mixes, and of one that does not."""
    gpu = [] if gpu is None else gpu
    fields = ("image", "label")
    mixed = rows(loader(shards, batch_size, gpu=gpu, mixes=[mix], **data), fields)
    return mixed, rows(loader(shards, batch_size, gpu=gpu, **data), fields)


def params_of(record):
    (found,) = [t for t in record.applied_transforms if t.path == "batch.0"]
    return found.params


@pytest.mark.parametrize("gpu", [None, GPU])
def test_mixup_is_the_weighted_sum_of_two_delivered_samples(shards, gpu):
    mixed, alone = both(shards, MixUp(alpha=0.8, num_classes=4), gpu)
    partners = set()
    for position, (record, (image, label)) in mixed.items():
        (partner,) = record.batch["partners"]
        other = alone[partner["position"]]
        lam = params_of(record)["lam"]
        partners.add(partner["position"])
        assert partner["key"] == other[0].key != record.key
        assert partner["position"] // 16 == position // 16
        own_image, own_label = alone[position][1]
        torch.testing.assert_close(image, lam * own_image + (1 - lam) * other[1][0])
        hot = [torch.eye(4)[int(n)] for n in (own_label, other[1][1])]
        torch.testing.assert_close(label, lam * hot[0] + (1 - lam) * hot[1])
    assert partners == set(mixed)  # everyone gives once


def test_cutmix_shows_the_partner_inside_its_box_and_nowhere_else(shards):
    mixed, alone = both(shards, CutMix(num_classes=4), GPU)
    for position, (record, (image, label)) in mixed.items():
        (partner,) = record.batch["partners"]
        x0, y0, x1, y1 = params_of(record)["box"]
        expected = alone[position][1][0].clone()
        expected[:, y0:y1, x0:x1] = alone[partner["position"]][1][0][:, y0:y1, x0:x1]
        assert torch.equal(image, expected)
        share = (x1 - x0) * (y1 - y0) / (32 * 24)
        assert label.sum() == pytest.approx(1)
        if int(alone[position][1][1]) != int(alone[partner["position"]][1][1]):
            assert label[int(alone[position][1][1])] == pytest.approx(1 - share)


def test_rows_that_are_not_mixed_are_those_of_a_loader_that_does_not_mix(shards):
    mixed, alone = both(shards, MixUpOrCutMix(num_classes=4, p=0.5), GPU)
    left = 0
    for position, (record, (image, label)) in mixed.items():
        if not record.batch["partners"]:
            left += 1
            assert torch.equal(image, alone[position][1][0])
            assert torch.equal(label, torch.eye(4)[int(alone[position][1][1])])
    assert 20 < left < 70


def test_mixup_without_batch_operations_blends_normalised_images(shards):
    mix = MixUp(num_classes=4)
    dataset = fiberaug.StreamingDataset(shards, transform=[A.Normalize()], seed=3)
    mixed = rows(fiberaug.DataLoader(dataset, 10, batch_transform=mix))
    alone = rows(fiberaug.DataLoader(dataset, 10))
    for position, (record, (image,)) in mixed.items():
        other = alone[record.batch["partners"][0]["position"]][1][0]
        lam = params_of(record)["lam"]
        torch.testing.assert_close(
            image, lam * alone[position][1][0] + (1 - lam) * other
        )


def test_classes_are_known_from_the_set_where_it_names_them(tmp_path):
    for name in ("ash", "elm", "oak"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(6):
            image = np.full((8, 8, 3), 20 * i, np.uint8)
            from PIL import Image

            Image.fromarray(image).save(tmp_path / "photos" / name / f"{i}.png")
    fiberaug.convert(tmp_path / "photos", tmp_path / "set", progress=False)
    dataset = fiberaug.StreamingDataset(tmp_path / "set", transform=A.Normalize())
    for batch in fiberaug.DataLoader(dataset, 6, batch_transform=MixUp()):
        assert batch["label"].shape == (6, 3)


def test_the_last_unit_of_an_epoch_mixes_among_its_few(shards):
    mixed, _ = both(shards, MixUp(num_classes=4), batch_size=32)  # 90 = 5 x 16 + 10
    last = [
        record.batch["partners"][0]["position"]
        for p, (record, _) in mixed.items()
        if p >= 80
    ]
    assert sorted(last) == list(range(80, 90))


def test_views_are_mixed_with_the_same_view_of_their_partner(shards):
    mixed, alone = both(shards, MixUp(num_classes=4), GPU, batch_size=7, views=2)
    for position, (records, (images, labels)) in mixed.items():
        assert labels.shape == (2, 4)
        for view, record in enumerate(records):
            (partner,) = record.batch["partners"]
            lam = params_of(record)["lam"]
            other = alone[partner["position"]][1][0][view]
            own = alone[position][1][0][view]
            torch.testing.assert_close(images[view], lam * own + (1 - lam) * other)
        assert params_of(records[0]) != params_of(records[1])


def boxed(count):
    for i, sample in enumerate(samples(count)):
        n = i % 3
        boxes = [[4 + 10 * k, 6, 12 + 10 * k, 20] for k in range(n)]
        yield {**sample, "bboxes": boxes, "bbox_labels": [i % 5] * n}


def test_mosaics_name_the_samples_that_they_are_made_of(tmp_path):
    fiberaug.convert(boxed(48), tmp_path / "set", shard_size="60kB", progress=False)
    fields = ("image", "bboxes", "bbox_labels")
    cpu, mix = [A.Resize(32, 24)], Mosaic(p=1.0)
    run = loader(tmp_path / "set", 16, cpu=cpu, gpu=GPU, mixes=[mix])
    mixed = rows(run, fields)
    other = rows(
        loader(tmp_path / "set", 5, cpu=cpu, gpu=GPU, mixes=[mix], num_workers=1),
        fields,
    )
    labels = {r.position: r.key for r, _ in rows(loader(tmp_path / "set", 16)).values()}
    for position, (record, (image, boxes, kinds)) in mixed.items():
        again, content = other[position]
        assert record == again
        assert torch.equal(image, content[0])
        assert torch.equal(boxes, content[1])
        partners = record.batch["partners"]
        assert len(partners) == 3
        assert {labels[p["position"]] == p["key"] for p in partners} == {True}
        owners = [int(record.key[1:]), *(int(p["key"][1:]) for p in partners)]
        assert set(kinds.tolist()) <= {n % 5 for n in owners}
        assert len(boxes) <= sum(n % 3 for n in owners)
        assert image.shape == (3, 32, 24)
        sample = fiberaug.replay(record, run)
        assert torch.equal(sample["image"], image)
        assert torch.equal(sample["bboxes"], boxes)
