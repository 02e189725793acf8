"""Samples of no, one and two objects, with all that belongs to them, for tests."""

import io

import numpy as np
from sets import samples

HEIGHT, WIDTH = 40, 48
FILL = 114  # of mosaics, where there is no image


def objects(count):
    """Samples of 0, 1 and 2 objects: boxes with ids, masks, points."""
    for i, sample in enumerate(samples(count)):
        boxes = [[4 + 20 * k, 6, 16 + 20 * k, 20] for k in range(i % 3)]
        masks = np.zeros((len(boxes), HEIGHT, WIDTH), np.uint8)
        for n, (x0, y0, x1, y1) in enumerate(boxes):
            masks[n, y0:y1, x0:x1] = 1
        packed = io.BytesIO()
        np.savez(packed, masks=masks)
        numbers = list(range(len(boxes)))
        yield {
            "__key__": sample["__key__"],
            "image": sample["image"],
            "masks.npz": packed.getvalue(),
            "json": {
                "bboxes": boxes,
                "bbox_labels": [5 + n for n in numbers],
                "bbox_ids": [100 * i + n for n in numbers],
                "mask_labels": [5 + n for n in numbers],
                "keypoints": [[(a + c) / 2, (b + d) / 2] for a, b, c, d in boxes],
                "keypoint_labels": [7 + n for n in numbers],
            },
        }


OBJECTS = {
    "image": "png", "masks": "masks.npz", "bboxes": "json:bboxes",
    "bbox_labels": "json:bbox_labels", "bbox_ids": "json:bbox_ids",
    "mask_labels": "json:mask_labels", "keypoints": "json:keypoints",
    "keypoint_labels": "json:keypoint_labels",
}  # fmt: skip


def segmented(count):
    """Samples with a mask of class ids."""
    for i, sample in enumerate(samples(count)):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[6:20, 4:30] = 1 + i % 3
        yield {**sample, "mask": mask}


def paths(record):
    """Paths of what was done to a sample."""
    return [t.path for t in record.applied_transforms]


def params(record, path):
    """What was drawn for an operation."""
    return next(t.params for t in record.applied_transforms if t.path == path)
