"""Your own generator beside a training loop: images are made while they are used.

Run:     python examples/17_online_generator.py
Prints:  epoch 0: {'real': 45, 'online': 15}, 0 late
         epoch 1: {'real': 45, 'online': 15}, 0 late
         after a kill of the generator the run goes on: True
         kept as a pool: 45 images; a record is replayed from it: True
Why:     The generator lives in a process of its own, which fills a bounded buffer on
         disk. A sample is a function of the seed, its class and its number, so a run
         can be repeated, stopped and resumed at any place, though the images are only
         made when they are needed. What was delivered can be kept as a pool.
"""

import os
import signal
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

import fiberaug
from fiberaug.synthetic.online import OnlineGenerator


class Shapes:
    """Draws a ring or a cross at a random place; the seed says which and where."""

    classes = ("ring", "cross")
    source_type = "algorithmicMedia"  # drawn; a trained model needs no such line

    def generate(
        self, seeds: Sequence[int], labels: Sequence[int], **_: object
    ) -> np.ndarray:
        """Return uint8 [N, 64, 64, 3], an image for each seed."""
        images = np.zeros((len(seeds), 64, 64, 3), np.uint8)
        for image, seed, label in zip(images, seeds, labels, strict=True):
            rng = np.random.default_rng(seed)
            x, y, size = (int(number) for number in rng.integers(16, 48, 3))
            color = [int(level) for level in rng.integers(100, 256, 3)]
            if label == 0:
                cv2.circle(image, (x, y), size // 3, color, 3)
            else:
                cv2.drawMarker(image, (x, y), color, cv2.MARKER_CROSS, size, 3)
        return images


def main() -> None:
    """Stream three epochs, kill the generator in the last, replay from the pool."""
    folder, painter = Path(tempfile.mkdtemp()), Shapes()
    with fiberaug.ShardWriter(folder / "real", classes=Shapes.classes) as writer:
        for i, image in enumerate(painter.generate(range(60), [0, 1] * 30)):
            writer.write({"__key__": f"r{i:02d}", "image": image, "label": i % 2})

    online = OnlineGenerator(
        Shapes, folder / "buffer", classes=Shapes.classes, seed=1, ahead=16,
        most_bytes="10MB", wait=60.0, keep=folder / "pool",
    )  # fmt: skip
    dataset = fiberaug.StreamingDataset(
        str(folder / "real"), mix=fiberaug.Mix(online, ratio=0.25)
    )
    run = folder / "run"
    with fiberaug.DataLoader(dataset, batch_size=12, num_workers=2, log=run) as loader:
        for epoch in range(3):
            sources: Counter[str] = Counter()
            for batch in loader:
                sources.update(batch["__source__"])
                if epoch == 2 and online.pid is not None:
                    os.kill(online.pid, signal.SIGKILL)
            if epoch < 2:
                late = loader.stats()["late"]
                print(f"epoch {epoch}: {dict(sources)}, {late:.0f} late")
        same = sources["online"] == 15 and loader.stats()["late"] == 0
        print("after a kill of the generator the run goes on:", same)

    row = batch["__source__"].index("online")
    again = fiberaug.replay(batch["record"][row], run)["image"]
    kept = len(fiberaug.Pool.open(folder / "pool"))
    replayed = bool((again == batch["image"][row]).all())
    print(f"kept as a pool: {kept} images; a record is replayed from it: {replayed}")


if __name__ == "__main__":
    main()
