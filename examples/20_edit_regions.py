"""Regions of photos made anew while boxes and masks stay true, written as a pool.

Run:     python examples/20_edit_regions.py
Prints:  8 photos, 8 windows, labels equal: True
         outside of edits 0 pixels differ
         pasted: 8 objects, all discs: True
         made again from its record: True
         training: 4 of 8 are edits
Why:     A model that repaints all but the objects gives new photos with old labels:
         boxes and masks hold exactly, for no pixel of an object is touched. Windows
         are cut out of the full photo, so that memory does not depend on its size.
         (The editor here is numpy; `fiberaug edit` takes a Stable Diffusion.)
"""

import tempfile
from pathlib import Path

import cv2
import numpy as np

import fiberaug
from fiberaug.editing import RegionEdit, edit_pool

CLASSES = ("ring", "disc")
HOW = {"window": 64, "margin": 8, "feather": 6}


class Mist:
    """Changes windows: a colour of the seed lies over them."""

    def generate(self, seeds: list, labels: list, **told: np.ndarray) -> np.ndarray:
        """Return the changed windows, uint8 [N, H, W, 3]."""
        colour = np.random.default_rng([*seeds, *labels]).integers(60, 200, 3)
        return (told["image"] // 2 + colour // 2).astype(np.uint8)


class Patches:
    """Makes patches of its classes."""

    classes = CLASSES

    def generate(self, seeds: list, labels: list) -> np.ndarray:
        """Return patches, uint8 [N, 32, 32, 1]."""
        far = np.hypot(*np.mgrid[:32, :32] - 15.5)
        inside = far < 15 if labels[0] else abs(far - 12) < 3
        return np.uint8(inside * (140 + seeds[0] % 99) + 20)[None, ..., None]


def paint(rng: np.random.Generator) -> dict:
    """Return a photo with one ring, its box and its mask."""
    y, x = np.mgrid[:96, :128] - rng.integers(30, 66, 2)[:, None, None]
    inside = abs(np.hypot(x, y) - 13) < 3
    photo = rng.integers(20, 90, (96, 128, 3), np.uint8)
    photo[inside] = rng.integers(120, 256, 3)
    rows, columns = np.nonzero(inside)
    box = np.float32([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]])
    return {"image": photo, "mask": np.uint8(inside), "bboxes": box, "bbox_labels": [0]}


def main() -> None:
    """Write shards, edit them in two ways, make an edit again, mix."""
    folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(0)
    shards, more = folder / "real", {"split": "train", "progress": False, **HOW}
    with fiberaug.ShardWriter(shards, classes=CLASSES) as writer:
        for i in range(8):
            writer.write({"__key__": f"photo-{i}", **paint(rng)})
    real = list(fiberaug.StreamingDataset(shards, train=False))

    pool = edit_pool(shards, Mist(), folder / "pool", what="background", **more)
    fields = {**pool.manifest.fields, "changed": "edit.png"}
    edited = list(fiberaug.StreamingDataset(pool.path, train=False, fields=fields))
    pairs = list(zip(real, edited, strict=True))
    same = all((a[n] == b[n]).all() for a, b in pairs for n in ("mask", "bboxes"))
    windows = pool.file.checks["windows"]
    print(f"{len(pool)} photos, {windows} windows, labels equal: {same}")
    away = sum(
        int((a["image"] != b["image"]).any(0)[b["changed"][..., 0] == 0].sum())
        for a, b in pairs
    )
    print(f"outside of edits {away} pixels differ")
    more |= {"mode": "paste", "to": "disc"}
    pasted = edit_pool(shards, Patches(), folder / "pasted", **more)
    found = list(fiberaug.StreamingDataset(pasted.path, train=False))
    discs = all(one["bbox_labels"].tolist() == [1] for one in found)
    print(
        f"pasted: {pasted.file.checks['objects']['asked']} objects, all discs: {discs}"
    )

    cv2.imwrite(str(folder / "a.jpg"), paint(rng)["image"])
    files = RegionEdit(Mist(), folder, folder / "out", region="grid", **HOW)
    written = files.process("a.jpg").read_bytes()
    again = files.replay("a.jpg").members["png"]
    print(f"made again from its record: {again == written}")
    mixed = fiberaug.StreamingDataset(shards, mix=fiberaug.Mix(pool.path, ratio=0.5))
    print(f"training: {sum('-e000' in s['__key__'] for s in mixed)} of 8 are edits")


if __name__ == "__main__":
    main()
