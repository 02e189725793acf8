"""What tests of folders share: photos without loss, a run in this process, files."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
from sets import photo

from fiberaug.foldering.augmenting import augment_folder

__all__ = [
    "FLIP", "augmented", "lines", "photos", "pixels", "png", "put", "records", "summed",
    "tree",
]  # fmt: skip

FLIP = [{"HorizontalFlip": {"p": 1}}]


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def png(pixels: np.ndarray) -> bytes:
    """A PNG of RGB or gray pixels."""
    flipped = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    return cv2.imencode(".png", flipped)[1].tobytes()


def pixels(path: Path) -> np.ndarray:
    """RGB pixels of a file, by OpenCV alone."""
    return cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1]


def photos(folder: Path, count: int = 6) -> Path:
    """PNG photos of two classes in a folder."""
    for i in range(count):
        put(folder / ("cat", "dog")[i % 2] / f"p{i:03d}.png", png(photo(i)))
    return folder


def augmented(src: Path, dst: Path, recipe=FLIP, **options):
    """Augment in this process, with the index beside the output."""
    plain = {"workers": 1, "progress": False, "cache_dir": dst.parent / "cache"}
    return augment_folder(src, dst, recipe, **plain | options)


def tree(folder: Path) -> dict[str, bytes]:
    """Content of each file below a folder, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def summed(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below a folder, by path."""
    return {
        name: hashlib.sha256(data).hexdigest() for name, data in tree(folder).items()
    }


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def records(folder: Path) -> dict[str, dict]:
    """Lines of ``records.jsonl`` by the file that was written."""
    return {line["file"]: line for line in lines(folder / "records.jsonl")}
