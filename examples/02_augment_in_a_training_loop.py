"""Augmented batches in a plain torch training loop, and in a plain torch DataLoader.

Run:     python examples/02_augment_in_a_training_loop.py
Prints:  epoch 0: loss ...
         epoch 1: loss ...
         epoch 2: loss ...
         torch's own DataLoader gives the same batches: True
Why:     The pipeline is your own Albumentations object. What a sample looks like
         depends on (seed, epoch, sample) alone, so two workers, none, or torch's own
         DataLoader give the same pixels; the trailing Normalize is done once a batch.
"""

import tempfile
from pathlib import Path

import albumentations as A
import numpy as np
import torch
from torch import nn

import fiberaug

PIPELINE = A.Compose(
    [
        A.RandomResizedCrop((48, 48), scale=(0.5, 1)),
        A.HorizontalFlip(p=0.5),
        A.RandomBrightnessContrast(p=0.5),
        A.Normalize(),
    ]
)


def write_shards(folder: Path) -> Path:
    """Write 96 images: stripes across (0) or along (1), in two shards."""
    rng = np.random.default_rng(0)
    with fiberaug.ShardWriter(folder, shard_size="1MB") as writer:
        for i in range(96):
            wave = np.sin(np.arange(64) * rng.uniform(0.3, 0.9))
            grey = np.broadcast_to(wave if i % 2 else wave[:, None], (64, 64))
            noise = rng.normal(0, 30, (64, 64, 3))
            image = np.clip(128 + 70 * grey[..., None] + noise, 0, 255)
            writer.write(
                {"__key__": f"{i:03d}", "image": image.astype(np.uint8), "label": i % 2}
            )
    return folder


def main() -> None:
    """Train three epochs, then compare with torch's DataLoader."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        shards = write_shards(Path(temporary) / "shards")
        dataset = fiberaug.StreamingDataset(shards, transform=PIPELINE, seed=1)
        loader = fiberaug.DataLoader(dataset, batch_size=16, num_workers=2)
        model = nn.Sequential(
            nn.Conv2d(3, 16, 7, 2), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
            nn.Linear(16, 2),
        )  # fmt: skip
        optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
        first = []
        for epoch in range(3):
            total = 0.0
            for batch in loader:
                loss = nn.functional.cross_entropy(
                    model(batch["image"]), batch["label"]
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item()
                if epoch == 0:
                    first.append(batch["image"])
            print(f"epoch {epoch}: loss {total / len(loader):.3f}")

        told = fiberaug.StreamingDataset(
            shards, transform=PIPELINE, seed=1, batch_size=16
        )
        plain = torch.utils.data.DataLoader(told, batch_size=16, num_workers=2)
        same = all(
            torch.equal(ours, theirs["image"])
            for ours, theirs in zip(first, plain, strict=True)
        )
        print(f"torch's own DataLoader gives the same batches: {same}")


if __name__ == "__main__":
    main()
