"""The demo's data: end faces as JPEG files, cabinets as a phone stores them."""

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fiberaug.bars import ProgressBar
from fiberaug.demo.cabinet import CABINET_CLASSES, render_cabinet
from fiberaug.demo.endface import CLASSES, render_endface
from fiberaug.jobs.writing import ShardWriter
from fiberaug.shards.manifest import Manifest

__all__ = [
    "Cabinets",
    "digest_of",
    "is_sideways",
    "pack_boxed_endfaces",
    "pack_cabinets",
    "write_endfaces",
]

_ORIENTATION = 0x0112
_QUALITY = 92
_PROCESSES = 2
"""Renderers of cabinets; each needs about 450 MB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cabinets:
    """What was stored of the cabinets, to hold the decoded samples against."""

    manifest: Manifest
    """Of the shards."""

    digests: dict[str, str]
    """:func:`digest_of` the upright labels by key."""

    stored: dict[str, bytes]
    """JPEG bytes by key, of the first cabinet that is stored sideways."""

    sideways: int
    """Cabinets with EXIF orientation 6."""


def write_endfaces(folder: Path, *, images: int, first_seed: int, title: str) -> None:
    """Render ``images`` end faces, the classes in turn, to ``folder/<class>/NNNN.jpg``.

    Args:
        folder: Where the class folders are made.
        images: Number of pictures; no two share a seed.
        first_seed: Seed of the first one.
        title: Title of the progress bar.
    """
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    for number in ProgressBar(range(images), desc=title, unit="img", disable=None):
        label = CLASSES[number % len(CLASSES)]
        scene = render_endface(label, seed=first_seed + number)
        path = folder / label / f"{number:04d}.jpg"
        path.write_bytes(_jpeg(scene.image))


def pack_boxed_endfaces(dst: Path, *, images: int, first_seed: int) -> Manifest:
    """Render end faces straight into shards, with label, mask and boxes."""
    with ShardWriter(dst, classes=CLASSES) as writer:
        for number in range(images):
            label = CLASSES[number % len(CLASSES)]
            scene = render_endface(label, seed=first_seed + number)
            writer.write(
                {
                    "__key__": f"endface-{number:04d}",
                    "image": _jpeg(scene.image),
                    "label": label,
                    "mask": scene.mask,
                    "bboxes": scene.bboxes,
                    "bbox_labels": scene.bbox_labels,
                }
            )
    return Manifest.read(dst)


def is_sideways(number: int) -> bool:
    """Return whether a cabinet is stored with EXIF orientation 6: one in three."""
    return number % 3 == 1


def pack_cabinets(dst: Path, *, cabinets: int, size: tuple[int, int]) -> Cabinets:
    """Render cabinets into shards; mask and boxes lie in the stored frame.

    Args:
        dst: Folder of the shards.
        cabinets: Number of cabinets.
        size: Upright height and width, px.
    """
    digests: dict[str, str] = {}
    stored: dict[str, bytes] = {}
    with ShardWriter(dst, classes=CABINET_CLASSES) as writer:
        jobs = [(number, size) for number in range(cabinets)]
        bar = ProgressBar(total=cabinets, desc="cabinets", unit="img", disable=None)
        with bar:
            for number, (sample, digest) in enumerate(_rendered(jobs)):
                writer.write(sample)
                digests[sample["__key__"]] = digest
                if is_sideways(number) and not stored:
                    stored[sample["__key__"]] = sample["image"]
                bar.update()
    return Cabinets(
        manifest=Manifest.read(dst),
        digests=digests,
        stored=stored,
        sideways=sum(map(is_sideways, range(cabinets))),
    )


def _rendered(
    jobs: list[tuple[int, tuple[int, int]]],
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield samples in the order of the jobs, rendered in two processes."""
    count = min(_PROCESSES, os.cpu_count() or 1, len(jobs))
    if count < 2:
        yield from map(_cabinet, jobs)
        return
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    # 0, not 1: to set 1, OpenCV waits for threads that a fork does not carry over.
    with ProcessPoolExecutor(
        count, mp_context=context, initializer=cv2.setNumThreads, initargs=(0,)
    ) as pool:
        yield from pool.map(_cabinet, jobs)


def _cabinet(job: tuple[int, tuple[int, int]]) -> tuple[dict[str, Any], str]:
    number, size = job
    scene = render_cabinet(seed=number, size=size)
    digest = digest_of(scene.mask, scene.bboxes)
    image, mask, boxes = scene.image, scene.mask, scene.bboxes
    if is_sideways(number):
        # A camera held upright stores what it saw turned a quarter to the left, and
        # says in the EXIF header that the viewer has to turn it back.
        width = np.float32(image.shape[1])
        x0, y0, x1, y1 = boxes.T
        boxes = np.stack([y0, width - x1, y1, width - x0], axis=1)
        image, mask = np.rot90(image), np.rot90(mask)
    sample = {
        "__key__": f"cabinet-{number:02d}",
        "image": _jpeg(image, orientation=6 if is_sideways(number) else 1),
        "mask": np.ascontiguousarray(mask),
        "bboxes": boxes,
        "bbox_labels": scene.bbox_labels,
        "json": {"width": image.shape[1], "height": image.shape[0]},
    }
    return sample, digest


def digest_of(mask: NDArray[Any], boxes: NDArray[Any]) -> str:
    """Return 16 hexadecimal digits that name a mask [H, W] and boxes [N, 4]."""
    named = blake2b(repr((mask.shape, boxes.shape)).encode(), digest_size=8)
    named.update(np.ascontiguousarray(mask, np.uint8).tobytes())
    named.update(np.ascontiguousarray(boxes, "<f4").tobytes())
    return named.hexdigest()


def _jpeg(image: NDArray[np.uint8], *, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    if orientation != 1:
        exif[_ORIENTATION] = orientation
    buffer = BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.save(buffer, "JPEG", quality=_QUALITY, exif=exif)
    return buffer.getvalue()
