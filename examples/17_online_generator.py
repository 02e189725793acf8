"""Your own generator beside a training loop: images are made while they are used.

Run:     python examples/17_online_generator.py
Prints:  32 images of each of 2 classes, ... s waited, 0 late
         made ahead of them: 32
         after a kill the same image comes again: True
         kept as a pool: {'ring': 33, 'cross': 32}
Why:     The generator lives in a process of its own, which fills a bounded buffer on
         disk. A sample is a function of the seed, its class and its number, so a run
         can be repeated, stopped and resumed at any place, though the images are only
         made when they are needed. What was used can be kept as a pool.
"""

import os
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from fiberaug.synthetic.online import OnlineGenerator
from fiberaug.synthetic.pool import Pool


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
    """Take images as a training loop would, then kill the generator's process."""
    folder = Path(tempfile.mkdtemp())
    online = OnlineGenerator(
        Shapes, folder / "buffer", classes=Shapes.classes, seed=1, ahead=16,
        most_bytes="10MB", wait=60.0, keep=folder / "pool",
    )  # fmt: skip
    with online:
        for index in range(32):
            for label in range(2):
                sample = online.take(label, index)  # {"png": ..., "cls": ..., "json"}
                if sample is None:  # not there in time: use a real one
                    raise SystemExit(online.why())
                online.confirm(label, index)  # it was used: keep it
        stats = online.stats()
        print(
            f"32 images of each of 2 classes, {stats['waited_s']:.1f} s waited,"
            f" {stats['late']} late"
        )
        while (made := online.stats()["made"]) < 2 * (32 + 16):
            time.sleep(0.01)
        print("made ahead of them:", made - 2 * 32)

        first = online.take(0, 0)
        os.kill(online.pid, signal.SIGKILL)
        again, later = online.take(0, 0), online.take(0, 500)
        online.confirm(0, 500)
        same = again == first and later is not None
        print("after a kill the same image comes again:", same)
    print("kept as a pool:", Pool.open(folder / "pool").counts)


if __name__ == "__main__":
    main()
