"""Small plain sets of each kind, with photos that EXIF turns and one of many bytes."""

import csv
import json
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from sets import photo

from fiberaug.jobs import plain, plain_index
from fiberaug.shards.index import ShardIndex

__all__ = [
    "KINDS",
    "assert_equal",
    "indexes",
    "jpeg",
    "noise",
    "own_cache",
    "photos_in",
    "png",
    "put",
]


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def jpeg(i: int, orientation: int = 1, height: int = 40, width: int = 48) -> bytes:
    """A JPEG of ``width`` x ``height`` stored px with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = BytesIO()
    Image.fromarray(photo(i, height, width)).save(file, "JPEG", exif=exif, quality=95)
    return file.getvalue()


def noise(i: int, orientation: int) -> bytes:
    """A JPEG of more bytes than an index reads of it."""
    pixels = np.random.default_rng(i).integers(0, 256, (280, 360, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", exif=exif, quality=95)
    assert file.tell() > 2**16 + 2**12
    return file.getvalue()


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def folder(root: Path) -> Path:
    for i in range(12):
        put(root / f"c{i % 3}" / f"img.{i:02d}.jpg", jpeg(i, i % 8 + 1))
    put(root / "c0" / "large.jpg", noise(1, 6))
    put(root / "c1" / "plain.png", png(photo(50)))
    return root


def voc(root: Path) -> Path:
    for i in range(10):
        orientation = (1, 6, 8)[i % 3]
        put(root / "JPEGImages" / f"{i:02d}.jpg", jpeg(i, orientation))
        width, height = (48, 40) if i % 2 else (40, 48)  # stored, or upright
        if orientation == 1:
            width, height = 48, 40
        put(root / "Annotations" / f"{i:02d}.xml", (
            f"<annotation><filename>{i:02d}.jpg</filename><size><width>{width}</width>"
            f"<height>{height}</height></size><object><name>dog{i % 2}</name>"
            f"<difficult>1</difficult><bndbox><xmin>{i}</xmin><ymin>4</ymin>"
            "<xmax>20</xmax><ymax>30</ymax></bndbox></object></annotation>"
        ))  # fmt: skip
        mask = np.full((height, width), i, np.uint8)
        mask[:3] = 77
        put(root / "SegmentationClass" / f"{i:02d}.png", png(mask))
    return root


def yolo(root: Path) -> Path:
    for i in range(10):
        put(root / "images" / f"{i:02d}.jpg", jpeg(i))
        put(root / "labels" / f"{i:02d}.txt", f"{i % 2} 0.5 0.5 0.25 0.{i + 1:02d}\n")
    put(root / "images" / "turned.jpg", jpeg(20, 6))  # background: no frame to know
    return root


def coco(root: Path) -> Path:
    images, annotations = [], []
    for i in range(10):
        orientation = (1, 6, 5)[i % 3]
        put(root / "images" / f"{i:02d}.jpg", jpeg(i, orientation))
        size = (48, 40) if orientation == 1 or i % 2 else (40, 48)
        images.append({"id": i, "file_name": f"images/{i:02d}.jpg", "width": size[0],
                       "height": size[1]})  # fmt: skip
        annotations += [
            {"id": 2 * i + k, "image_id": i, "category_id": 3 + k, "area": 50.5,
             "iscrowd": 0, "bbox": [1.5 + i, 2, 10, 20.25],
             "segmentation": [[1.5, 2, 11.5, 2, 11.5, 22]]}
            for k in range(i % 3)
        ]  # fmt: skip
    put(root / "annotations" / "a.json", json.dumps({
        "images": images, "annotations": annotations,
        "categories": [{"id": 3, "name": "cable"}, {"id": 4, "name": "plug"}],
    }))  # fmt: skip
    return root


def table(root: Path) -> Path:
    rows = []
    for i in range(10):
        put(root / "photos" / f"{i:02d}.jpg", jpeg(i, (1, 5, 6, 7, 8)[i % 5]))
        put(root / "masks" / f"{i:02d}.png", png(np.full((40, 48), i + 2, np.uint8)))
        rows.append([f"photos/{i:02d}.jpg", f"dog{i % 2}", f"no {i}", f"g{i // 3}",
                     f"masks/{i:02d}.png"])  # fmt: skip
    (root / "metadata.csv").parent.mkdir(parents=True, exist_ok=True)
    with (root / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [["file_name", "label", "caption", "group", "mask"], *rows]
        )
    return root


def masks(root: Path) -> Path:
    for i in range(10):
        put(root / "images" / f"{i:02d}.jpg", jpeg(i, (1, 6)[i % 2]))
        mask = np.zeros((40, 48), np.uint8)  # as stored
        mask[i:, : 2 * i] = 255
        put(root / "masks" / f"{i:02d}.png", png(mask))
    return root


KINDS = {
    "folder": folder, "voc": voc, "yolo": yolo, "coco": coco, "csv": table,
    "masks": masks,
}  # fmt: skip


def own_cache(tmp_path: Path, monkeypatch) -> Path:
    """A cache of this test's own, and a process in which nothing was said so far."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plain._told.clear()
    return tmp_path / "cache" / "fiberaug" / "fiberaug-1" / "plain"


def photos_in(tmp_path: Path, monkeypatch) -> Path:
    """A folder of 42 photos in several virtual shards."""
    monkeypatch.setattr(plain_index, "SAMPLES", 10)
    for i in range(42):
        put(tmp_path / "src" / f"c{i % 3}" / f"{i:02d}.jpg", jpeg(i, i % 8 + 1))
    return tmp_path / "src"


def assert_equal(one, other):
    """The same samples: keys in the same order, fields bit by bit."""
    assert list(one) == list(other)
    for key, sample in one.items():
        assert sample.keys() == other[key].keys()
        for name in sample.keys() - {"__url__", "record"}:
            left, right = sample[name], other[key][name]
            assert type(left) is type(right), (key, name)
            if hasattr(left, "dtype"):
                assert left.dtype == right.dtype, (key, name)
                assert np.array_equal(np.asarray(left), np.asarray(right)), (key, name)
            else:
                assert left == right, (key, name)


def indexes(found):
    return [ShardIndex.open(Path(ref.index), shard=ref.name) for ref in found.refs]
