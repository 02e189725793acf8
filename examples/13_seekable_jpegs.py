"""Seekable JPEGs: a crop is cut out of a photo's bytes, and nothing else is decoded.

Run:     python examples/13_seekable_jpegs.py
Prints:  6 JPEGs got restart markers, 0 had them; the shards changed by ... %
         a window of a tenth of a photo: ... KB of its ... KB are decoded
         the same pixels as decoded whole: True
         an epoch of random crops is the same, sample by sample: True
Why:     A JPEG is one long code: whoever wants its lower right corner has to read all
         of it. Restart markers part the code, without loss, into segments that stand
         for themselves. `fiberaug seekable SHARDS` adds them to an existing set in
         place, `fiberaug convert --seekable` while it is written; the index keeps where
         the segments end. Training reads the set as before: random crops and tiles are
         cheaper, most of all of large photos, and every other reader of JPEGs and tar
         shards sees the pixels that it always saw.
"""

import tempfile
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import torch

import fiberaug
from fiberaug.decode.seekable import cut_jpeg
from fiberaug.jobs.seekable import make_seekable
from fiberaug.shards.index import ShardIndex

WINDOW = (900, 700, 1320, 1020)


def write_photos(folder: Path) -> None:
    """Paint six photos of 1440x1080 px."""
    rng = np.random.default_rng(0)
    with fiberaug.ShardWriter(folder, encoding="jpeg") as writer:
        for i in range(6):
            clouds = rng.integers(0, 256, (90, 120, 3), np.uint8)
            photo = cv2.resize(clouds, (1440, 1080), interpolation=cv2.INTER_CUBIC)
            writer.write({"__key__": f"p{i}", "image": photo, "label": i % 2})


def epoch(folder: Path) -> list[torch.Tensor]:
    """Return the random crops of a training epoch, in its order."""
    transform = A.Compose([A.RandomResizedCrop((224, 224)), A.HorizontalFlip()])
    data = fiberaug.StreamingDataset(folder, transform=transform, seed=1)
    loader = fiberaug.DataLoader(data, 2, num_workers=0)
    return [image.clone() for batch in loader for image in batch["image"]]


def first_photo(folder: Path) -> tuple[bytes, ShardIndex]:
    """Return the bytes of the first photo, and the index that describes it."""
    shard = min(folder.glob("*.tar"))
    index = ShardIndex.open(shard.with_name(shard.name + ".idx"), shard=shard.name)
    (field,) = (one for one in index.fields(0) if one.extension == "jpg")
    return shard.read_bytes()[field.offset : field.offset + field.size], index


def main() -> None:
    """Make a set seekable in place, cut a window, and compare an epoch."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "shards"
        write_photos(folder)
        before = epoch(folder)
        done = make_seekable(folder, progress=False)
        grown = 100 * (done.bytes_after / done.bytes_before - 1)
        print(
            f"{done.marked} JPEGs got restart markers, {done.already} had them;"
            f" the shards changed by {grown:+.1f} %"
        )
        photo, index = first_photo(folder)
        cut = cut_jpeg(photo, WINDOW, ends=index.segment_ends(0))
        print(
            f"a window of a tenth of a photo: {len(cut.data) / 1e3:.0f} KB of its"
            f" {len(photo) / 1e3:.0f} KB are decoded"
        )
        part = cv2.imdecode(np.frombuffer(cut.data, np.uint8), cv2.IMREAD_COLOR)
        whole = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
        x, y, right, low = WINDOW
        same = part[y - cut.y : low - cut.y, x - cut.x : right - cut.x]
        print(
            "the same pixels as decoded whole:",
            np.array_equal(same, whole[y:low, x:right]),
        )
        again = epoch(folder)
        print(
            "an epoch of random crops is the same, sample by sample:",
            all(torch.equal(a, b) for a, b in zip(before, again, strict=True)),
        )


if __name__ == "__main__":
    main()
