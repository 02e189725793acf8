"""How a folder is augmented, and what came of it."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fiberaug.errors import UsageError
from fiberaug.foldering.operations import Operation
from fiberaug.foldering.photos import Photos
from fiberaug.foldering.pictures import ENCODINGS
from fiberaug.seeding import check_seed

__all__ = ["Job", "Summary"]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What an augmentation wrote."""

    place: str
    """The folder."""

    photos: int
    """Photos of the source."""

    pictures: int
    """Pictures that were written."""

    left_out: int
    """Copies that could not be made; ``augment_errors.jsonl`` lists them."""

    operations: tuple[str, ...] = ()
    """Folders of single operations, with ``each``."""

    told: tuple[str, ...] = ()
    """What the format of the source cannot hold, and the like."""

    known: bool = False
    """All of it had been written before."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Job:
    """How a folder is augmented; checked when it is made."""

    src: Path
    copies: int
    seed: int
    encode: str
    quality: int
    workers: int | None
    on_error: str
    processors: str | None
    cache_dir: str | Path | None
    progress: bool

    def __post_init__(self) -> None:
        """Check the arguments.

        Raises:
            UsageError: One is out of range.
        """
        if self.copies < 1:
            raise UsageError(f"copies must be >= 1, got {self.copies}")
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"workers must be >= 1, got {self.workers}")
        if self.encode not in {"keep", *ENCODINGS}:
            raise UsageError(
                f"encode must be keep, {', '.join(ENCODINGS)}, got {self.encode!r}"
            )
        if not 1 <= self.quality <= 100:
            raise UsageError(f"quality must be in [1, 100], got {self.quality}")
        if self.on_error not in {"skip", "fail"}:
            raise UsageError(f"on_error must be skip or fail, got {self.on_error!r}")
        check_seed(self.seed)

    @property
    def processes(self) -> int:
        """Processes of this machine."""
        return self.workers or _cores()

    def arguments(self, photos: Photos, operation: Operation) -> dict[str, Any]:
        """Return what the files depend on."""
        return {
            "photos": photos.dataset.shard_set.fingerprint,
            "recipe": photos.dataset.recipe_hash, "operation": operation.name,
            "copies": self.copies, "seed": self.seed, "encode": self.encode,
            "quality": self.quality,
        }  # fmt: skip


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1
