"""Photos to race on, as shards and as a folder of the same files; made once.

Needs the package itself: ``ShardWriter`` writes the shards, which any reader can read.
"""

import json
import os
import shutil
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import probes

import fiberaug

__all__ = ["DATA", "INPUTS", "make_input"]

DATA = Path(os.environ.get("FIBERAUG_DATA", Path(__file__).parents[3] / "shared/data"))
_CELLS = ("RBC", "WBC", "Platelets")
Photos = Iterator[dict[str, Any]]


def _clothing() -> Photos:
    folders = sorted(path for path in (DATA / "clothing-small/train").iterdir())
    for label, folder in enumerate(folders):
        for path in sorted(folder.iterdir()):
            yield {"image": path.read_bytes(), "label": label}


def _big() -> Photos:
    files = sorted((DATA / "big-photos").rglob("*.jp*g"))
    for turn in range(14):  # 22 photos: 308 samples
        for path in files:
            yield {"image": path.read_bytes(), "label": turn}


def _rendered(count: int, width: int, height: int, turns: int = 1) -> Photos:
    for number in range(count):
        data = _jpeg(_scene(number, width, height), 92)
        for _ in range(turns):
            yield {"image": data, "label": number % 10}


def _scene(number: int, width: int, height: int) -> np.ndarray:
    """A picture with detail at all scales, as photos have, and some sharp shapes."""
    rng = np.random.default_rng(number)
    image = np.zeros((height, width, 3), np.float32)
    for side in (3, 7, 15, 40, 100, 250, min(width, height)):
        noise = rng.normal(0, 1, (side, side, 3)).astype(np.float32)
        noise += 2 * noise.mean(2, keepdims=True)  # most of a photo's detail is gray
        image += 60 / side**0.45 * cv2.resize(noise, (width, height))
    image += rng.uniform(70, 180)
    for _ in range(12):
        corner = rng.integers(0, (width, height))
        colour = rng.uniform(0, 255, 3)
        end = corner + rng.integers(8, max(9, width // 4), 2)
        cv2.rectangle(image, corner.tolist(), end.tolist(), colour.tolist(), -1)
    return np.clip(image, 0, 255).astype(np.uint8)


def _cells() -> Photos:
    for _ in range(4):  # 364 photos: 1,456 samples
        for path in sorted((DATA / "bccd/Annotations").glob("*.xml")):
            root = ET.parse(path).getroot()  # noqa: S314  # our own copy of a known set
            photo = DATA / "bccd/JPEGImages" / f"{path.stem}.jpg"
            boxes, labels = [], []
            for thing in root.iter("object"):
                sides = [thing.find("bndbox").find(side) for side in _SIDES]
                boxes.append([float(side.text) for side in sides])
                labels.append(_CELLS.index(thing.find("name").text))
            yield _boxed(photo.read_bytes(), boxes, labels, (640, 480))


_SIDES = ("xmin", "ymin", "xmax", "ymax")


def _boxed(data: bytes, boxes: list, labels: list, size: tuple[int, int]) -> dict:
    mask = np.zeros(size[::-1], np.uint8)
    for (left, top, right, bottom), label in zip(boxes, labels, strict=True):
        mask[round(top) : round(bottom), round(left) : round(right)] = label + 1
    return {
        "image": data, "mask": mask,
        "bboxes": np.array(boxes, np.float32).reshape(-1, 4),
        "bbox_labels": np.array(labels, np.int64),
    }  # fmt: skip


def _probe(kind: str, count: int, width: int, height: int) -> Photos:
    files: dict[int, bytes] = {}  # but for boxes there are few different ones
    for number in range(count):
        same = number if kind == "boxes" else number % 16
        if same not in files:
            files[same] = _jpeg(probes.render(kind, number, width, height), 95)
        data = files[same]
        if kind == "boxes":
            box = probes.box(number, width, height)
            yield _boxed(data, [box], [0], (width, height))
        else:
            yield {"image": data, "label": number}


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", image[..., ::-1], options)[1].tobytes()


INPUTS = {
    "clothing": (_clothing, (), "12MB"),
    "big": (_big, (), "16MB"),
    "cells": (_cells, (), "4MB"),
    "rendered": (_rendered, (768, 500, 375, 4), "40MB"),
    "tiny": (_rendered, (96, 160, 120), "128kB"),
    "tiny-cells": (_probe, ("boxes", 48, 160, 120), "40kB"),
    "probe-place": (_probe, ("place", 1024, 500, 375), "2MB"),
    "probe-big": (_probe, ("place", 512, 2624, 1968), "16MB"),
    "probe-stripes": (_probe, ("stripes", 1024, 500, 375), "6MB"),
    "probe-boxes": (_probe, ("boxes", 256, 640, 480), "1MB"),
}
"""Name: where the photos come from, its arguments, and the size of shards."""


def make_input(name: str, root: Path) -> Path:
    """Return the folder of an input, made first where it is not there yet.

    Args:
        name: A key of :data:`INPUTS`.
        root: Folder of inputs.

    Raises:
        FileNotFoundError: The real data are not there.
    """
    folder = root / name
    if (folder / "input.json").exists():
        return folder
    make, arguments, size = INPUTS[name]
    shutil.rmtree(folder, ignore_errors=True)
    labels: Counter[str] = Counter()
    count = total = 0
    photos = list(make(*arguments))
    if not photos:
        raise FileNotFoundError(f"there are no photos for {name}")
    order = np.random.default_rng(0).permutation(len(photos))  # as shards should be
    with fiberaug.ShardWriter(
        folder / "shards", shard_size=size, classes=_classes(name)
    ) as writer:
        for number, photo in enumerate(photos[place] for place in order):
            key = f"{number:06d}"
            writer.write({"__key__": key} | photo)
            if "label" in photo:
                labels[str(photo["label"])] += 1
                path = folder / "folder" / str(photo["label"]) / f"{key}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(photo["image"])
            count, total = count + 1, total + len(photo["image"])
    about: dict[str, Any] = {"photos": count, "bytes": total, "labels": dict(labels)}
    if name.startswith(("probe-", "tiny-cells")):
        kind, _, width, height = arguments
        about["probe"] = {"kind": kind, "width": width, "height": height}
    (folder / "input.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


def _classes(name: str) -> list[str] | None:
    return list(_CELLS) if "cells" in name or name == "probe-boxes" else None
