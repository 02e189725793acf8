"""A COCO set to shards in one call: boxes, classes, outlines and keypoints arrive.

Run:     python examples/10_coco_to_shards.py
Prints:  coco: 24 images of 1 file, 48 annotations ...
         to write: 2 shards, ... of images
         ...18  in train
         ...6  in val
         train 18 photos, val 6 photos; classes ('dot', 'bar')
         a batch: [8, 3, 96, 128], boxes of its photos [2, 2, 2, 2, 2, 2, 2, 2]
         first photo: dot at [...], bar at [...]
Why:     A detection set is adopted in one command, `fiberaug convert SRC DST --from
         coco --split train=0.75,val=0.25 --group-by folder`: photos of one scene stay
         in one part, ids and outlines stay in each sample's JSON. The set is painted
         here, so that nothing is downloaded.
"""

import json
import logging
import sys
import tempfile
from pathlib import Path

import albumentations as A
import cv2
import numpy as np

import fiberaug

CATEGORIES = [{"id": 7, "name": "dot"}, {"id": 9, "name": "bar"}]


def make_coco(root: Path) -> Path:
    """Paint 24 photos of 8 scenes with a dot and a bar each; write COCO's JSON."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(24):
        name = f"scene{i // 3}/{i:02d}.png"
        clouds = rng.integers(0, 200, (6, 8, 3), np.uint8)
        pixels = cv2.resize(clouds, (128, 96), interpolation=cv2.INTER_CUBIC)
        x, y, r = (int(v) for v in rng.integers((30, 30, 5), (60, 60, 20)))
        cv2.circle(pixels, (x, y), r, (255, 255, 255), -1)
        cv2.rectangle(pixels, (90, 10), (119, 19), (200, 120, 0), -1)
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / "images" / name), pixels)
        images.append({"id": i, "file_name": name, "width": 128, "height": 96})
        boxes = {7: [x - r, y - r, 2 * r + 1, 2 * r + 1], 9: [90, 10, 30, 10]}
        for category, box in boxes.items():
            annotations.append({
                "id": len(annotations), "image_id": i, "category_id": category,
                "bbox": box, "area": box[2] * box[3], "iscrowd": 0,
            })  # fmt: skip
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (root / "annotations").mkdir()
    path = root / "annotations" / "instances.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return root


def main() -> None:
    """Convert, say what there is, and read a batch of the training part."""
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.WARNING)
    logging.getLogger("fiberaug").setLevel(logging.INFO)
    with tempfile.TemporaryDirectory() as temporary:
        src, dst = make_coco(Path(temporary) / "coco"), Path(temporary) / "shards"
        manifest = fiberaug.convert(
            src, dst, split={"train": 0.75, "val": 0.25}, group_by="folder"
        )
        sizes = {shard.name: shard.samples for shard in manifest.shards}
        parts = {
            part: sum(sizes[name] for name in names)
            for part, names in manifest.splits.items()
        }
        told = ", ".join(f"{part} {count} photos" for part, count in parts.items())
        print(f"{told}; classes {manifest.classes}")
        train = fiberaug.StreamingDataset(
            dst, split="train", transform=A.Compose([A.HorizontalFlip(p=1)])
        )
        batch = next(iter(fiberaug.DataLoader(train, batch_size=8)))
        counts = [len(boxes) for boxes in batch["bboxes"]]
        print(f"a batch: {list(batch['image'].shape)}, boxes of its photos {counts}")
        labels = batch["bbox_labels"][0].tolist()
        boxes = batch["bboxes"][0].tolist()
        placed = [
            f"{manifest.classes[label]} at {box}"
            for label, box in zip(labels, boxes, strict=True)
        ]
        print(f"first photo: {', '.join(placed)}")


if __name__ == "__main__":
    main()
