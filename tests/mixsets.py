"""Small shards to mix, and what a loader delivers of them by position."""

from collections import Counter

import albumentations as A
import numpy as np
import torch

import fiberaug
from fiberaug.record import Record

__all__ = ["CLASSES", "PIPELINE", "delivered", "names", "opened", "rows", "shares"]

CLASSES = ("ant", "bee", "cow")
PIPELINE = A.Compose([A.RandomCrop(8, 8), A.HorizontalFlip(p=0.5)])


def rows(count, *, seed=0, prefix="r", size=12, classes=CLASSES, **extra):
    """Samples of noise with classes by name; their order is another for each seed."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        image = rng.integers(0, 256, (size, size, 3), np.uint8)
        label = classes[(i * 2 + seed) % len(classes)]
        sample = {"__key__": f"{prefix}{i:03}", "image": image, "label": label}
        yield sample | {name: make(i) for name, make in extra.items()}


def opened(folder, mix, **options):
    """Return a data set with small units and windows."""
    plan = {"seed": 3, "unit": 4, "window": 16, "transform": PIPELINE}
    return fiberaug.StreamingDataset(folder, mix=mix, **{**plan, **options})


def delivered(batches, *, found=None):
    """Return what each (epoch, position) has; the same place twice is an error."""
    found = {} if found is None else found
    for batch in batches:
        pads = batch["is_pad"].tolist() if "is_pad" in batch else None
        for i, views in enumerate(batch["record"]):
            if pads is not None and pads[i]:
                continue
            records = views if isinstance(views, list) else [views]
            texts = [r if isinstance(r, str) else r.to_json() for r in records]
            record = Record.from_json(texts[0])
            place = record.epoch, record.position
            assert place not in found
            assert batch.get("__source__", {i: "real"})[i] == record.origin
            assert batch["__key__"][i] == record.key
            label = batch["label"][i]
            found[place] = (
                record.key,
                label.tolist() if torch.is_tensor(label) else label,
                record.origin,
                "\n".join(texts),
                np.asarray(batch["image"][i]).tobytes(),
            )
    return found


def names(found, epoch):
    """Return the origins of an epoch's positions, in their order."""
    places = sorted(place for place in found if place[0] == epoch)
    assert [place[1] for place in places] == list(range(len(places)))
    return [found[place][2] for place in places]


def shares(found, epoch):
    """Return how many of an epoch's positions each source has."""
    return Counter(names(found, epoch))
