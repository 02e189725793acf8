"""The work itself, for all rivals whose samples go through Albumentations.

Needs NumPy, OpenCV and Albumentations.
"""

import json
import os
import threading
from collections.abc import Mapping
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2
import numpy as np

__all__ = ["pipeline", "stack", "worked"]

_local = threading.local()


def pipeline(work: str) -> A.Compose:
    """Return the operations of a kind of work; sigma as in SimCLR."""
    jitter = A.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1), p=0.8)
    if work == "detection":
        return A.Compose(
            [A.RandomSizedBBoxSafeCrop(640, 640), A.HorizontalFlip(p=0.5), jitter],
            bbox_params=A.BboxParams(
                "pascal_voc",
                label_fields=["bbox_labels"],
                clip=True,
                filter_invalid_bboxes=True,
            ),
        )
    crop = A.RandomResizedCrop((224, 224), scale=(0.08, 1), ratio=(3 / 4, 4 / 3))
    heavy = [jitter, A.GaussianBlur(sigma_limit=(0.1, 2.0), p=0.5), A.ToGray(p=0.2)]
    extra = heavy if work == "heavy" else []
    return A.Compose([crop, A.HorizontalFlip(p=0.5), *extra, A.Normalize()])


def worked(
    members: Mapping[str, bytes], work: str, image: np.ndarray | None = None
) -> dict[str, Any]:
    """Return a sample decoded and augmented; ``image`` is [H, W, 3].

    Args:
        members: The sample's files by extension.
        work: Kind of work.
        image: The photo, where the rival has decoded it.
    """
    compose = getattr(_local, work, None)  # a Compose of each thread's own
    if compose is None:
        cv2.setNumThreads(0)
        compose = pipeline(work)
        setattr(_local, work, compose)
    if image is None:
        data = np.frombuffer(members["jpg"], np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    if work != "detection":
        return {
            "image": compose(image=image)["image"],
            "label": int(bytes(members["cls"])),
        }
    mask = cv2.imdecode(
        np.frombuffer(members["mask.png"], np.uint8), cv2.IMREAD_UNCHANGED
    )
    objects = json.loads(bytes(members["json"]))["objects"]
    done = compose(
        image=image,
        mask=mask,
        bboxes=np.array([o["bbox"] for o in objects], np.float32).reshape(-1, 4),
        bbox_labels=np.array([o["label"] for o in objects], np.int64),
    )
    return {name: done[name] for name in ("image", "mask", "bboxes", "bbox_labels")}


def stack(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a batch of NumPy arrays, ``image`` [B, 3, H, W] made in one go."""
    height, width, channels = samples[0]["image"].shape
    shape = (len(samples), channels, height, width)
    images = np.empty(shape, samples[0]["image"].dtype)
    for row, sample in zip(images, samples, strict=True):
        row[:] = sample["image"].transpose(2, 0, 1)
    batch = {"image": images}
    if "label" in samples[0]:
        return batch | {"label": np.array([s["label"] for s in samples])}
    return batch | {
        "mask": np.stack([s["mask"] for s in samples]),
        "bboxes": [s["bboxes"] for s in samples],
        "bbox_labels": [s["bbox_labels"] for s in samples],
    }
