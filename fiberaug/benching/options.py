"""What is to be measured."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fiberaug.errors import UsageError
from fiberaug.machine import look

__all__ = ["BenchOptions", "check_device", "parse_workers", "usable_cpus"]

MOST_WORKERS = 1024


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """A set, a recipe, and how long to look at them."""

    shards: Any
    """As :class:`fiberaug.StreamingDataset` takes them."""

    recipe: Any = None
    """A recipe file or a transform. None: photos are decoded, and no more."""

    batch_size: int = 64
    """Rows of a batch, >= 1."""

    workers: tuple[int, ...] | None = None
    """Numbers of workers to try. None: 0, 1, 2, 4, ... up to the CPUs."""

    seconds: float = 5.0
    """Least length of each measurement, s, > 0."""

    fields: Mapping[str, str] | str = "auto"
    split: str = "all"
    decode: str = "exact"
    """``exact`` or ``fast``."""

    tile: int | tuple[int, int] | None = None
    index_dir: str | Path | None = None
    cache_dir: str | Path | None = None
    """Of remote shards."""

    device: str | None = None
    """Where batches are put, and batch operations run. None: cuda where there is one,
    else cpu; batches of recipes without such operations stay in memory."""

    placement: bool = False
    """Whether it is measured what of the recipe is better done to batches."""

    train_step_ms: float | None = None
    """How long a training step takes for a batch, ms, > 0. None: not known."""

    progress: bool = True
    """Whether a bar is shown on a terminal."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            UsageError: One is out of range.
        """
        if self.batch_size < 1:
            raise UsageError(f"batch_size must be >= 1, got {self.batch_size}")
        for name in ("seconds", "train_step_ms"):
            value = getattr(self, name)
            if value is not None and not (0 < value < math.inf):
                raise UsageError(f"{name} must be > 0, got {value}")
        tried = self.workers
        if tried is not None and (not tried or min(tried) < 0):
            raise UsageError(f"workers must be numbers >= 0, got {tried}")
        if tried is not None and max(tried) > MOST_WORKERS:
            raise UsageError(
                f"at most {MOST_WORKERS} workers are tried, got {max(tried)}"
            )
        if self.device is not None:
            check_device(self.device)

    @property
    def tried(self) -> tuple[int, ...]:
        """The numbers of workers to try, in ascending order, each once."""
        if self.workers is not None:
            return tuple(sorted(set(self.workers)))
        cpus = usable_cpus()
        powers = [2**i for i in range(cpus.bit_length()) if 2**i <= cpus]
        return tuple(sorted({0, *powers, cpus}))


def usable_cpus() -> int:
    """Return the whole CPUs that this process may use, at least 1."""
    return max(1, int(look().cpus))


def check_device(name: str) -> None:
    """Check that tensors can be put on a device.

    Raises:
        UsageError: There is no such device here.
    """
    try:
        kind = torch.device(name).type
    except RuntimeError:
        kind = ""
    if kind == "cpu" or (kind == "cuda" and torch.cuda.is_available()):
        return
    there = "cpu or cuda" if torch.cuda.is_available() else "cpu alone: no GPU is here"
    raise UsageError(f"device is {there}, got {name!r:.60}")


def parse_workers(text: str) -> tuple[int, ...] | None:
    """Return the numbers of workers that the user named; None: ``auto``.

    >>> parse_workers("0,1,4"), parse_workers("2"), parse_workers("auto")
    ((0, 1, 4), (2,), None)

    Raises:
        UsageError: The text is neither.
    """
    if text.strip().lower() == "auto":
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdecimal() and len(word) < 7 for word in words):
        raise UsageError(
            f"--workers is auto, a number or numbers such as 0,1,2,4, got {text!r:.60}"
        )
    return tuple(map(int, words))
