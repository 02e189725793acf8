"""Originals beside what was made of them, with labels and what the record says."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.bars import ProgressBar
from fiberaug.dataset import StreamingDataset
from fiberaug.demo.drawing import CABINET_INK, ENDFACE_INK, Ink, annotate
from fiberaug.demo.endface import CLASSES
from fiberaug.demo.material import Cabinets, digest_of
from fiberaug.demo.pipelines import (
    CABINET_PX,
    cabinet_pipeline,
    endface_pipeline,
)
from fiberaug.demo.wording import operation_text
from fiberaug.loader import DataLoader
from fiberaug.record import Record

__all__ = ["Picture", "Row", "save", "show_cabinets", "show_endfaces"]

_ENDFACE_PX = 384
_SHOWN_CABINETS = 3
_VERSIONS = 2
_SEED = 11


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A picture of the report."""

    file: str
    """Path relative to the report."""

    width: int
    height: int

    caption: str

    operations: tuple[tuple[str, str], ...] = ()
    """Name and drawn parameters of what was applied, in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """An original and its augmented versions."""

    title: str
    pictures: tuple[Picture, ...]


def save(folder: Path, name: str, pixels: NDArray[np.uint8], caption: str) -> Picture:
    """Write a picture beside the report: JPEG where ``name`` says so, else PNG."""
    data = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, 88] if name.endswith(".jpg") else []
    _, encoded = cv2.imencode(Path(name).suffix, data, options)
    (folder / name).write_bytes(encoded.tobytes())
    height, width = pixels.shape[:2]
    return Picture(
        file=f"{folder.name}/{name}", width=width, height=height, caption=caption
    )


def _names(dataset: StreamingDataset, sample: Any) -> list[str]:  # noqa: ANN401
    return [dataset.classes[i] for i in sample["bbox_labels"][0].tolist()]


def _draw(
    dataset: StreamingDataset, batch: dict[str, Any], ink: Ink, width: int
) -> NDArray[np.uint8]:
    """Return the only row of a batch, drawn."""
    image = batch["image"][0].permute(1, 2, 0).contiguous().numpy()
    height = round(width * image.shape[0] / image.shape[1])
    return annotate(
        image,
        ink,
        size=(width, height),
        mask=batch["mask"][0].numpy(),
        boxes=batch["bboxes"][0].numpy(),
        names=_names(dataset, batch),
    )


def _operations(record: Record) -> tuple[tuple[str, str], ...]:
    return tuple((t.name, operation_text(t)) for t in record.applied_transforms)


def _augmented(
    dataset: StreamingDataset, keys: Sequence[str], workers: int, title: str
) -> list[tuple[str, dict[str, Any]]]:
    """Return (key, batch of one) of samples with these keys, from several epochs."""
    found = []
    total = _VERSIONS * dataset.num_samples
    bar = ProgressBar(total=total, desc=title, unit="img", disable=None)
    loader = DataLoader(dataset, batch_size=1, num_workers=workers, targets="list")
    with bar, loader:
        for _ in range(_VERSIONS):
            for batch in loader:
                bar.update()
                if batch["__key__"][0] in keys:
                    found.append((batch["__key__"][0], batch))
    return found


def _versions(
    dataset: StreamingDataset, found: list[dict[str, Any]], ink: Ink, stem: str,
    folder: Path, width: int,
) -> list[Picture]:  # fmt: skip
    pictures = []
    for batch in found:
        record = batch["record"][0]
        drawn = _draw(dataset, batch, ink, width)
        caption = f"augmented, epoch {record.epoch}, position {record.position}"
        picture = save(folder, f"{stem}-{record.epoch}.jpg", drawn, caption)
        pictures.append(
            Picture(
                file=picture.file, width=picture.width, height=picture.height,
                caption=caption, operations=_operations(record),
            )
        )  # fmt: skip
    return pictures


def show_endfaces(shards: Path, folder: Path) -> tuple[list[Row], int]:
    """Return a row for each class, and the number of samples that were augmented."""
    plain = StreamingDataset(shards, train=False)
    originals: dict[str, dict[str, Any]] = {}
    with DataLoader(plain, batch_size=1, targets="list") as loader:
        for batch in loader:
            originals.setdefault(plain.classes[int(batch["label"][0])], batch)
            if len(originals) == len(CLASSES):
                break
    keys = {name: batch["__key__"][0] for name, batch in originals.items()}
    dataset = StreamingDataset(shards, transform=endface_pipeline(), seed=_SEED)
    made = _augmented(dataset, list(keys.values()), 0, "augment end faces")
    rows = []
    for name, batch in originals.items():
        drawn = _draw(plain, batch, ENDFACE_INK, _ENDFACE_PX)
        pictures = [save(folder, f"endface-{name}.jpg", drawn, "original")]
        found = [other for key, other in made if key == keys[name]]
        pictures += _versions(
            dataset, found, ENDFACE_INK, f"endface-{name}", folder, _ENDFACE_PX
        )
        rows.append(Row(title=f"{name} · {keys[name]}", pictures=tuple(pictures)))
    return rows, _VERSIONS * dataset.num_samples


def show_cabinets(
    shards: Path, cabinets: Cabinets, folder: Path, *, size: tuple[int, int]
) -> tuple[list[Row], int]:
    """Return rows of the first cabinets, and how many decoded labels are as rendered.

    Args:
        shards: The shards.
        cabinets: What was stored.
        folder: Where the pictures are written.
        size: Upright height and width of a cabinet, px.
    """
    plain = StreamingDataset(shards, train=False)
    first: dict[str, list[Picture]] = {}
    titles: dict[str, str] = {}
    agreeing = 0
    with DataLoader(plain, batch_size=1, targets="list") as loader:
        for batch in loader:
            key, record = batch["__key__"][0], batch["record"][0]
            labels = batch["mask"][0].numpy(), batch["bboxes"][0].numpy()
            agreeing += digest_of(*labels) == cabinets.digests[key]
            if len(first) == _SHOWN_CABINETS:
                continue
            drawn = _draw(plain, batch, CABINET_INK, min(CABINET_PX, size[1]))
            turned = record.decode["orientation"] != 1
            caption = "original, turned upright" if turned else "original"
            first[key] = [save(folder, f"{key}.jpg", drawn, caption)]
            if key in cabinets.stored:
                first[key].insert(0, _as_stored(cabinets.stored[key], folder, key))
            titles[key] = f"{key} · {len(labels[1])} boxes" + (
                f" · EXIF orientation {record.decode['orientation']}" if turned else ""
            )
    dataset = StreamingDataset(shards, transform=cabinet_pipeline(size), seed=_SEED)
    made = _augmented(dataset, list(first), 2, "augment cabinets")
    rows = []
    for key, pictures in first.items():
        found = [batch for other, batch in made if other == key]
        width = int(found[0]["image"][0].shape[-1])
        made_of_it = _versions(dataset, found, CABINET_INK, key, folder, width)
        rows.append(Row(title=titles[key], pictures=(*pictures, *made_of_it)))
    return rows, agreeing


def _as_stored(jpeg: bytes, folder: Path, key: str) -> Picture:
    data = np.frombuffer(jpeg, np.uint8)
    how = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = np.asarray(cv2.imdecode(data, how), np.uint8)[:, :, ::-1]
    scale = min(1.0, CABINET_PX / pixels.shape[0])
    small = cv2.resize(
        np.ascontiguousarray(pixels),
        None,
        fx=scale,
        fy=scale,
        interpolation=cv2.INTER_AREA,
    )
    return save(
        folder,
        f"{key}-stored.jpg",
        np.asarray(small, np.uint8),
        "as stored, on its side",
    )
