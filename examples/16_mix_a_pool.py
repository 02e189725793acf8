"""A pool of synthetic samples, mixed in at a share that falls to nothing.

Run:     python examples/16_mix_a_pool.py
Prints:  epoch 0: 0.375 asked, 0.375 delivered: ring ..., disc ...
         epoch 1: 0.125 asked, 0.125 delivered: ring ..., disc ...
         epoch 2: 0.000 asked, 0.000 delivered: ring 0, disc 0
         replayed pixel for pixel: True
Why:     Synthetic samples help early and hurt late, and only where their share is
         known. Here it is exact in every window of positions, follows a schedule, and
         every record says which samples were synthetic, and from which seed.
"""

import tempfile
from collections import Counter
from pathlib import Path

import albumentations as A
import numpy as np

import fiberaug

CLASSES = ("ring", "disc")
SHARE = fiberaug.Schedule.linear(0.5, 0.0, epochs=2)


def paint(rng: np.random.Generator, label: int) -> np.ndarray:
    """Return a noisy ring or disc, uint8 [48, 48, 3]."""
    y, x = np.mgrid[:48, :48] - rng.uniform(20, 28, (2, 1, 1))
    radius = np.hypot(x, y)
    inside = radius < 14 if label else abs(radius - 12) < 3
    image = np.where(inside[:, :, None], rng.integers(120, 256, 3), 40)
    return np.clip(image + rng.normal(0, 12, (48, 48, 3)), 0, 255).astype(np.uint8)


class Painter:
    """A generator: one image for each seed, whatever else is in the batch."""

    classes = CLASSES
    source_type = "algorithmicMedia"

    def generate(self, seeds: list[int], labels: list[int]) -> np.ndarray:
        """Return uint8 [N, 48, 48, 3]."""
        pairs = zip(seeds, labels, strict=True)
        return np.stack([paint(np.random.default_rng(s), label) for s, label in pairs])


def main() -> None:
    """Write a set and a pool, stream three epochs, replay a synthetic sample."""
    folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(0)
    with fiberaug.ShardWriter(folder / "real", classes=CLASSES) as writer:
        for i in range(256):
            writer.write(
                {"__key__": f"r{i:03d}", "image": paint(rng, i % 2), "label": i % 2}
            )
    pool = fiberaug.Pool.write(Painter(), folder / "pool", per_class=60, progress=False)

    dataset = fiberaug.StreamingDataset(
        str(folder / "real"),
        transform=A.Compose([A.RandomCrop(40, 40), A.HorizontalFlip()]),
        mix=fiberaug.Mix(pool, schedule=SHARE),
    )
    with fiberaug.DataLoader(dataset, batch_size=32, num_workers=2) as loader:
        kept = None
        for epoch in range(3):
            rows: Counter[str] = Counter()
            classes: Counter[str] = Counter()
            for batch in loader:
                for i, source in enumerate(batch["__source__"]):
                    rows[source] += 1
                    classes[CLASSES[batch["label"][i]]] += source != "real"
                    if source != "real":
                        kept = batch["record"][i], batch["image"][i]
            asked = dataset.mixture.asked(epoch, 0, 256)["synthetic"] / 256
            share = rows["synthetic"] / sum(rows.values())
            text = ", ".join(f"{name} {classes[name]}" for name in CLASSES)
            print(f"epoch {epoch}: {asked:.3f} asked, {share:.3f} delivered: {text}")
        record, image = kept
        again = fiberaug.replay(record, loader)
        print("replayed pixel for pixel:", bool((again["image"] == image).all()))


if __name__ == "__main__":
    main()
