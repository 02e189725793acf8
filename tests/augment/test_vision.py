"""torchvision v2 pipelines, where installed: image, mask and boxes move together."""

import albumentations as A
import numpy as np
import pytest
import torch
from sets import samples

import fiberaug

v2 = pytest.importorskip("torchvision.transforms.v2", exc_type=ImportError)


def marked(i):
    image = np.zeros((40, 48, 3), np.uint8)
    image[8:28, 10:34] = (255, 0, 255)
    return image


@pytest.fixture
def shards(write_set):
    content = samples(
        12,
        image=marked,
        mask=lambda i: (marked(i)[..., 0] > 0).astype(np.uint8),
        bboxes=lambda i: np.array([[10, 8, 34, 28]]),
        bbox_labels=lambda i: [i % 3],
    )
    return write_set(content)


def pipeline():
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(0.5),
            v2.RandomAffine(0, translate=(0.1, 0.1)),
            v2.RandomApply([v2.GaussianBlur(3)], p=0.5),
            v2.ColorJitter(0.1, 0.1),
            v2.RandomChoice([v2.RandomVerticalFlip(1.0), v2.RandomGrayscale(1.0)]),
        ]
    )


def batches(shards, transform, **options):
    dataset = fiberaug.StreamingDataset(shards, transform=transform, seed=3)
    loader = fiberaug.DataLoader(dataset, 4, **options)
    return dataset, list(loader)


def test_boxes_and_masks_go_where_the_pixels_go(shards):
    _, found = batches(shards, pipeline())
    for batch in found:
        for row, boxes in enumerate(batch["bboxes"]):
            y, x = batch["mask"][row].nonzero(as_tuple=True)
            extent = [x.min(), y.min(), x.max() + 1, y.max() + 1]
            assert np.abs(boxes[0].numpy() - np.array(extent)).max() <= 1.5
            assert batch["image"][row][:, y, x].float().mean() > 60


def test_what_ran_is_logged_with_its_parameters_and_paths(shards):
    _, found = batches(shards, pipeline())
    logs = [
        [(t.path, t.name) for t in r.applied_transforms]
        for b in found
        for r in b["record"]
    ]
    for log in logs:
        assert ("1", "RandomAffine") in log
        assert ("3", "ColorJitter") in log
        assert len({("4.0", "RandomVerticalFlip"), ("4.1", "RandomGrayscale")} & {*log})
    flips = sum(("0", "RandomHorizontalFlip") in log for log in logs)
    blurs = sum(("2.0", "GaussianBlur") in log for log in logs)
    assert 0 < flips < len(logs)
    assert 0 < blurs < len(logs)
    record = found[0]["record"][0]
    affine = next(t for t in record.applied_transforms if t.name == "RandomAffine")
    assert set(affine.params) == {"angle", "translate", "scale", "shear"}


def test_the_same_for_any_workers_replayed_and_no_trace_left(shards):
    state = torch.default_generator.get_state()
    mixed = [v2.RandomCrop(32), A.HorizontalFlip(), pipeline(), A.Normalize()]
    for transform in (pipeline(), mixed):
        dataset, found = batches(shards, transform)
        _, again = batches(shards, transform, num_workers=2)
        for one, other in zip(found, again, strict=True):
            assert torch.equal(one["image"], other["image"])
            assert [*one["record"]] == [*other["record"]]
            for row, record in enumerate(one["record"]):
                sample = fiberaug.replay(record.to_json(), dataset)
                assert torch.equal(sample["image"], one["image"][row])
                assert torch.equal(sample["bboxes"], one["bboxes"][row])
    assert torch.equal(torch.default_generator.get_state(), state)


def test_a_box_that_is_dropped_takes_its_label_along(shards):
    transform = v2.Compose([v2.CenterCrop((4, 48)), v2.SanitizeBoundingBoxes(5)])
    _, found = batches(shards, transform)
    assert all(len(b) == len(n) == 0 for batch in found for b, n in zip(
        batch["bboxes"], batch["bbox_labels"], strict=True))  # fmt: skip


def test_the_hash_names_the_arguments(shards):
    hashes = [
        fiberaug.StreamingDataset(shards, transform=v2.RandomCrop(size)).recipe_hash
        for size in (32, 32, 31)
    ]
    assert hashes[0] == hashes[1] != hashes[2]
