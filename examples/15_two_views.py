"""Two views of each sample for self-supervised learning, drawn apart and on record.

Run:     python examples/15_two_views.py
Prints:  a batch of two views: [32, 2, 3, 48, 48]
         loss ... in epoch 0, ... in epoch 11
         the views of a sample differ: True
         view 1 replayed pixel for pixel: True
Why:     A sample is read and decoded once and augmented `views` times. Each view has
         draws of its own, in the workers and in the batch operations, and a record of
         its own from which it can be made again.
"""

import tempfile
from pathlib import Path

import albumentations as A
import kornia.augmentation as K
import numpy as np
import torch
from torch import nn
from torch.nn import functional

import fiberaug


def write_shards(folder: Path) -> None:
    """Paint 96 pictures, each of a few coloured squares."""
    rng = np.random.default_rng(0)
    with fiberaug.ShardWriter(folder) as writer:
        for i in range(96):
            squares = rng.integers(0, 256, (4, 4, 3), np.uint8)
            image = squares.repeat(18, axis=0).repeat(18, axis=1)
            writer.write({"__key__": f"k{i:03d}", "image": image})


def contrastive(features: torch.Tensor) -> torch.Tensor:
    """Return how badly views [B, 2, D] find their sample among all others."""
    first, second = functional.normalize(features, dim=-1).unbind(dim=1)
    return functional.cross_entropy(first @ second.T / 0.2, torch.arange(len(first)))


def main() -> None:
    """Learn from pairs of views, then replay one."""
    folder = Path(tempfile.mkdtemp())
    write_shards(folder / "shards")
    data = fiberaug.StreamingDataset(
        folder / "shards",
        transform=A.Compose([A.RandomResizedCrop((48, 48), (0.4, 1)), A.Normalize()]),
        seed=1, views=2,
    )  # fmt: skip
    loader = fiberaug.DataLoader(
        data, batch_size=32, drop_last=True,
        gpu_transform=[
            K.RandomHorizontalFlip(p=0.5),
            K.ColorJiggle(0.4, 0.4, 0.2, 0.1, p=0.8),
            K.RandomGrayscale(p=0.2),
            K.RandomGaussianBlur((5, 5), (0.1, 2.0), p=0.5),
        ],
    )  # fmt: skip

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.AvgPool2d(6), nn.Flatten(), nn.Linear(3 * 8 * 8, 64), nn.ReLU(),
        nn.Linear(64, 16),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    print("a batch of two views:", list(next(iter(loader))["image"].shape))
    losses = []
    for epoch in range(12):
        loader.set_epoch(epoch)
        for batch in loader:
            views = batch["image"]  # [B, 2, 3, H, W]
            loss = contrastive(net(views.flatten(0, 1)).unflatten(0, (-1, 2)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    print(f"loss {losses[0]:.2f} in epoch 0, {losses[-1]:.2f} in epoch {epoch}")

    first, second = batch["image"][0]
    print("the views of a sample differ:", not torch.equal(first, second))
    again = fiberaug.replay(batch["record"][0][1], loader)
    print("view 1 replayed pixel for pixel:", torch.equal(again["image"], second))


if __name__ == "__main__":
    main()
