"""A generator looked at before it makes a pool: what it is, and whether it keeps still.

A generator should make the same image from the same seed whatever else is in the batch.
Networks mostly do so only up to rounding.
"""

import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from fiberaug.jobs.crew import run_jobs
from fiberaug.synthetic.asking import Round
from fiberaug.synthetic.generator import (
    ImageGenerator,
    call,
    class_names,
    describe,
    source_type,
)
from fiberaug.synthetic.held import Held
from fiberaug.synthetic.making import peak_mib
from fiberaug.synthetic.options import PoolOptions
from fiberaug.synthetic.seeds import sample_seed
from fiberaug.synthetic.truth import pixels_sha256

__all__ = ["Study", "study"]

_COMPARED = 4  # samples that are made alone and in one batch


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a generator is."""

    description: dict[str, Any]
    names: tuple[str, ...]
    source_type: str
    probe: str
    """Hash of the pixels of the first sample that is asked for, made alone."""

    batch: dict[str, Any] | None
    """``compared`` samples, ``differing`` ones and by how many levels at ``most``."""

    seconds: float
    calls: int
    peak_mib: int


def study(
    held: Held[ImageGenerator], options: PoolOptions, *, away: bool, quick: bool
) -> Study:
    """Return what a generator is.

    Args:
        held: The generator.
        options: What is asked of it.
        away: In a process of its own, so that this one does not make the generator.
        quick: Leave out the comparison of batches.

    Raises:
        UsageError: It cannot make what is asked for.
    """
    told = Held[PoolOptions](options, factory=False)
    compared = 1 if quick else _COMPARED
    jobs = [(held, told, compared)]
    try:
        with closing(run_jobs(_study, jobs, workers=2 if away else 1)) as results:
            return next(results)
    finally:
        told.release()


def _study(held: Held[ImageGenerator], told: Held[PoolOptions], compared: int) -> Study:
    generator, options = held.get(), told.get()
    names = class_names(generator)
    asked = options.asked(names)
    first = Round.after(asked, {}, {}).candidates()[:compared]
    seeds = [
        sample_seed(options.seed, asked.name(lab), number) for lab, number in first
    ]
    labels = [label for label, _ in first]
    began = time.perf_counter()
    alone = [
        call(generator, [seed], [label], **options.conditions)[0]
        for seed, label in zip(seeds, labels, strict=True)
    ]
    batch = None
    if len(seeds) > 1:
        together = call(generator, seeds, labels, **options.conditions)
        apart = [_levels(a, b) for a, b in zip(alone, together, strict=True)]
        batch = {
            "compared": len(apart), "differing": sum(one > 0 for one in apart),
            "most": max(apart),
        }  # fmt: skip
    seconds = time.perf_counter() - began
    return Study(
        description=describe(generator), names=names,
        source_type=source_type(generator), probe=pixels_sha256(alone[0]), batch=batch,
        seconds=seconds, calls=len(alone) + (batch is not None),
        peak_mib=peak_mib(),
    )  # fmt: skip


def _levels(a: Any, b: Any) -> int:  # noqa: ANN401  # arrays
    if a.shape != b.shape:
        return 255
    return int(np.abs(a.astype(np.int16) - b.astype(np.int16)).max())
