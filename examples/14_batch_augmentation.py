"""Augmentation of whole batches, on the GPU where there is one, in a training loop.

Run:     python examples/14_batch_augmentation.py
Prints:  training on ...
         epoch 0: loss ..., epoch 1: loss ...
         k...: gpu.0 RandomHorizontalFlip, ..., batch.0 MixUp with k...
         replayed pixel for pixel: True
Why:     Workers decode and crop; Kornia works on batches in the main process, on a
         stream beside the training step, while the next batch is on its way. What was
         drawn is drawn for units of 16 samples in the workers, so neither the batch
         size nor the number of GPUs changes what a sample gets, and every record says
         what was done to its row, and with whom it was mixed.
"""

import tempfile
from pathlib import Path

import albumentations as A
import kornia.augmentation as K
import numpy as np
import torch
from torch import nn

import fiberaug
from fiberaug.mixes import MixUp

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def write_shards(folder: Path) -> None:
    """Paint 128 pictures of two classes: bright above, or bright below."""
    rng = np.random.default_rng(0)
    with fiberaug.ShardWriter(folder) as writer:
        for i in range(128):
            image = rng.integers(0, 128, (72, 96, 3), np.uint8)
            half = slice(0, 36) if i % 2 else slice(36, 72)
            image[half] += 100
            writer.write({"__key__": f"k{i:03d}", "image": image, "label": i % 2})


def main() -> None:
    """Train a small network on mixed batches, then replay a row."""
    folder = Path(tempfile.mkdtemp())
    write_shards(folder / "shards")
    data = fiberaug.StreamingDataset(
        folder / "shards",
        transform=A.Compose([A.RandomResizedCrop((64, 64), (0.5, 1)), A.Normalize()]),
        seed=1,
    )
    loader = fiberaug.DataLoader(
        data, batch_size=32, num_workers=2, device=DEVICE,
        gpu_transform=K.AugmentationSequential(
            K.RandomHorizontalFlip(p=0.5),
            K.RandomAffine(10, translate=(0.1, 0.0), p=0.7),
            K.ColorJiggle(0.3, 0.3, 0.3, 0.05, p=0.8),
        ),
        batch_transform=MixUp(alpha=0.2, num_classes=2),
    )  # fmt: skip

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3 * 8 * 8, 32), nn.ReLU(),
        nn.Linear(32, 2),
    ).to(DEVICE)  # fmt: skip
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    losses = []
    print("training on", DEVICE)
    for _ in range(2):
        for batch in loader:
            labels = batch["label"]  # float32 [B, 2]: the classes are mixed, too
            loss = nn.functional.cross_entropy(net(batch["image"]), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    print(", ".join(f"epoch {i}: loss {value:.2f}" for i, value in enumerate(losses)))

    record = batch["record"][0]
    names = [f"{t.path} {t.name}" for t in record.applied_transforms]
    partner = record.batch["partners"][0]["key"]
    said = ", ".join(name for name in names if name[0] in "gb")
    print(f"{record.key}: {said} with {partner}")
    again = fiberaug.replay(record, loader)
    same = torch.allclose(again["image"], batch["image"][0], atol=1e-4)
    print("replayed pixel for pixel:", same)
    loader.close()


if __name__ == "__main__":
    main()
