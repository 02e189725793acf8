"""Small pictures and samples that tests write as shards."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fiberaug.jobs.encoding import encode_image

__all__ = ["DATA", "cut_jpeg", "photo", "samples", "turned"]

DATA = Path(os.environ.get("FIBERAUG_DATA", Path(__file__).parents[2] / "shared/data"))
"""Real data to run on, where it is there."""


def photo(i: int, height: int = 40, width: int = 48) -> np.ndarray:
    """A picture of coloured squares that no other number has."""
    squares = np.random.default_rng(i).integers(0, 256, (5, 6, 3), np.uint8)
    return squares.repeat(-(-height // 5), 0).repeat(-(-width // 6), 1)[:height, :width]


def samples(count: int, **extra: Callable[[int], Any]) -> Iterator[Mapping[str, Any]]:
    """Samples ``k000 ...`` with an image, a label and whatever ``extra`` makes."""
    for i in range(count):
        sample = {"__key__": f"k{i:03d}", "image": photo(i), "label": i % 4}
        yield sample | {name: make(i) for name, make in extra.items()}


def cut_jpeg(i: int) -> bytes:
    """A JPEG whose header is whole and whose pixels are cut."""
    return encode_image(photo(i, 120, 160), "jpeg")[:-900]


def turned(data: bytes, orientation: int) -> bytes:
    """A JPEG with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    block = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    return (
        data[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + data[2:]
    )
