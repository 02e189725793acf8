"""Photos of blobs, and tasks that make good, blurred, copied or few images of them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fiberaug.training.contracts import Photos, RealBatch, Source, Task, View

SIDE = 16
CLASSES = ("dot", "ring")
_DOWN, _RIGHT = np.mgrid[:SIDE, :SIDE]


def draw(count: int, seed: int) -> Photos:
    """Return photos: a dot or a ring anywhere, of any size and light, and speckles."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = np.zeros((count, SIDE, SIDE, 1), np.uint8)
    for image, label in zip(images, labels, strict=True):
        down, right = random.uniform(4, SIDE - 4, 2)
        far = np.hypot(_DOWN - down, (_RIGHT - right) * random.uniform(0.6, 1.6))
        size = random.uniform(1.5, 5)
        shape = np.exp(-(((far - size * label) / (size if not label else 1)) ** 2))
        speckles = random.normal(0, 12, (SIDE, SIDE))
        level = 40 + random.uniform(80, 200) * shape + speckles
        image[..., 0] = level.clip(0, 255)
    return Photos(images, labels.astype(np.int64))


class BlobSource(Source):
    """A source that is asked for its reference photos alone."""

    size = (SIDE, SIDE)
    channels = 1
    has_places = False

    def __init__(
        self, photos: int = 240, held_out: int = 80, classes: Sequence[str] = CLASSES
    ) -> None:
        self.photos, self.classes = photos, tuple(classes)
        self.train, self.others = draw(photos, 1), draw(held_out, 2)

    def reference(self, count: int, *, held_out: bool = False) -> Photos:
        images, labels, _ = self.others if held_out else self.train
        known = labels if self.classes else None
        return Photos(images[:count], None if known is None else known[:count])

    def batches(self) -> Iterator[RealBatch]:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        del state

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


class Painter(Task):
    """Makes images of new photos: as they are, blurred, few, or those of the training.

    ``how`` is ``good``, ``blurred``, ``few``, ``copied``, ``wrong`` (labels swapped) or
    ``nan`` (no number in it is finite).
    """

    kind = "painter"
    sample_cost = 0.12

    def __init__(self, how: str = "good", train: Photos | None = None) -> None:
        self.how, self.train, self.asked = how, train, 0
        self.network = nn.Linear(1, 1)
        self.fresh = draw(600, 3)

    def sample(
        self,
        seeds: Sequence[int],
        labels: Sequence[int],
        places: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        del places
        self.asked += len(seeds)
        photos = self.train if self.how == "copied" and self.train else self.fresh
        wanted = 1 - np.asarray(labels) if self.how == "wrong" else np.asarray(labels)
        span = 8 if self.how == "few" else len(photos.images)
        rows = (np.asarray(seeds, np.int64) % (span // 2)) * 2 + wanted
        images = photos.images[rows].astype(float)
        if self.how == "blurred":
            images = (images + np.roll(images, 1, 1) + np.roll(images, 1, 2)) / 3
        noise = np.stack(
            [
                np.random.default_rng(seed).normal(0, 2, (SIDE, SIDE, 1))
                for seed in seeds
            ]
        )
        levels: NDArray[np.uint8] = (images + noise).clip(0, 255).astype(np.uint8)
        return levels

    def finite(self) -> bool:
        return self.how != "nan"

    def modules(self) -> dict[str, nn.Module]:
        return {"generator": self.network}

    def step(self, batch: RealBatch, *, step: int, nimg: int) -> dict[str, float]:
        raise NotImplementedError

    def tensors(self) -> dict[str, Any]:
        return {}

    def facts(self) -> dict[str, Any]:
        return {}

    def restore(self, tensors: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def relieve(self, rows: int) -> str | None:
        raise NotImplementedError

    def slow_down(self, times: int) -> None:
        raise NotImplementedError

    def save_generator(self, folder: Path, notes: Mapping[str, Any]) -> None:
        raise NotImplementedError


def view_of(out: Path, *, total: int = 10_000, **source: Any) -> View:  # of BlobSource
    """Return a training of blobs that has not begun."""
    photos = BlobSource(**source)
    return View(Painter(train=photos.train), photos, out, total)
