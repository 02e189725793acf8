"""Tiles for detection: train on windows of large photos, predict, put photos together.

Run:     python examples/11_tiles_for_detection.py
Prints:  6 photos of 900x1200 px are 180 tiles of 320x320 px
         a batch for training: [16, 3, 256, 256], boxes of its tiles [...]
         c0: its tiles show a disc 37 times; put together 12 discs
         every disc of every photo found once: True
Why:     Photos that are shrunk to fit lose their small objects, and a photo of 12 Mpx
         does not fit into a model. Every tile is a sample with a place in the order, a
         record and a replay; in training each epoch cuts elsewhere. The record says
         where a tile lay, so `merge_tiles` puts predictions back on the photo: what two
         tiles show is one object, and what a border cuts becomes whole again.
         `fiberaug convert --tile 320x320 --overlap 128` bakes the tiles instead.
"""

import tempfile
from pathlib import Path

import albumentations as A
import cv2
import numpy as np

import fiberaug

SIZE, DISCS = (900, 1200), 12
TILES = {"tile": (320, 320), "overlap": 128}


def write_photos(folder: Path) -> Path:
    """Paint six photos with twelve discs each, none on top of another."""
    rng = np.random.default_rng(0)
    with fiberaug.ShardWriter(folder) as writer:
        for i in range(6):
            clouds = rng.integers(0, 120, (9, 12, 3), np.uint8)
            photo = cv2.resize(clouds, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
            cells = rng.permutation(48)[:DISCS]  # of 6 rows and 8 columns
            boxes = []
            for cell in cells.tolist():
                radius = int(rng.integers(10, 50))
                x, y = (cell % 8) * 150 + 75, (cell // 8) * 150 + 75
                x, y = (v + int(rng.integers(-20, 21)) for v in (x, y))
                cv2.circle(photo, (x, y), radius, (255, 255, 255), -1)
                boxes.append([x - radius, y - radius, x + radius + 1, y + radius + 1])
            sample = {"__key__": f"c{i}", "image": photo, "bboxes": boxes}
            writer.write(sample | {"bbox_labels": [0] * len(boxes)})
    return folder


def detect(image: np.ndarray) -> np.ndarray:
    """Return the boxes of white spots in a tile [3, H, W]: what stands for a model."""
    white = (image.min(axis=0) > 230).astype(np.uint8)
    spots = cv2.connectedComponentsWithStats(white)[2][1:]
    x, y, width, height = spots[:, :4].T.astype(np.float32)
    return np.stack([x, y, x + width, y + height], axis=1)


def main() -> None:
    """Stream tiles for training, predict on those of evaluation, merge, compare."""
    with tempfile.TemporaryDirectory() as temporary:
        shards = write_photos(Path(temporary) / "shards")

        recipe = A.Compose([A.RandomCrop(256, 256), A.HorizontalFlip()])
        train = fiberaug.StreamingDataset(shards, transform=recipe, **TILES)
        size = f"{SIZE[0]}x{SIZE[1]} px"
        print(f"6 photos of {size} are {train.num_samples} tiles of 320x320 px")
        batch = next(iter(fiberaug.DataLoader(train, batch_size=16)))
        counts = [len(boxes) for boxes in batch["bboxes"]]
        shape = list(batch["image"].shape)
        print(f"a batch for training: {shape}, boxes of its tiles {counts}")

        tiles = fiberaug.StreamingDataset(shards, train=False, **TILES)
        predictions, records = [], []
        for batch in fiberaug.DataLoader(tiles, batch_size=16):
            for row in np.flatnonzero(~batch["is_pad"].numpy()):
                predictions.append({"boxes": detect(batch["image"][row].numpy())})
                records.append(batch["record"][row])
        merged = fiberaug.merge_tiles(predictions, records)

        seen = sum(
            len(prediction["boxes"])
            for prediction, record in zip(predictions, records, strict=True)
            if record.key == "c0"
        )
        print(
            f"c0: its tiles show a disc {seen} times; put together"
            f" {len(merged[0].bboxes)} discs"
        )
        photos = fiberaug.StreamingDataset(shards, train=False)
        truths = [b["bboxes"][0].numpy() for b in fiberaug.DataLoader(photos)]
        once = all(
            sorted(map(tuple, photo.bboxes)) == sorted(map(tuple, truth))
            for photo, truth in zip(merged, truths, strict=True)
        )
        print(f"every disc of every photo found once: {once}")


if __name__ == "__main__":
    main()
