"""A user's present loader against a set: every question, asked in turn."""

import gc
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fiberaug.checkup.epoch import Run
from fiberaug.checkup.findings import Finding, problem
from fiberaug.dataset import StreamingDataset
from fiberaug.errors import FiberAugError
from fiberaug.loader import DataLoader
from fiberaug.machine import check_cuda
from fiberaug.parity.forms import Form, check_forms, check_speed
from fiberaug.parity.identity import Identity
from fiberaug.parity.matching import Line
from fiberaug.parity.ours import Ours
from fiberaug.parity.pixels import Pixels
from fiberaug.parity.rows import batch_rows
from fiberaug.parity.theirs import Theirs

__all__ = ["Subject", "compare"]

_PICTURES = 128  # that are compared; chosen by a hash of the key, all over the set


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The set and the run that a loader is compared with."""

    shards: Any
    """As :class:`fiberaug.StreamingDataset` takes them."""

    index_dir: str | Path | None = None
    """Folder of the side-cars. None: beside the shards."""

    recipe: str | Path | None = None
    """Recipe of ours: for the normalisation, the form of batches and the speed."""

    run: Run = field(default_factory=Run)
    """Rows of a batch and workers of ours, where theirs does not say."""


def compare(
    subject: Subject, against: str, *, batches: int = 20, turns: int = 3
) -> list[Finding]:
    """Return how a user's loader differs from the set, and how fast both are.

    One whole pass of theirs is read for keys, labels and pixels.

    Args:
        subject: The set and the run.
        against: ``module:function``; what it returns is told in docs/doctor.md.
        batches: Batches of each timed turn.
        turns: Timed turns of each loader, alternating.

    Raises:
        UsageError: There is no such function, it returns no loader, or the recipe is
            refused.
        DataRefused: The set cannot be opened.
    """
    theirs = Theirs(against)
    ours = Ours(subject.shards, index_dir=subject.index_dir)
    dataset = StreamingDataset(
        subject.shards, index_dir=subject.index_dir, transform=subject.recipe, rank=0,
        world_size=1, split="all",
    )  # fmt: skip
    findings: list[Finding] = []
    try:
        findings += _content(theirs, ours, _normalize(dataset))
        findings += _batches(theirs, dataset, subject, batches, turns)
    except FiberAugError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever the user's loader raises is a finding
        text = f"it raised {type(error).__name__}: {error}"
        findings.append(problem("loader", text, "run the function by itself"))
    return [finding._replace(topic=f"their {finding.topic}") for finding in findings]


def _content(theirs: Theirs, ours: Ours, normalize: Line | None) -> Iterator[Finding]:
    found = theirs(augment=False)
    identity = Identity(ours, _class_names(found.dataset, ours))
    pixels = Pixels(normalize)
    every = max(1, len(ours) // _PICTURES)
    largest = 0
    for batch in found.batches:
        rows = batch_rows(batch, lambda text: ours.find(text) is not None)
        largest = max(largest, len(rows))
        for row in rows:
            key = identity.add(row)
            if key is None or row.image is None:
                continue
            if zlib.crc32(key.encode()) % every == 0:
                pixels.add(key, ours.image(key), row.image)
    del found
    gc.collect()  # torch ends its workers when the iterator goes
    yield from identity.report(batch_rows=largest)
    yield from pixels.report(plain=theirs.plain)


def _class_names(dataset: object, ours: Ours) -> dict[str, int]:
    names = {name: i for i, name in enumerate(ours.classes)}
    theirs = getattr(dataset, "class_to_idx", None)
    return names or (dict(theirs) if isinstance(theirs, Mapping) else {})


def _normalize(dataset: StreamingDataset) -> Line | None:
    """Return (mean, std) of images in [0, 1] where the recipe ends with Normalize."""
    for step in dataset.context(0).constant:
        params = step["params"]
        unit = float(params["max_pixel_value"]) / 255
        mean, std = (np.atleast_1d(params[name]) * unit for name in ("mean", "std"))
        return tuple(mean.tolist()), tuple(std.tolist())
    return None


def _batches(
    theirs: Theirs,
    dataset: StreamingDataset,
    subject: Subject,
    batches: int,
    turns: int,
) -> Iterator[Finding]:
    first = theirs(augment=True)
    size = getattr(first.batches, "batch_size", None)
    workers = first.workers
    del first
    run = subject.run
    options: dict[str, Any] = {
        "batch_size": size if isinstance(size, int) and size > 0 else run.batch_size,
        "num_workers": run.workers if workers is None else workers,
    }
    if options["num_workers"] and (cuda := check_cuda()) is not None:
        text, _, remedy = cuda.partition("; ")
        yield problem("cuda", f"{text} (after theirs was imported)", remedy)
        options["multiprocessing_context"] = "forkserver"
    with DataLoader(dataset, collate="list", **options) as loader:
        uniform = len(Form.of(loader).sizes) == 1
    options["collate"] = "stack" if uniform else "list"
    with DataLoader(dataset, **options) as loader:
        yield from check_forms(theirs, loader)
        yield from check_speed(
            theirs, loader, batches=batches, turns=turns,
            same_work=subject.recipe is not None,
        )  # fmt: skip
