"""A small classifier of cabinets, trained on windows with some from a pool."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import albumentations as A
import torch
from torch import nn

import fiberaug
from fiberaug.training.crops import TrainingWindow

__all__ = ["train_classifier"]

RATIO = 0.25
_LEARNING_RATE = 2e-3


def train_classifier(
    shards: Path,
    pool: Path | None,
    *,
    classes: int,
    size: tuple[int, int],
    images: int,
    batch_size: int,
    workers: int,
    seed: int,
) -> dict[str, Any]:
    """Return speed, shares, and how often the classifier is right about test photos.

    Args:
        shards: Photos, with the parts ``train`` and ``test``.
        pool: What one in four samples comes from; None: all are real.
        classes: How many.
        size: (height, width) of a window, px.
        images: To be shown.
        batch_size: Rows of a step.
        workers: Of each loader.
        seed: Of order, windows and weights.
    """
    torch.manual_seed(seed)
    options: dict[str, Any] = {
        "size": size,
        "batch_size": batch_size,
        "workers": workers,
        "seed": seed,
    }
    network = _network(classes)
    optimiser = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE)
    mix = None if pool is None else fiberaug.Mix(pool, ratio=RATIO)
    loader = _loader(shards, "train", mix, **options)
    begun, shown, loss = time.monotonic(), 0, torch.zeros(())
    for batch in _endless(loader):
        loss = nn.functional.cross_entropy(network(_scaled(batch)), batch["label"])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        shown += len(batch["label"])
        if shown >= images:
            break
    seconds = time.monotonic() - begun
    shares = {k: v for k, v in loader.stats().items() if k.startswith("share/")}
    loader.close()
    tested = _tested(network, _loader(shards, "test", None, **options))
    return {
        "images": shown, "images_per_s": round(shown / seconds, 1),
        "loss": round(float(loss.detach()), 4), **shares, **tested,
    }  # fmt: skip


def _tested(network: nn.Module, loader: Any) -> dict[str, Any]:
    network.eval()
    right = count = 0
    with torch.no_grad():
        for batch in loader:
            found = network(_scaled(batch)).argmax(1) == batch["label"]
            if "is_pad" in batch:
                found = found[~batch["is_pad"]]
            right += int(found.sum())
            count += len(found)
    loader.close()
    return {"test_photos": count, "test_accuracy": round(right / max(count, 1), 4)}


def _loader(
    shards: Path,
    split: str,
    mix: fiberaug.Mix | None,
    *,
    size: tuple[int, int],
    batch_size: int,
    workers: int,
    seed: int,
) -> Any:
    """Return windows of a part of the photos, mixed or not."""
    # A sample of the pool is a window already: it allows one scale alone.
    steps: list[A.BasicTransform] = [TrainingWindow(size, (1.0, None))]
    if split == "train":
        steps.append(A.HorizontalFlip(p=0.5))
    data = fiberaug.StreamingDataset(
        str(shards), split=split, train=split == "train", transform=A.Compose(steps),
        mix=mix, decode="fast", seed=seed,
    )  # fmt: skip
    return fiberaug.DataLoader(
        data, batch_size=batch_size, num_workers=workers, persistent_workers=workers > 0
    )


def _endless(loader: Any) -> Iterator[dict[str, Any]]:
    while True:
        yield from loader


def _scaled(batch: dict[str, Any]) -> torch.Tensor:
    image: torch.Tensor = batch["image"]
    return image.float() / 127.5 - 1.0


def _network(classes: int) -> nn.Module:
    """Return four convolutions and a mean: [B, 3, H, W] -> logits [B, classes]."""
    layers: list[nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes)
    )
