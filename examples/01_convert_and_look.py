"""Turn a folder of images into shards, and look at what is in them.

Run:     python examples/01_convert_and_look.py
Prints:  48 images in 3 shards; classes {'green': 16, 'orange': 16, 'violet': 16}
         image <- jpg, label <- cls
         first in evaluation order: orange/01, (3, 96, 128), label 1
Why:     The images are copied byte for byte, shuffled once (shards that are sorted by
         class train badly whatever a loader does), indexed and checksummed. Any tool
         that reads WebDataset shards reads these; `fiberaug verify DST` checks them.
"""

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

import fiberaug

COLOURS = {"green": (60, 160, 80), "orange": (230, 140, 40), "violet": (120, 70, 170)}


def make_folder(folder: Path) -> Path:
    """Paint 16 noisy tiles of each colour: <folder>/<class>/<number>.jpg."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for i in range(16):
            noise = rng.normal(0, 25, (96, 128, 3))
            image = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            path = str(folder / name / f"{i:02d}.jpg")
            cv2.imwrite(path, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return folder


def main() -> None:
    """Convert the folder given on the command line, or a painted one."""
    with tempfile.TemporaryDirectory() as temporary:
        given = len(sys.argv) > 1
        src = Path(sys.argv[1]) if given else make_folder(Path(temporary) / "photos")
        dst = Path(temporary) / "shards"
        manifest = fiberaug.convert(src, dst, shard_size="256MB" if given else "200kB")
        print(
            f"{manifest.samples} images in {len(manifest.shards)} shards;"
            f" classes {dict(manifest.counts)}"
        )
        dataset = fiberaug.StreamingDataset(dst, train=False)
        print(dataset.describe())
        first = next(iter(dataset))
        print(
            f"first in evaluation order: {first['__key__']},"
            f" {tuple(first['image'].shape)}, label {first['label']}"
        )


if __name__ == "__main__":
    main()
