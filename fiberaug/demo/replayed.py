"""One row of a training batch, made again from its record alone."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fiberaug.demo.gallery import Picture, save
from fiberaug.demo.train import Kept
from fiberaug.demo.wording import operation_text
from fiberaug.errors import ReplayMismatch
from fiberaug.record import Record
from fiberaug.replaying import replay
from fiberaug.runlog import RecordLog

__all__ = ["Replayed", "replay_kept"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """A replay and what it was compared with."""

    record: Record
    """Read from the run folder's log."""

    pictures: tuple[Picture, ...]
    """The source, the row of the batch, and the replay."""

    operations: tuple[tuple[str, str], ...]
    """Name and drawn parameters of what was applied, in order."""

    identical: bool
    """Whether the two tensors agree in every bit."""

    pixels: int
    """Pixels that were compared."""


def replay_kept(kept: Kept, run: Path, endfaces: Path, folder: Path) -> Replayed:
    """Replay a kept row from the run folder, and compare.

    Args:
        kept: The row of the batch.
        run: The run folder.
        endfaces: The folder that was converted.
        folder: Where the pictures are written.

    Raises:
        ReplayMismatch: The log has no such record, or its replay draws something else.
    """
    place = kept.epoch, kept.position
    found = (r for r in RecordLog(run) if (r.epoch, r.position) == place)
    record = next(found, None)
    if record is None:
        raise ReplayMismatch(f"the log has no record of epoch, position {place}")
    image = replay(record, run)["image"]
    source = np.asarray(cv2.imread(str(endfaces / f"{record.key}.jpg")), np.uint8)
    shown = (
        (source[:, :, ::-1], "source", f"source: {record.key}"),
        (_visible(kept.image, record), "batch", "in the training batch"),
        (_visible(image, record), "replay", "replayed from the record"),
    )
    pictures = [
        save(folder, f"replay-{name}.png", pixels, caption)
        for pixels, name, caption in shown
    ]
    operations = tuple((t.name, operation_text(t)) for t in record.applied_transforms)
    height, width = image.shape[-2:]
    return Replayed(
        record=record,
        pictures=tuple(pictures),
        operations=operations,
        identical=torch.equal(image, kept.image),
        pixels=height * width,
    )


def _visible(image: torch.Tensor, record: Record) -> NDArray[np.uint8]:
    """Return a normalised image [3, H, W] as RGB, by the record's own Normalize."""
    params = record.applied_transforms[-1].params
    mean, deviation = (np.array(params[name], np.float32) for name in ("mean", "std"))
    pixels = image.permute(1, 2, 0).numpy() * deviation + mean
    return np.asarray(np.clip(np.round(pixels * 255.0), 0, 255), np.uint8)
