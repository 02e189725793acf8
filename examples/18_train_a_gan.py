"""A small GAN trained on shards, its pool mixed into the training of a classifier.

Run:     python examples/18_train_a_gan.py
Prints:  height 16, width 24, landscape: 4x6 doubled 2 times
         plan: ... of memory, ... images shown
         shown 1024 images, losses finite: True
         gone on to 1280 images
         pool: ring 40, disc 40, of 16x24 px
         mixed: 64 of 256 samples synthetic, each class even: True
Why:     A generator of your own photos is three lines: two networks, a trainer, a
         number of images to show. What it takes is known before it begins, the same
         call goes on after Ctrl-C or kill -9, and what it makes is a pool that mixes in
         at an exact share. (So short a training learns little: a number of CI.)
"""

import csv
import math
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch

import fiberaug
from fiberaug.models import Critic, Generator
from fiberaug.training import GANTrainer

CLASSES = ("ring", "disc")
SIZE = (16, 24)


def paint(rng: np.random.Generator, label: int) -> np.ndarray:
    """Return a noisy ring or disc, uint8 [16, 24, 3]."""
    y, x = np.mgrid[:16, :24] - np.array([8, 12])[:, None, None]
    radius = np.hypot(y - rng.uniform(-2, 2), x - rng.uniform(-4, 4))
    inside = radius < 5 if label else abs(radius - 5) < 1.5
    image = np.where(inside[:, :, None], rng.integers(120, 256, 3), 40)
    return np.clip(image + rng.normal(0, 8, (16, 24, 3)), 0, 255).astype(np.uint8)


def networks() -> tuple[Generator, Critic]:
    """Return a generator and a critic, the same at each call."""
    torch.manual_seed(0)
    return (
        Generator(SIZE, classes=2, width=8, z_dim=16),
        Critic(SIZE, classes=2, width=8),
    )


def main() -> None:
    """Write shards, train, go on, write a pool, stream a mixed epoch."""
    folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(0)
    with fiberaug.ShardWriter(folder / "real", classes=CLASSES) as writer:
        for i in range(256):
            writer.write(
                {"__key__": f"r{i:03d}", "image": paint(rng, i % 2), "label": i % 2}
            )

    def trainer() -> GANTrainer:
        return GANTrainer(
            *networks(), folder / "real", memory="2GB", out=folder / "gan",
            batch_size=32, progress=False,
        )  # fmt: skip

    print(networks()[0].plan)
    plan = trainer().plan(images=1024)
    print(f"plan: {plan.peak} bytes of memory, {plan.images} images shown")
    trainer().train(images=1024)
    with (folder / "gan/loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    finite = all(math.isfinite(float(row["loss_critic"])) for row in rows)
    print(f"shown {rows[-1]['nimg']} images, losses finite: {finite}")
    generator = trainer().train(images=1280)  # the same folder: it goes on
    print("gone on to 1280 images")

    pool = fiberaug.Pool.write(generator, folder / "pool", per_class=40, progress=False)
    counts = ", ".join(f"{name} {count}" for name, count in pool.counts.items())
    print(f"pool: {counts}, of {pool.size[0]}x{pool.size[1]} px")
    dataset = fiberaug.StreamingDataset(
        folder / "real", mix=fiberaug.Mix(pool, ratio=0.25)
    )
    with fiberaug.DataLoader(dataset, batch_size=32, num_workers=2) as loader:
        made = Counter(
            CLASSES[label]
            for batch in loader
            for source, label in zip(batch["__source__"], batch["label"], strict=True)
            if source != "real"
        )
    even = made["ring"] == made["disc"]
    print(f"mixed: {made.total()} of 256 samples synthetic, each class even: {even}")


if __name__ == "__main__":
    main()
