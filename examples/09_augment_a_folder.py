"""Augment a folder of photos into another folder: two paths and a list.

Run:     python examples/09_augment_a_folder.py [IN OUT]
Prints:  18 pictures of 6 photos
         copies of p0.png: p0_0.png p0_1.png p0_2.png
         p0_1.png: Rotate {'angle': ...} Vignette {'strength': ...}
         labels of p0_1.png: defect 0... 0... 0... 0...
         each alone: HorizontalFlip, Rotate, Vignette
         made again from its record: True
         the same command again writes nothing: True
Why:     The folder that is written looks as the one that is read: the same paths, and
         boxes (here YOLO's), masks and captions moved along. Every picture has a record
         with what was drawn, from which the very same pixels can be made again. What is
         drawn follows from the seed and the photo, never from the number of workers.
         From a shell: fiberaug augment IN OUT --recipe recipe.yaml --copies 3 [--each]
"""

import json
import sys
import tempfile
from pathlib import Path

import albumentations as A
import cv2
import numpy as np

import fiberaug
from fiberaug.foldering.augmenting import augment_folder
from fiberaug.processors import Rotate


class Vignette(fiberaug.ImageProcessor):
    """Darken the corners, as the light of a fibre microscope does, up to ``most``."""

    def _process(self, image: np.ndarray) -> np.ndarray:
        self.strength = float(self.rng.uniform(0.2, self.most))
        y, x = (np.linspace(-1, 1, side) for side in image.shape[:2])
        far = (y[:, None] ** 2 + x**2) / 2
        return (image * (1 - self.strength * far)[..., None]).astype(np.uint8)

    def _process_info(self) -> dict:
        return {"strength": self.strength}


OPERATIONS = [A.HorizontalFlip(p=0.5), Rotate(limit=15), Vignette(most=0.8)]


def make_folder(folder: Path) -> Path:
    """Paint six end faces with a defect each, labelled as YOLO does."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    (folder / "classes.txt").write_text("defect\n")
    for i in range(6):
        image = np.random.default_rng(i).integers(90, 110, (96, 128, 3), np.uint8)
        cv2.circle(image, (64, 48), 40, (200, 180, 160), -1)
        cv2.rectangle(image, (50 + i, 40), (62 + i, 50), (20, 20, 90), -1)
        cv2.imwrite(str(folder / "images" / f"p{i}.png"), image)
        box = (50 + i + 6.5) / 128, 45.5 / 96, 13 / 128, 11 / 96
        text = " ".join(f"{value:.6f}" for value in box)
        (folder / "labels" / f"p{i}.txt").write_text(f"0 {text}\n")
    return folder


def main() -> None:
    """Augment the folder given on the command line, or a painted one."""
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        src = make_folder(base / "in") if len(sys.argv) < 3 else Path(sys.argv[1])
        dst = base / "out" if len(sys.argv) < 3 else Path(sys.argv[2])
        options = {"cache_dir": base / "cache", "progress": False}
        summary = augment_folder(src, dst, OPERATIONS, copies=3, **options)
        print(f"{summary.pictures} pictures of {summary.photos} photos")
        if len(sys.argv) > 2:
            return
        names = sorted(path.name for path in (dst / "images").glob("p0_*.png"))
        print("copies of p0.png:", *names)
        lines = (dst / "records.jsonl").read_text().splitlines()
        line = next(one for one in map(json.loads, lines) if "p0_1.png" in one["file"])
        applied = [
            t for t in line["record"]["applied_transforms"] if t["name"][0] in "RV"
        ]
        print("p0_1.png:", *(f"{t['name']} {t['params']}" for t in applied))
        _, *box = (dst / "labels/p0_1.txt").read_text().split()
        print("labels of p0_1.png: defect", *(f"{float(value):.4f}" for value in box))
        alone = augment_folder(src, base / "each", OPERATIONS, each=True, **options)
        print("each alone:", ", ".join(alone.operations))
        dataset = fiberaug.StreamingDataset(
            src, transform=OPERATIONS, cache_dir=base / "cache"
        )
        again = fiberaug.replay(line["record"], dataset)["image"].permute(1, 2, 0)
        written = cv2.imread(str(dst / line["file"]))[..., ::-1]
        print(f"made again from its record: {np.array_equal(again.numpy(), written)}")
        known = augment_folder(src, dst, OPERATIONS, copies=3, **options).known
        print(f"the same command again writes nothing: {known}")


if __name__ == "__main__":
    main()
