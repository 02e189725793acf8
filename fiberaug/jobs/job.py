"""How a source is converted."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fiberaug.errors import UsageError
from fiberaug.jobs.encoding import ENCODINGS
from fiberaug.jobs.framing import FRAMES
from fiberaug.jobs.items import Source
from fiberaug.jobs.preparing import Options
from fiberaug.jobs.restarting import check_tool
from fiberaug.jobs.splitting import group_rule, parse_split
from fiberaug.seeding import check_seed

__all__ = ["Job", "available_cores"]

_ENGINES = ("local", "ray")


@dataclass(frozen=True, kw_only=True)
class Job:
    """How a source is converted; checked when it is made."""

    shard_size: int
    """Bytes of a shard."""

    workers: int | None = None
    """Processes. None: one for each core."""

    seed: int
    """Of the shuffle."""

    keep_order: bool
    """Do not shuffle."""

    options: Options
    """What becomes of each sample."""

    split: Mapping[str, float] = field(default_factory=dict)
    """Share of each part; empty: one part."""

    stratify: bool = False
    """Each class is split alike."""

    allow_empty_class: bool
    """Write the set though a class has no sound image."""

    progress: bool
    """Show a bar on a terminal."""

    engine: str = "local"
    """``local`` processes, or a ``ray`` cluster."""

    near_copies: str = "together"
    """Near-copies stay in one part of the split; ``ignore``: nobody looks for them."""

    dedupe: bool = False
    """Of near-copies one is written."""

    def __post_init__(self) -> None:
        """Check the arguments.

        Raises:
            UsageError: One is out of range.
        """
        options = self.options
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"workers must be >= 1, got {self.workers}")
        if self.engine not in _ENGINES:
            raise UsageError(
                f"engine must be {' or '.join(_ENGINES)}, got {self.engine!r}"
            )
        if self.near_copies not in {"together", "ignore"}:
            raise UsageError(
                f"near_copies must be together or ignore, got {self.near_copies!r}"
            )
        if options.on_error not in {"skip", "fail"}:
            raise UsageError(f"on_error must be skip or fail, got {options.on_error!r}")
        if options.encode not in {"keep", *ENCODINGS}:
            raise UsageError(
                f"encode must be keep, {', '.join(ENCODINGS)}, got {options.encode!r}"
            )
        if not 1 <= options.quality <= 100:
            raise UsageError(f"quality must be in [1, 100], got {options.quality}")
        if options.resize is not None and options.resize < 1:
            raise UsageError(f"resize must be >= 1 px, got {options.resize}")
        _check_seekable(options)
        if options.frame not in {None, *FRAMES}:
            raise UsageError(
                f"annotation_frame must be {' or '.join(FRAMES)}, got {options.frame!r}"
            )
        check_seed(self.seed)
        group_rule(options.group_by)
        parse_split(self.split)
        if self.stratify and not self.split:
            raise UsageError("stratify is for split, and there is none")

    @property
    def looks_for_copies(self) -> bool:
        """Whether every image has to be looked at before."""
        return self.dedupe or (bool(self.split) and self.near_copies == "together")

    @property
    def processes(self) -> int:
        """Processes of this machine."""
        return self.workers or available_cores()

    def arguments(self, source: Source) -> dict[str, Any]:
        """Return what ``dataset.json`` says of how the set was made."""
        options = self.options
        tiling = options.tiling
        cut: dict[str, Any] = {}
        if tiling is not None:
            cut["tile"] = tiling.describe()
        if options.seekable:
            cut["seekable"] = True
        return cut | {
            "source": Path(source.root).resolve().name, "from": source.kind,
            "shard_size": self.shard_size, "seed": self.seed,
            "keep_order": self.keep_order, "resize": options.resize,
            "encode": options.encode, "quality": options.quality, "srgb": options.srgb,
            "annotation_frame": options.frame, "split": dict(self.split),
            "stratify": self.stratify, "group_by": options.group_by,
            "near_copies": self.near_copies if self.split else None,
            "dedupe": self.dedupe, "items": source.digest(),
        }  # fmt: skip


def _check_seekable(options: Options) -> None:
    if not options.seekable:
        return
    encode = "png" if options.tiling and options.encode == "keep" else options.encode
    if encode not in {"keep", "jpeg"}:
        raise UsageError(
            f"seekable is for JPEGs, and {encode.upper()} is written: --encode jpeg"
            " (encode='jpeg') writes what is seekable"
        )
    if options.tiling is None:  # tiles are encoded anyway
        check_tool()


def available_cores() -> int:
    """Return the cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1
