"""The whole path on rendered data: shards, batches, a stop, a resume, a replay."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fiberaug.demo.endface import CLASSES
from fiberaug.demo.gallery import show_cabinets, show_endfaces
from fiberaug.demo.material import (
    pack_boxed_endfaces,
    pack_cabinets,
    write_endfaces,
)
from fiberaug.demo.replayed import replay_kept
from fiberaug.demo.report import Step
from fiberaug.demo.stopping import FIRST_WORKERS, NEXT_WORKERS, begin, go_on
from fiberaug.demo.telling import Findings, tell
from fiberaug.demo.wording import size_text
from fiberaug.errors import StoreError, UsageError
from fiberaug.files import write_atomically
from fiberaug.jobs.conversion import convert
from fiberaug.shards.manifest import Manifest

__all__ = ["run_demo"]

_MARK = ".fiberaug-demo.json"
_MADE = ("endfaces", "endfaces-val", "shards", "runs", "report", "report.html")
_LEAST_IMAGES = 20
_BOXED = 64
_VALIDATION_SEED, _BOXED_SEED = 1_000_000, 2_000_000
_SHARD_SIZE = "2MB"


class _Clock:
    """Times steps and tells each in one line."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.steps: list[Step] = []

    @contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """Yield a list for the figures of a step."""
        started = time.perf_counter()
        figures: list[str] = []
        yield figures
        seconds = time.perf_counter() - started
        text = "; ".join(figures)
        self.steps.append(Step(title=title, figures=text, seconds=seconds))
        self._say(f"{len(self.steps)}. {title}: {text} ({seconds:.1f} s)")


def run_demo(
    folder: Path,
    *,
    images: int = 600,
    cabinets: int = 12,
    train_s: float = 60,
    say: Callable[[str], None],
    cabinet_size: tuple[int, int] = (3024, 4032),
) -> Path:
    """Run the demo in a folder and return the path of its report.

    Everything but the times is the same in every run.

    Args:
        folder: Where everything is written; what an earlier demo made is replaced.
        images: End faces to train on, at least 20; a fifth as many are added for
            validation.
        cabinets: Cabinet photos, at least 1.
        train_s: Seconds of training on two cores, above 0. They become a number of
            steps, so another machine takes another time.
        say: Called with a line for each step.
        cabinet_size: Height and width of a cabinet photo, px.

    Raises:
        UsageError: An argument is out of range, or the folder holds things under the
            names that the demo uses which no demo made.
        StoreError: The folder cannot be written.
    """
    if images < _LEAST_IMAGES:
        raise UsageError(f"images must be >= {_LEAST_IMAGES}, got {images}")
    if cabinets < 1:
        raise UsageError(f"cabinets must be >= 1, got {cabinets}")
    if not train_s > 0:
        raise UsageError(f"train_s must be > 0, got {train_s}")
    started = time.perf_counter()
    _clear(folder)
    shards, run, pictures = folder / "shards", folder / "runs" / "1", folder / "report"
    pictures.mkdir(parents=True)
    clock = _Clock(say)
    upright = size_text(cabinet_size)

    with clock.step("Render end faces") as figures:
        held_out = images // 5
        write_endfaces(
            folder / "endfaces", images=images, first_seed=0, title="end faces"
        )
        write_endfaces(
            folder / "endfaces-val", images=held_out, first_seed=_VALIDATION_SEED,
            title="validation",
        )  # fmt: skip
        figures.append(
            f"{images} to train on, {held_out} to validate; {len(CLASSES)} classes"
        )
    with clock.step("Convert to shards") as figures:
        for name in ("endfaces", "endfaces-val"):
            made = convert(folder / name, shards / name, shard_size=_SHARD_SIZE)
            figures.append(f"{name}: {_size(made)}")
        boxed = pack_boxed_endfaces(
            shards / "endfaces-boxes", images=_BOXED, first_seed=_BOXED_SEED
        )
        figures.append(f"with boxes and masks: {_size(boxed)}")
    with clock.step("Render cabinets to shards") as figures:
        photos = pack_cabinets(
            shards / "cabinets", cabinets=cabinets, size=cabinet_size
        )
        figures.append(f"{_size(photos.manifest)}; {upright}")
        figures.append(f"{photos.sideways} stored sideways, EXIF orientation 6")
    with clock.step("Augment end faces") as figures:
        endface_rows, augmented = show_endfaces(shards / "endfaces-boxes", pictures)
        figures.append(f"{augmented} images with boxes and masks")
    with clock.step("Augment cabinets") as figures:
        cabinet_rows, agreeing = show_cabinets(
            shards / "cabinets", photos, pictures, size=cabinet_size
        )
        figures.append(f"2 epochs of {cabinets} photos, {upright}")
        figures.append(f"upright labels as rendered: {agreeing} of {cabinets}")
    with clock.step("Train") as figures:
        first = begin(shards, run, train_s=train_s)
        figures.append(f"{first.training.step} of {first.training.steps} steps")
        figures.append(
            f"{FIRST_WORKERS} workers, {first.images_per_s:.0f} images/s; then stopped"
        )
    with clock.step("Resume and train on") as figures:
        second = go_on(first, shards, run)
        figures.append(f"{first.training.steps - first.training.step} steps")
        figures.append(f"{NEXT_WORKERS} worker, {second.images_per_s:.0f} images/s")
        figures.append(f"as an unbroken run: {'yes' if second.exact else 'no'}")
        figures.append(f"accuracy {second.accuracies[-1][1]}")
    with clock.step("Replay a sample") as figures:
        replayed = replay_kept(first.training.kept, run, folder / "endfaces", pictures)
        answer = "yes" if replayed.identical else "no"
        figures.append(f"identical: {answer}, {replayed.pixels:,} pixels")
    report = tell(
        Findings(
            steps=clock.steps,
            total_s=time.perf_counter() - started,
            endfaces=endface_rows,
            cabinets=cabinet_rows,
            agreeing=agreeing,
            photos=photos,
            first=first,
            second=second,
            replayed=replayed,
        )
    )
    write_atomically(folder / "report.html", report.to_html().encode())
    return folder / "report.html"


def _size(made: Manifest) -> str:
    megabytes = sum(shard.bytes for shard in made.shards) / 1e6
    count = len(made.shards)
    return f"{made.samples} in {count} shard{'s' * (count > 1)}, {megabytes:.1f} MB"


def _clear(folder: Path) -> None:
    """Remove what an earlier demo made; refuse to touch anything else."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        present = [folder / name for name in _MADE if (folder / name).exists()]
        if present and not (folder / _MARK).exists():
            raise UsageError(
                f"{folder} holds {present[0].name}, which no demo made; choose another"
                " folder"
            )
        for path in present:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    except OSError as error:
        raise StoreError(f"cannot clear {folder}: {error.strerror}") from error
    write_atomically(folder / _MARK, json.dumps({"made": _MADE}).encode())
