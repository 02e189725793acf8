"""What the demo found, in the words and figures of its report."""

# ruff: noqa: RUF001  # the sign for times, as people write it

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from fiberaug.demo.charts import Chart, smoothed
from fiberaug.demo.drawing import CABINET_INK, ENDFACE_INK
from fiberaug.demo.gallery import Row
from fiberaug.demo.material import Cabinets
from fiberaug.demo.replayed import Replayed
from fiberaug.demo.report import Gallery, Report, Step, Tile
from fiberaug.demo.stopping import FIRST_WORKERS, NEXT_WORKERS, First, Second
from fiberaug.demo.train import BATCH

__all__ = ["Findings", "tell"]

_SAME_SAMPLES = (
    "The next {count} batches after the resume hold exactly the samples an unbroken run"
    " would have seen"
)
_PACKAGES = ("fiberaug", "torch", "albumentations", "numpy", "opencv-python-headless")


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What all steps left."""

    steps: Sequence[Step]
    total_s: float
    endfaces: Sequence[Row]
    cabinets: Sequence[Row]
    agreeing: int
    """Cabinets whose decoded labels are those that were rendered."""

    photos: Cabinets
    first: First
    second: Second
    replayed: Replayed


def tell(findings: Findings) -> Report:
    """Return the report."""
    second, replayed = findings.second, findings.replayed
    return Report(
        lead=(
            "Rendered fibre-optic photos were written to tar shards, augmented, and"
            " streamed into a training that was stopped in mid-epoch and resumed with"
            " another number of workers. One of its samples was made again from its"
            " record."
        ),
        tiles=_tiles(findings),
        steps=findings.steps,
        total_s=findings.total_s,
        galleries=[_endfaces(findings), _cabinets(findings)],
        training=_training(findings),
        charts=_charts(findings.first, second),
        resume_lead=_resume(findings.first),
        resume=[
            (_SAME_SAMPLES.format(count=second.compared), second.same_samples),
            (
                "Their augmented pixels are those of the unbroken run",
                second.same_pixels,
            ),
            (
                "The network read back from the checkpoint scores as before the stop",
                second.same_accuracy,
            ),
        ],
        replay_lead=(
            "A row of a training batch was kept. Its record was then read from the run"
            " folder's log, and fiberaug.replay made the sample again from the record"
            " and the run folder."
        ),
        replay=replayed.pictures,
        replay_operations=replayed.operations,
        identical=replayed.identical,
        pixels=replayed.pixels,
        files_lead=(
            "The state is all of the loader that a resume needs. The record is one line"
            " of the compressed log in the run folder."
        ),
        examples={
            "The loader's state when it was stopped": findings.first.state,
            "The record of the replayed sample": replayed.record.to_dict(),
        },
        versions=_versions(),
    )


def _tiles(findings: Findings) -> list[Tile]:
    first, second = findings.first, findings.second
    before, after = second.accuracies[0][1], second.accuracies[-1][1]
    return [
        Tile(
            what="Accuracy",
            value=f"{before.share:.0%} → {after.share:.0%}",
            note=f"of {after.images} validation images, before and after training",
        ),
        Tile(
            what="Resume",
            value="exact" if second.exact else "differs",
            note=f"after step {first.training.step}, {FIRST_WORKERS} workers then"
            f" {NEXT_WORKERS}",
        ),
        Tile(
            what="Replay",
            value="bit-equal" if findings.replayed.identical else "differs",
            note="one sample, from its record and the run folder",
        ),
        Tile(
            what="Time",
            value=f"{findings.total_s:.0f} s",
            note=f"for everything on this page, {os.cpu_count()} CPU cores",
        ),
    ]


def _endfaces(findings: Findings) -> Gallery:
    return Gallery(
        heading="End faces",
        lead=(
            "192 × 192 px; a click shows twice that size. Boxes and masks go through"
            " the same operations as the pixels. Under each picture stands what its"
            " record says was applied, in order. A turned box becomes the upright box"
            " around it and is larger than the defect; the mask turns pixel by pixel."
        ),
        ink=ENDFACE_INK,
        rows=findings.endfaces,
        close=True,
    )


def _cabinets(findings: Findings) -> Gallery:
    photos = findings.photos
    turned = (
        f" {photos.sideways} of {len(photos.digests)} were stored as a phone stores"
        " them: pixels lying on their side, with EXIF orientation 6, and masks and"
        " boxes in the same frame."
        if photos.sideways
        else ""
    )
    return Gallery(
        heading="Cabinets",
        lead=(
            "Photos at full size, shown reduced. A window of 70 % of the height and"
            f" width is cut out, reduced and augmented.{turned} Decoded masks and boxes"
            " that are exactly those rendered:"
            f" {findings.agreeing} of {len(photos.digests)}."
        ),
        ink=CABINET_INK,
        rows=findings.cabinets,
    )


def _training(findings: Findings) -> str:
    first, second = findings.first, findings.second
    classes = ", ".join(
        f"{name} {found.right} of {found.images}" for name, found in second.per_class
    )
    return (
        f"A network of {first.training.parameters:,} parameters learns to tell the four"
        f" kinds of end faces apart: {first.training.steps} steps of {BATCH} images at"
        f" 96 × 96 px, {first.per_epoch} steps an epoch. Right in the end: {classes}."
    )


def _resume(first: First) -> str:
    step, per_epoch = first.training.step, first.per_epoch
    epoch, batch = divmod(step, per_epoch)
    return (
        f"After {batch} of the {per_epoch} batches of epoch {epoch} (step {step}) the"
        f" network, the optimiser and the loader's state were saved"
        f" ({first.checkpoint_bytes / 1e3:.0f} kB), and the loader with its"
        f" {FIRST_WORKERS} workers was closed. A new loader with {NEXT_WORKERS} worker"
        " went on from the files. The batches it gave were held against a pass that"
        " began with the epoch and was never interrupted."
    )


def _charts(first: First, second: Second) -> list[Chart]:
    steps = first.training.steps
    mark = first.training.step, "stop and resume"
    raw = [(i + 1.0, loss) for i, loss in enumerate(second.losses)]
    mean = [(i + 1.0, loss) for i, loss in enumerate(smoothed(second.losses))]
    shares = [(float(step), found.share) for step, found in second.accuracies]
    return [
        Chart(
            title="Training loss (nats) and its moving average",
            steps=steps,
            top=2.0,
            ticks=[(value, f"{value:.1f}") for value in (0.0, 0.5, 1.0, 1.5, 2.0)],
            lines=[("thin", raw), ("bold", mean)],
            mark=mark,
        ),
        Chart(
            title="Accuracy on the validation set (%)",
            steps=steps,
            top=1.0,
            ticks=[(value / 100, f"{value}") for value in (0, 25, 50, 75, 100)],
            lines=[("dots", shares)],
            mark=mark,
        ),
    ]


def _versions() -> str:
    names = [f"{name} {version(name)}" for name in _PACKAGES]
    return " · ".join([*names, f"Python {platform.python_version()}"])
