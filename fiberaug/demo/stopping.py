"""A training that is stopped in mid-epoch and resumed by another loader."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fiberaug.demo.train import (
    Accuracy,
    Training,
    make_loader,
    planned_steps,
    read_validation,
    unbroken,
)

__all__ = [
    "COMPARED",
    "FIRST_WORKERS",
    "NEXT_WORKERS",
    "First",
    "Second",
    "begin",
    "go_on",
]

FIRST_WORKERS, NEXT_WORKERS = 2, 1
COMPARED = 5
"""Batches after the resume that are held against an unbroken pass."""


@dataclass(frozen=True, kw_only=True, slots=True)
class First:
    """What is left of a training when its process has gone."""

    training: Training
    classes: tuple[str, ...]
    per_epoch: int
    """Batches of an epoch."""

    state: dict[str, Any]
    """The loader's state."""

    images_per_s: float
    checkpoint_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Second:
    """The rest of the training."""

    losses: list[float]
    """Loss of every step, of both parts."""

    accuracies: list[tuple[int, Accuracy]]
    """Step and accuracy on the validation set, of both parts."""

    per_class: list[tuple[str, Accuracy]]
    compared: int
    """Batches that were held against an unbroken pass."""

    same_samples: bool
    same_pixels: bool
    same_accuracy: bool
    """Whether the loaded network answers the validation set as the saved one did."""

    images_per_s: float

    @property
    def exact(self) -> bool:
        """Whether the resumed run saw what an unbroken one sees."""
        return self.same_samples and self.same_pixels


def begin(folder: Path, run: Path, *, train_s: float) -> First:
    """Train up to the middle of an epoch, save, and close the loader.

    Args:
        folder: Folder of the shards ``endfaces`` and ``endfaces-val``.
        run: The run folder, for the log and the checkpoint.
        train_s: Seconds that the whole training may take.
    """
    validation, classes = read_validation(folder / "endfaces-val")
    with make_loader(folder / "endfaces", workers=FIRST_WORKERS, log=run) as loader:
        steps, stop = planned_steps(train_s, len(loader))
        training = Training(validation, classes=len(classes), steps=steps)
        training.evaluate()
        training.run(loader, until=stop)
        state, speed = loader.state_dict(), loader.stats()["images_per_s"]
    training.evaluate()
    paths = training.save(run, state)
    return First(
        training=training,
        classes=classes,
        per_epoch=len(loader),
        state=state,
        images_per_s=speed,
        checkpoint_bytes=sum(path.stat().st_size for path in paths),
    )


def go_on(first: First, folder: Path, run: Path) -> Second:
    """Resume from the files with another network object and fewer workers.

    Args:
        first: What to go on with; only compared with, the weights come from the files.
        folder: Folder of the shards.
        run: The run folder.
    """
    old = first.training
    validation, classes = read_validation(folder / "endfaces-val")
    training = Training(validation, classes=len(classes), steps=old.steps, seed=1)
    state = training.load(run)
    again = training.evaluate()
    with make_loader(folder / "endfaces", workers=NEXT_WORKERS, log=run) as loader:
        loader.load_state_dict(state)
        seen = training.run(loader, until=training.steps, keep=COMPARED)
        speed = loader.stats()["images_per_s"]
    epoch, skip = divmod(old.step, first.per_epoch)
    expected = unbroken(folder / "endfaces", epoch=epoch, skip=skip, count=len(seen))
    pairs = list(zip(seen, expected, strict=True))
    return Second(
        losses=old.losses + training.losses,
        accuracies=old.accuracies + training.accuracies[1:],
        per_class=training.per_class(classes),
        compared=len(pairs),
        same_samples=all(a["__key__"] == b["__key__"] for a, b in pairs),
        same_pixels=all(torch.equal(a["image"], b["image"]) for a, b in pairs),
        same_accuracy=again == old.accuracies[-1][1],
        images_per_s=speed,
    )
