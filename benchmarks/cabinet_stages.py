"""The stages of ``cabinets.py``, each in a process of its own: STAGE PLAN FIGURES."""

import csv
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

from cabinet_photos import STATES, render_all

import fiberaug

__all__ = ["STAGES", "Plan"]

_SHARES = "train=0.8,test=0.2"
_GIVEN = 0.85  # of the cap, to a trainer that plans its memory: prediction errs


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What all stages are told."""

    work: str
    """Folder of all that is made."""

    photos: int
    """Photos to render, >= 12."""

    scenes: int
    """Cabinets, of which some are photographed several times; a multiple of 3."""

    photo_size: tuple[int, int]
    """Their height and width, px."""

    size: tuple[int, int]
    """Height and width of a window as the networks see it, px."""

    images: int
    """Images that the critic is shown."""

    per_class: int
    """Samples of each class of the pool."""

    classifier_images: int
    """Images that the classifier is shown."""

    memory: int
    """Bytes that a stage may hold."""

    batch_size: int = 16
    """Of the GAN."""

    width: int = 32
    """Of generator and critic, channels at the full size."""

    judge: bool = True
    """Whether the generator is judged while it is trained, and the best one kept."""

    workers: int = 2
    """Processes beside the main one."""

    seed: int = 0
    """Of all that is drawn."""

    def folder(self, name: str) -> Path:
        """Return the folder of what a stage makes."""
        return Path(self.work) / name


def render(plan: Plan) -> dict[str, Any]:
    """Render the photos that are not there."""
    sizes = list(
        render_all(
            plan.folder("photos"), plan.photos, size=plan.photo_size,
            processes=plan.workers, scenes=plan.scenes,
        )
    )  # fmt: skip
    return {"photos": len(sizes), "bytes": sum(sizes)}


def convert(plan: Plan) -> dict[str, Any]:
    """Write the photos as shards, byte for byte but for restart markers."""
    manifest = fiberaug.convert(
        plan.folder("photos"), plan.folder("shards"), split=_SHARES, stratify=True,
        encode="keep", seekable=True, workers=plan.workers, seed=plan.seed,
        progress=False,
    )  # fmt: skip
    return {"samples": manifest.samples, "shards": len(manifest.shards)}


def train(plan: Plan) -> dict[str, Any]:
    """Train a GAN on windows of the photos; it goes on where it was ended."""
    # Imported here, so that what a stage needs in memory is its own.
    from fiberaug.models import Critic, Generator  # noqa: PLC0415  # see above
    from fiberaug.training import GANTrainer  # noqa: PLC0415  # see above

    classes = len(STATES)
    networks = (
        Generator(plan.size, classes=classes, width=plan.width, places=True),
        Critic(plan.size, classes=classes, width=plan.width, places=True),
    )
    data = fiberaug.StreamingDataset(plan.folder("shards"), split="train")
    trainer = GANTrainer(
        *networks, data, memory=int(_GIVEN * plan.memory), out=plan.folder("gan"),
        batch_size=plan.batch_size, num_workers=plan.workers, seed=plan.seed,
        judge=plan.judge, progress=False,
    )  # fmt: skip
    planned = trainer.plan(plan.images, probe=False)
    trainer.train(images=plan.images)
    return {"planned": planned.to_dict(), **_last_rows(plan.folder("gan"))}


def _last_rows(folder: Path) -> dict[str, Any]:
    """Return the last figures of a training: of its steps, and of its judge."""
    found: dict[str, Any] = {}
    for name in ("loss", "judge"):
        path = folder / f"{name}.csv"
        if path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            found[name] = rows[-1] if rows else {}
    return found


def pool(plan: Plan) -> dict[str, Any]:
    """Sample the generator."""
    from fiberaug.training.loop import BEST, LAST  # noqa: PLC0415  # see train

    folders = [plan.folder("gan") / name for name in (BEST, LAST)]
    generator = fiberaug.load(next(folder for folder in folders if folder.exists()))
    made = fiberaug.Pool.write(
        generator, plan.folder("pool"), per_class=plan.per_class, seed=plan.seed,
        encoding="jpeg", progress=False,
    )  # fmt: skip
    return {"samples": len(made), "size": made.size, "counts": made.counts}


def classify(plan: Plan) -> dict[str, Any]:
    """Train a small classifier on windows with one in four from the pool."""
    from cabinet_classifier import train_classifier  # noqa: PLC0415  # see train

    return train_classifier(
        plan.folder("shards"), plan.folder("pool"), classes=len(STATES),
        size=plan.size, images=plan.classifier_images,
        batch_size=min(32, plan.photos // 2), workers=plan.workers, seed=plan.seed,
    )  # fmt: skip


STAGES: dict[str, Callable[[Plan], dict[str, Any]]] = {
    "render": render,
    "convert": convert,
    "train": train,
    "pool": pool,
    "classify": classify,
}


def main() -> None:
    """Run a stage and write its figures."""
    stage, told, figures = sys.argv[1:]
    values = json.loads(Path(told).read_text(encoding="utf-8"))
    sides = {name: tuple(values[name]) for name in ("photo_size", "size")}
    found = STAGES[stage](Plan(**values | sides))
    Path(figures).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
