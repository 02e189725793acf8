"""Samples made in a batch: pixels to bytes, hashes and what a classifier says.

This runs in worker processes. Nothing that is made depends on the other samples of the
batch, as long as the generator does not.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image
from fiberaug.errors import UsageError
from fiberaug.jobs.copies import fingerprint_of
from fiberaug.jobs.crew import check_wanted
from fiberaug.marking import mark
from fiberaug.synthetic.generator import ImageGenerator, call, sample_notes
from fiberaug.synthetic.held import Held, single_threaded
from fiberaug.synthetic.imagefile import encode_generated
from fiberaug.synthetic.made import MadeSample
from fiberaug.synthetic.seeds import sample_key, sample_seed
from fiberaug.synthetic.stamping import Stamp
from fiberaug.synthetic.truth import pixels_sha256

__all__ = ["Batch", "Classify", "Making", "make_batch", "peak_mib"]

Classify = Callable[[NDArray[np.uint8], NDArray[np.int64]], Any]
"""(images [N, H, W, C], labels [N]) -> confidence in each label [N], 0 to 1."""

_DIGITS = 4  # of a confidence: the rest is noise of the batch


@dataclass(frozen=True, kw_only=True)
class Making:
    """How samples are made; the same for all of a pool."""

    generator: Held[ImageGenerator]
    seed: int
    names: tuple[str, ...]
    """Class names by label; empty: labels are their own names."""

    encoding: str
    source_type: str
    stamp: Stamp
    """States where each comes from."""

    classify: Held[Classify] | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)
    forked: bool = False
    """Whether this runs in a worker process."""

    def name(self, label: int) -> str:
        """Return what stands for a label in seeds and keys."""
        return self.names[label] if self.names else str(label)


class Batch(NamedTuple):
    """Samples in the order in which they were asked for, and what they took."""

    samples: list[MadeSample]
    generate_s: float
    """Seconds in the generator."""

    work_s: float
    """Seconds in all."""

    peak_mib: int
    """Most memory of the process, and of its GPU where it has one."""


def make_batch(making: Making, wanted: Sequence[tuple[int, int]]) -> Batch:
    """Return some samples.

    Args:
        making: How.
        wanted: Label and number of each.

    Raises:
        UsageError: The generator or the classifier returned something else than they
            must.
    """
    check_wanted()
    if making.forked:
        single_threaded()
    began = time.perf_counter()
    seeds = [sample_seed(making.seed, making.name(c), i) for c, i in wanted]
    labels = [label for label, _ in wanted]
    generator = making.generator.get()
    called = time.perf_counter()
    pixels = call(generator, seeds, labels, **making.conditions)
    generate_s = time.perf_counter() - called
    notes = sample_notes(generator, seeds, labels, **making.conditions)
    trust = _confidences(making, pixels, labels)
    samples = []
    for i, (label, number) in enumerate(wanted):
        check_wanted()
        key = sample_key(making.name(label), number)
        extension, plain = encode_generated(pixels[i], making.encoding, key)
        image = mark(plain, making.source_type)
        exact = pixels[i]
        if making.encoding == "jpeg":
            exact = decode_image(image, limits=ImageLimits(), color="keep")[0]
        made = MadeSample(
            label=label, number=number, seed=seeds[i], shape=pixels[i].shape,
            extension=extension, image=image, pixels=pixels_sha256(exact),
            rgb=pixels_sha256(_rgb(exact)), looks=fingerprint_of(image),
            confidence=trust[i], text="", parts=(),
        )  # fmt: skip
        samples.append(making.stamp.put(made, key, notes[i]))
    return Batch(samples, generate_s, time.perf_counter() - began, peak_mib())


def peak_mib() -> int:
    """Return the most memory that this process, or its GPU, has used so far, MiB."""
    found = 0
    with suppress(ImportError):
        import resource  # noqa: PLC0415  # Linux and macOS alone have it

        found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        found = max(found, torch.cuda.max_memory_allocated() // 2**20)
    return found


def _rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels[:, :, :3]


def _confidences(
    making: Making, pixels: NDArray[np.uint8], labels: list[int]
) -> list[float] | list[None]:
    """Return what the user's classifier says of each sample.

    Raises:
        UsageError: It says something else.
    """
    if making.classify is None:
        return [None] * len(labels)
    said: Any = making.classify.get()(pixels, np.array(labels, np.int64))
    found = np.asarray(said, np.float64)
    if found.shape != (len(labels),) or not ((found >= 0) & (found <= 1)).all():
        low, high = (f(found) if found.size else None for f in (np.min, np.max))
        raise UsageError(
            f"filter must return the confidence in each of {len(labels)} labels, from 0"
            f" to 1, got shape {list(found.shape)} with values {low} to {high}"
        )
    return [round(one, _DIGITS) for one in found.tolist()]
