"""A folder of images and Pillow in a torch DataLoader, as torchvision's ImageFolder is.

The operations are Pillow's, called as torchvision calls them for Pillow's images, less
the layers in between. Pillow always smooths when it shrinks.
"""

import math
import random
from pathlib import Path
from typing import Any

import contract
import numpy as np
import torch
import torchside
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

MEAN = np.array((0.485, 0.456, 0.406), np.float32)
STD = np.array((0.229, 0.224, 0.225), np.float32)
SCALE, SHIFT = 1 / (255 * STD), -MEAN / STD


def _box(width: int, height: int) -> tuple[int, int, int, int]:
    """Draw a crop as torchvision's RandomResizedCrop does."""
    for _ in range(10):
        area = width * height * random.uniform(0.08, 1)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = random.randint(0, width - w), random.randint(0, height - h)
            return left, top, left + w, top + h
    w, h = min(width, round(height * 4 / 3)), min(height, round(width * 4 / 3))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def _jitter(image: Image.Image) -> Image.Image:
    operations = [
        lambda x: ImageEnhance.Brightness(x).enhance(random.uniform(0.6, 1.4)),
        lambda x: ImageEnhance.Contrast(x).enhance(random.uniform(0.6, 1.4)),
        lambda x: ImageEnhance.Color(x).enhance(random.uniform(0.6, 1.4)),
        lambda x: _hue(x, random.uniform(-0.1, 0.1)),
    ]
    for operation in random.sample(operations, 4):
        image = operation(image)
    return image


def _hue(image: Image.Image, shift: float) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    turned = np.asarray(hue, np.uint8) + np.uint8(round(shift * 255) % 256)
    hue = Image.fromarray(turned)
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


class _Photos(torch.utils.data.Dataset):
    def __init__(self, job: contract.Job) -> None:
        paths = sorted((job.input / "folder").glob("*/*.jpg"))
        self._paths = [str(path) for path in paths]
        self._heavy = job.work == "heavy"

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, at: int) -> dict[str, Any]:
        path = self._paths[at]
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        box = _box(*image.size)
        image = image.resize((224, 224), Image.Resampling.BILINEAR, box=box)
        if random.random() < 0.5:
            image = ImageOps.mirror(image)
        if self._heavy:
            if random.random() < 0.8:
                image = _jitter(image)
            if random.random() < 0.5:
                blur = ImageFilter.GaussianBlur(random.uniform(0.1, 2.0))
                image = image.filter(blur)
            if random.random() < 0.2:
                image = image.convert("L").convert("RGB")
        pixels = np.asarray(image) * SCALE + SHIFT
        return {"image": pixels, "label": int(Path(path).parent.name)}


def _open(job: contract.Job) -> contract.Loader:
    if job.work == "detection":
        raise contract.Absent("Pillow has no operation on boxes")
    return torchside.TorchLoader(
        torch.utils.data.DataLoader(
            _Photos(job),
            batch_size=job.batch,
            shuffle=True,
            num_workers=job.workers,
            collate_fn=torchside.collate,
            persistent_workers=True,
        )
    )


if __name__ == "__main__":
    contract.main(_open)
