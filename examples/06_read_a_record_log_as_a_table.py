"""Ask a finished run what was done to its samples, and which were hard.

Run:     python examples/06_read_a_record_log_as_a_table.py
Prints:  96 samples, 175 operations
         RandomResizedCrop: 96 times
         HorizontalFlip: 56 times
         RandomGamma: 23 times
         crops kept 20% to 95% of the image
         gamma was 0.62 to 1.37
         loss 0.88: squares/47 of epoch 1, RandomResizedCrop
         loss 0.86: squares/46 of epoch 1, RandomResizedCrop > HorizontalFlip
         loss 0.86: squares/46 of epoch 0, RandomResizedCrop
Why:     A run folder holds a record of every sample that was delivered, and the losses
         that you attach. `table()` gives them as columns of equal length, which
         `pandas.DataFrame(log.table())` takes as well as numpy does here.
"""

import tempfile
from collections import Counter
from pathlib import Path

import albumentations as A
import numpy as np

import fiberaug

PIPELINE = A.Compose(
    [
        A.RandomResizedCrop((64, 64), scale=(0.2, 1.0)),
        A.HorizontalFlip(p=0.5),
        A.RandomGamma((60, 140), p=0.3),
    ]
)


def write_shards(folder: Path) -> Path:
    """Write 48 images of coloured squares, the higher its number the darker."""
    rng = np.random.default_rng(0)
    with fiberaug.ShardWriter(folder) as writer:
        for i in range(48):
            squares = rng.integers(0, 256 - 4 * i, (6, 8, 3), np.uint8)
            image = squares.repeat(16, axis=0).repeat(16, axis=1)
            writer.write({"__key__": f"squares/{i:02d}", "image": image})
    return folder


def train(shards: Path, run: Path) -> None:
    """Train nothing for two epochs; the loss is how dark an image is."""
    dataset = fiberaug.StreamingDataset(shards, transform=PIPELINE)
    with fiberaug.DataLoader(dataset, batch_size=8, log=run) as loader:
        for _epoch in range(2):
            for batch in loader:
                loss = 1 - batch["image"].float().mean((1, 2, 3)) / 255
                loader.log.attach(batch, loss)  # one number a sample, not their mean


def main() -> None:
    """Write shards, train, and read the log as tables."""
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary) / "run"
        train(write_shards(Path(temporary) / "shards"), run)
        log = fiberaug.RecordLog(run)
        samples, operations = log.table("samples"), log.table("operations")
        crops = log.table("operations", name="RandomResizedCrop")
        gammas = log.table("operations", name="RandomGamma")

    print(f"{len(samples['key'])} samples, {len(operations['key'])} operations")
    for name, count in Counter(operations["name"]).most_common():
        print(f"{name}: {count} times")

    x0, y0, x1, y1 = np.array(crops["params.crop_coords"]).T
    height, width, _ = np.array(crops["params.shape"]).T
    kept = (x1 - x0) * (y1 - y0) / (height * width)
    print(f"crops kept {kept.min():.0%} to {kept.max():.0%} of the image")
    gamma = np.array(gammas["params.gamma"])
    print(f"gamma was {gamma.min():.2f} to {gamma.max():.2f}")

    for row in np.argsort(samples["loss"])[::-1][:3]:
        print(
            f"loss {samples['loss'][row]:.2f}: {samples['key'][row]} of epoch"
            f" {samples['epoch'][row]}, {samples['operations'][row]}"
        )


if __name__ == "__main__":
    main()
