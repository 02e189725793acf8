"""Batches of images and targets of several sizes."""

import albumentations as A
import numpy as np
import pytest
import torch
from sets import photo, samples

import fiberaug
from fiberaug.collate import Collate


def detection(count=6):
    """Samples of several sizes; sample i has i % 3 boxes."""
    for i, sample in enumerate(samples(count)):
        height, width = 40 + 8 * (i % 2), 48 + 10 * (i % 3)
        boxes = [[1.0 + j, 2.0, 20.0 + j, 30.0] for j in range(i % 3)]
        yield {
            **sample,
            "image": photo(i, height, width),
            "mask": np.full((height, width), i, np.uint8),
            "bboxes": boxes,
            "bbox_labels": list(range(i % 3)),
        }


def batch_of(shards, *, transform=None, **options):
    dataset = fiberaug.StreamingDataset(shards, train=False, transform=transform)
    return next(iter(fiberaug.DataLoader(dataset, 6, **options)))


def test_images_of_several_sizes_do_not_stack_and_the_error_says_what_to_do(write_set):
    shards = write_set(detection())
    with pytest.raises(
        fiberaug.UsageError, match=r"several|shapes in one batch"
    ) as caught:
        batch_of(shards)

    text = str(caught.value)
    assert "'k000' [3, 40, 48]" in text
    assert 'collate="pad"' in text
    assert "crop or resize" in text


def test_pad_fills_to_a_multiple_and_says_where_the_picture_is(write_set):
    batch = batch_of(write_set(detection()), collate="pad", pad_to=32)

    assert batch["image"].shape == (6, 3, 64, 96)
    assert batch["mask"].shape == (6, 64, 96)
    for i in range(6):
        height, width = 40 + 8 * (i % 2), 48 + 10 * (i % 3)
        inside = batch["image_mask"][i]
        assert int(inside.sum()) == height * width
        assert inside[:height, :width].all()
        assert int(batch["image"][i][:, ~inside].sum()) == 0
        assert np.array_equal(
            batch["image"][i, :, :height, :width].permute(1, 2, 0).numpy(),
            photo(i, height, width),
        )


def test_list_leaves_every_size(write_set):
    batch = batch_of(write_set(detection()), collate="list")

    assert [tuple(x.shape) for x in batch["image"][:2]] == [(3, 40, 48), (3, 48, 58)]
    assert [tuple(x.shape) for x in batch["mask"][:2]] == [(40, 48), (48, 58)]


RESIZE = A.Compose([A.Resize(32, 32)])


def test_targets_as_a_list_have_a_tensor_for_each_row(write_set):
    batch = batch_of(write_set(detection()), transform=RESIZE)

    assert [tuple(b.shape) for b in batch["bboxes"]] == [(0, 4), (1, 4), (2, 4)] * 2
    assert [b.tolist() for b in batch["bbox_labels"]] == [[], [0], [0, 1]] * 2
    assert batch["bboxes"][0].dtype == torch.float32
    assert batch["bbox_labels"][0].dtype == torch.int64


def test_padded_targets_mark_what_is_no_box(write_set):
    batch = batch_of(write_set(detection()), transform=RESIZE, targets="padded")

    assert batch["bboxes"].shape == (6, 2, 4)
    assert batch["bbox_labels"].tolist()[:3] == [[-1, -1], [0, -1], [0, 1]]


def test_torchvision_targets_are_dicts(write_set):
    batch = batch_of(write_set(detection()), transform=RESIZE, targets="torchvision")

    assert [len(t["boxes"]) for t in batch["targets"]] == [0, 1, 2] * 2
    assert "bboxes" not in batch


def test_yolo_targets_are_centres_and_sizes_of_the_image(write_set):
    batch = batch_of(write_set(detection()), transform=RESIZE, targets="yolo")
    targets = batch["targets"]

    assert targets.shape == (6, 6)
    assert targets[:, 0].tolist() == [1, 2, 2, 4, 5, 5]
    # Sample 1 is 48 x 58 px (height x width) and has the box (1, 2, 20, 30).
    expected = [1, 0, 10.5 / 58, 16 / 48, 19 / 58, 28 / 48]
    assert torch.allclose(targets[0], torch.tensor(expected), atol=1e-5)


def test_all_forms_travel_through_workers(write_set):
    shards = write_set(detection())
    for options in (
        {"collate": "list"},
        {"collate": "pad"},
        {"collate": "pad", "targets": "yolo"},
    ):
        here, there = (
            batch_of(shards, **options),
            batch_of(shards, **options, num_workers=1),
        )
        for name in ("image", "mask", "targets", "bboxes"):
            if name not in here:
                continue
            pairs = zip(here[name], there[name], strict=True)
            assert all(torch.equal(a, b) for a, b in pairs), name


def test_optional_fields_that_are_missing_are_empty(write_set):
    def content():
        for i, sample in enumerate(samples(4)):
            yield {**sample, **({"caption": f"picture {i}"} if i % 2 else {})}

    fields = {
        "image": "png",
        "label": "cls",
        "caption?": "txt",
        "bboxes?": "json:objects[].bbox",
    }
    dataset = fiberaug.StreamingDataset(
        write_set(content()), fields=fields, train=False
    )
    batch = next(iter(fiberaug.DataLoader(dataset, 4)))

    assert batch["caption"] == [None, "picture 1", None, "picture 3"]
    assert [tuple(b.shape) for b in batch["bboxes"]] == [(0, 4)] * 4


def test_padding_puts_the_ignored_class_into_masks_and_several_images_are_images():
    collate = Collate(
        mode="pad",
        pad_to=8,
        images=frozenset({"image", "right"}),
        masks=frozenset({"mask", "depth"}),
        ignore_index=255,
    )
    rows = [
        {
            "image": np.ones((h, 8, 3), np.uint8),
            "right": np.ones((h, 8, 1), np.uint8),
            "mask": np.ones((h, 8), np.uint8),
            "depth": np.ones((h, 8), np.uint8),
            "masks": np.ones((h // 4, h, 8), np.uint8),
        }
        for h in (4, 8)
    ]
    batch = collate(rows, ["a", "b"])

    assert batch["image"].whole == (2, 8, 8, 3)
    assert batch["right"].whole == (2, 8, 8, 1)
    assert not batch["image"].array()[0, 4:].any()
    for name in ("mask", "depth"):
        padded = batch[name].array()
        assert (padded[0, 4:] == 255).all()
        assert (padded[0, :4] == 1).all()
        assert (padded[1] == 1).all()
    assert [len(masks) for masks in batch["masks"]] == [1, 2]
    assert "image_mask" in batch


def test_masks_of_objects_stand_in_torchvisions_targets(write_set):
    content = samples(
        3,
        bboxes=lambda i: np.array([[1, 1, 20, 20]] * i).reshape(-1, 4),
        bbox_labels=lambda i: [1] * i,
    )

    def with_masks(sample):
        boxes = sample["bboxes"]
        return {**sample, "masks": np.zeros((len(boxes), 40, 48), np.uint8)}

    dataset = fiberaug.StreamingDataset(write_set(content), transform=with_masks)
    (batch,) = fiberaug.DataLoader(dataset, 3, targets="torchvision")
    for target in batch["targets"]:
        assert target["masks"].shape == (len(target["boxes"]), 40, 48)
    assert "masks" not in batch
