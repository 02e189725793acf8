"""A training that watchers look at: a source of plain photos, a task, a small loop."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from fiberaug.training.contracts import Photos, RealBatch, View

ROWS = 8


class Photographs:
    """A source of uint8 photos whose level says their class."""

    size = (12, 16)
    photos = 60
    has_places = False

    def __init__(self, classes=("end", "side", "tip"), channels=3, *, has_places=False):
        self.classes, self.channels, self.has_places = classes, channels, has_places

    def batches(self) -> Iterator[RealBatch]:
        while True:
            yield RealBatch(torch.zeros(ROWS, self.channels, *self.size))

    def reference(self, count, *, held_out=False):
        rng = np.random.default_rng(1)
        labels = np.arange(min(count, self.photos)) % max(len(self.classes), 1)
        shape = (len(labels), *self.size, self.channels)
        images = rng.integers(0, 60, shape) + 60 * labels[:, None, None, None]
        places = rng.uniform(-1, 1, (len(labels), 3)) if self.has_places else None
        return Photos(
            images.astype(np.uint8),
            labels.astype(np.int64) if self.classes else None,
            None if places is None else places.astype(np.float32),
        )


class Painting:
    """A task whose figures follow from the step, and whose images from the seed."""

    kind = "gan"
    sample_cost = 0.12

    def __init__(self, source, *, spread=60, constant=False, same=False):
        self.source, self.spread, self.constant = source, spread, constant
        self.same = same
        self.module = nn.Linear(2, 2)
        self.asked = []

    def figures(self, step):
        rng = np.random.default_rng([7, step])
        names = ("loss_critic", "penalty", "gap", "right", "loss_generator", "contrast")
        found = dict(zip(names, rng.uniform(0.2, 0.8, len(names)), strict=True))
        if step % 5 == 0:
            found["judge/kid"] = 1 / step
        return found

    def sample(self, seeds, labels, places=None):
        self.asked.append((list(seeds), list(labels), places))
        shape = (*self.source.size, self.source.channels)
        images = []
        for seed, label in zip(seeds, labels, strict=True):
            rng = np.random.default_rng(0 if self.same else seed)
            level = 60 * label + rng.uniform(0, self.spread)
            noise = rng.uniform(0, self.spread, shape)
            images.append(np.full(shape, level) if self.constant else level + noise)
        return np.clip(images, 0, 255).astype(np.uint8)

    def finite(self):
        return all(bool(one.isfinite().all()) for one in self.module.parameters())


def view_of(out, *, steps=20, source=None, **options):
    source = source or Photographs()
    out.mkdir(exist_ok=True)
    task = Painting(source, **options)
    return View(task=task, source=source, out=out, total=steps * ROWS)


def go(view, watchers, until, *, figures=None):
    """Make steps as the loop does; return what the watchers said, by step."""
    said = []
    while view.step < until:
        kept = {k: v for k, v in view.figures.items() if "/" in k}
        view.figures = kept | (figures or view.task.figures)(view.step + 1)
        view.step += 1
        view.nimg += ROWS
        view.seconds += 0.5
        for watcher in watchers:
            verdict = watcher.step(view)
            if verdict is not None:
                said.append((view.step, verdict))
    return said
