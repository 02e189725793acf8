"""Make the pixels of one training sample again, from its record alone.

Run:     python examples/04_replay_one_sample.py
Prints:  sample squares/09 of epoch 1 went through RandomResizedCrop, ..., Normalize
         the same pixels: True
         from the run folder alone: True
Why:     A record holds what was drawn and the key that it was drawn from. Replay draws
         again, compares with the record, and refuses when the data, the recipe or the
         drawn values differ. The run folder is enough: it holds the recipe, too.
"""

import tempfile
from pathlib import Path

import albumentations as A
import numpy as np
import torch

import fiberaug

PIPELINE = A.Compose(
    [
        A.RandomResizedCrop((64, 64)),
        A.OneOf([A.HorizontalFlip(p=1), A.RandomRotate90(p=1)], p=0.7),
        A.SomeOf([A.ColorJitter(p=1), A.GaussianBlur(p=1), A.GaussNoise(p=1)], n=2),
        A.Normalize(),
    ]
)


def write_shards(folder: Path) -> Path:
    """Write 24 images of coloured squares."""
    rng = np.random.default_rng(0)
    with fiberaug.ShardWriter(folder) as writer:
        for i in range(24):
            squares = rng.integers(0, 256, (6, 8, 3), np.uint8)
            image = squares.repeat(16, axis=0).repeat(16, axis=1)
            writer.write({"__key__": f"squares/{i:02d}", "image": image})
    return folder


def main() -> None:
    """Train nothing for two epochs, then ask for one row again."""
    with tempfile.TemporaryDirectory() as temporary:
        shards, run = write_shards(Path(temporary) / "shards"), Path(temporary) / "run"
        dataset = fiberaug.StreamingDataset(shards, transform=PIPELINE)
        with fiberaug.DataLoader(
            dataset, batch_size=8, num_workers=1, log=run
        ) as loader:
            for _epoch in range(2):
                for batch in loader:
                    image, record = batch["image"][3], batch["record"][3]

            names = ", ".join(step.name for step in record.applied_transforms)
            print(f"sample {record.key} of epoch {record.epoch} went through {names}")
            again = fiberaug.replay(record, loader)
            print(f"the same pixels: {torch.equal(again['image'], image)}")

        logged = next(
            r for r in fiberaug.RecordLog(run)
            if (r.key, r.epoch) == (record.key, record.epoch)
        )  # fmt: skip
        again = fiberaug.replay(logged.to_json(), run)
        print(f"from the run folder alone: {torch.equal(again['image'], image)}")


if __name__ == "__main__":
    main()
