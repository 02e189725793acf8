"""Boxes, points, outlines and masks go where the pixels of a batch go."""

import io

import albumentations as A
import kornia.augmentation as K
import numpy as np
import pytest
import torch
from staged import loader, rows

import fiberaug

HEIGHT, WIDTH = 60, 84
BOXES = [[12, 10, 30, 26], [50, 30, 70, 50]]
COLOURS = [(250, 10, 10), (10, 10, 250)]


def scene(i):
    """Two coloured boxes on green, a mask of them, outlines and corners."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:] = 10, 200, 10
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    masks = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    for n, ((x0, y0, x1, y1), colour) in enumerate(zip(BOXES, COLOURS, strict=True)):
        image[y0:y1, x0:x1] = colour
        mask[y0:y1, x0:x1] = n + 1
        masks[n, y0:y1, x0:x1] = 1
    corners = [[[a, b], [c, b], [c, d], [a, d]] for a, b, c, d in BOXES]
    packed = io.BytesIO()
    np.savez(packed, masks=masks)
    return {
        "__key__": f"k{i:03d}",
        "image": image,
        "mask": mask,
        "masks.npz": packed.getvalue(),
        "json": {
            "bboxes": BOXES,
            "bbox_labels": [7, 9],
            "keypoints": [[(a + c) / 2, (b + d) / 2] for a, b, c, d in BOXES],
            "polygons": corners,
        },
    }


FIELDS = {
    "image": "png", "mask": "mask.png", "masks": "masks.npz",
    "bboxes": "json:bboxes", "bbox_labels": "json:bbox_labels",
    "keypoints": "json:keypoints", "polygons": "json:polygons",
}  # fmt: skip


def run_of(shards, gpu, cpu=None):
    return loader(shards, 12, cpu=cpu or [A.NoOp()], gpu=gpu, fields=FIELDS)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "set"
    fiberaug.convert(
        (scene(i) for i in range(24)), folder, encode="png", progress=False
    )
    return str(folder)


MOVES = {
    "flips": [K.RandomHorizontalFlip(p=0.5), K.RandomVerticalFlip(p=0.5)],
    "affine": [K.RandomAffine(15, (0.1, 0.1), (0.8, 1.1), p=0.8)],
    "crop": [K.RandomCrop((48, 64))],
    "resize": [K.Resize((90, 120)), K.RandomHorizontalFlip(p=0.5)],
    "turn": [K.RandomRotation90((-1, 1), p=1.0)],
    "crop and resize": [K.RandomResizedCrop((64, 64), (0.5, 1.0))],
    "perspective": [K.RandomPerspective(0.2, p=0.8), K.RandomAffine(10, p=0.5)],
}


def of_colour(image, number):
    """Bool [H, W]: the pixels of a box; soft edges are of none."""
    colour = torch.tensor(COLOURS[number], dtype=torch.float32) / 255
    return (image - colour[:, None, None]).abs().amax(0) < 0.25


@pytest.mark.parametrize("name", MOVES)
def test_boxes_points_and_masks_lie_on_the_pixels_they_are_of(shards, name):
    run = run_of(shards, MOVES[name])
    fields = (
        "image",
        "mask",
        "masks",
        "bboxes",
        "bbox_labels",
        "keypoints",
        "polygons",
    )
    seen = 0
    for _, (image, mask, masks, boxes, labels, points, outlines) in rows(
        run, fields
    ).values():
        assert len(boxes) == len(labels) == len(masks)
        for box, label, own in zip(boxes, labels.tolist(), masks, strict=True):
            number = {7: 0, 9: 1}[label]
            pixels = of_colour(image, number)
            there = torch.nonzero(pixels)
            if len(there) < 20:
                continue
            seen += 1
            (top, left), (bottom, right) = (
                there.amin(0).tolist(),
                there.amax(0).tolist(),
            )
            found = torch.tensor([left, top, right + 1, bottom + 1])
            assert (box - found).abs().max() <= 2.5, (box, found)
            assert (pixels & (mask != number + 1)).sum() <= 0.03 * pixels.sum() + 2
            assert (own.bool() != (mask == number + 1)).float().mean() < 0.01
        height, width = image.shape[-2:]
        for x, y in points.tolist():
            colours = [of_colour(image, n) for n in (0, 1)]
            at = min(int(y), height - 1), min(int(x), width - 1)
            assert any(colour[at] for colour in colours) or at[0] in {0, height - 1}
        assert len(outlines) == 2
    assert seen >= 20


def test_outlines_are_the_corners_of_the_moved_boxes(shards):
    run = run_of(shards, [K.RandomHorizontalFlip(p=0.5)])
    for record, (outlines,) in rows(run, ("polygons",)).values():
        flipped = any(t.path == "gpu.0" for t in record.applied_transforms)
        for outline, box in zip(outlines, BOXES, strict=True):
            across = [WIDTH - x if flipped else x for x in (box[0], box[2])]
            assert sorted({*outline[:, 0].tolist()}) == sorted(across)


def test_what_leaves_the_image_is_left_out_with_its_labels(shards):
    run = run_of(shards, [K.CenterCrop((20, 20))])
    for _, (boxes, labels, masks, points) in rows(
        run, ("bboxes", "bbox_labels", "masks", "keypoints")
    ).values():
        # the crop is x 32..52, y 20..40: box 1 reaches into it from the right
        assert labels.tolist() == [9]
        assert boxes.tolist() == [[18.0, 10.0, 20.0, 20.0]]
        assert masks.shape == (1, 20, 20)
        assert masks.sum() == 2 * 10
        assert points.shape == (0, 2)


def test_masks_keep_their_dtype_and_their_classes(shards):
    run = run_of(shards, [K.RandomAffine(20, p=1.0)])
    for _, (mask, masks) in rows(run, ("mask", "masks")).values():
        assert (mask.dtype, masks.dtype) == (torch.uint8, torch.uint8)
        assert set(mask.unique().tolist()) <= {0, 1, 2}
        assert set(masks.unique().tolist()) <= {0, 1}


def test_normalisation_comes_after_batch_operations(shards):
    gpu = [K.RandomHorizontalFlip(p=0.5), K.RandomBrightness((0.7, 1.3), p=0.7)]
    plain = rows(run_of(shards, gpu))
    normal = rows(run_of(shards, gpu, [A.Normalize()]))
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]

    for position, (record, (image,)) in normal.items():
        assert record.applied_transforms[-1].name == "Normalize"
        (before,) = plain[position][1]
        assert 0 <= before.min() <= before.max() <= 1
        torch.testing.assert_close(image, (before - mean) / std)


def test_instances_of_several_units_follow_the_rows_that_they_are_of(shards):
    drawn = K.ImageSequential(
        K.RandomAffine(25, p=0.7), K.RandomHorizontalFlip(p=0.5), random_apply=1
    )
    run = loader(shards, 24, cpu=[A.NoOp()], gpu=[drawn], fields=FIELDS, unit=4)
    whole = set()
    for record, (mask, masks) in rows(run, ("mask", "masks")).values():
        whole.update(t.name for t in record.applied_transforms if t.path == "gpu.0")
        assert torch.equal(masks.bool().any(0), mask > 0)
    assert whole


def some(count):
    """Scenes of which every other has no mask, and no instances."""
    for i in range(count):
        sample = scene(i)
        if i % 2:
            del sample["mask"], sample["masks.npz"]
        yield sample


def test_samples_without_a_mask_have_none_afterwards(tmp_path):
    fiberaug.convert(some(16), tmp_path / "set", encode="png", progress=False)
    fields = {n + "?" * n.startswith("mask"): member for n, member in FIELDS.items()}
    gpu = [K.Resize((30, 42)), K.RandomHorizontalFlip(p=0.5)]
    run = loader(tmp_path / "set", 8, cpu=[A.NoOp()], gpu=gpu, fields=fields)
    for record, (mask, masks) in rows(run, ("mask", "masks")).values():
        assert (mask is None) == (masks is None) == bool(int(record.key[1:]) % 2)
        if mask is not None:
            assert mask.shape == (30, 42)
            assert masks.shape == (2, 30, 42)
            assert torch.equal(masks.bool().any(0), mask > 0)
