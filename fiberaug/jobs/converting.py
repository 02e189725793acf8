"""A source of images to shards: the same bytes from any workers, on any machine."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fiberaug.errors import DataRefused, SampleBroken, StoreError, UsageError
from fiberaug.jobs.crew import Done, run_jobs
from fiberaug.jobs.encoding import ENCODINGS
from fiberaug.jobs.framing import FRAMES
from fiberaug.jobs.items import Items, Source
from fiberaug.jobs.journal import Journal
from fiberaug.jobs.preparing import Options
from fiberaug.jobs.target import ERRORS, Target
from fiberaug.jobs.unit import Unit, Written
from fiberaug.seeding import check_seed
from fiberaug.shards.manifest import Manifest, ShardEntry, write_atomically
from fiberaug.sizes import format_bytes

__all__ = ["Job", "convert_source"]

_IMAGE = "jpg;png;webp;bmp;tif;gif;ppm"


@dataclass(frozen=True, kw_only=True)
class Job:
    """How a source is converted; checked when it is made."""

    shard_size: int
    """Bytes of a shard."""

    workers: int
    """Processes."""

    seed: int
    """Of the shuffle."""

    keep_order: bool
    """Do not shuffle."""

    options: Options
    """What becomes of each sample."""

    allow_empty_class: bool
    """Write the set though a class has no sound image."""

    progress: bool
    """Show a bar on a terminal."""

    def __post_init__(self) -> None:
        """Check the arguments.

        Raises:
            UsageError: One is out of range.
        """
        options = self.options
        if self.workers < 1:
            raise UsageError(f"workers must be >= 1, got {self.workers}")
        if options.encode not in {"keep", *ENCODINGS}:
            raise UsageError(
                f"encode must be keep, {', '.join(ENCODINGS)}, got {options.encode!r}"
            )
        if not 1 <= options.quality <= 100:
            raise UsageError(f"quality must be in [1, 100], got {options.quality}")
        if options.resize is not None and options.resize < 1:
            raise UsageError(f"resize must be >= 1 px, got {options.resize}")
        if options.frame not in {None, *FRAMES}:
            raise UsageError(
                f"annotation_frame must be {' or '.join(FRAMES)}, got {options.frame!r}"
            )
        check_seed(self.seed)

    def arguments(self, source: Source) -> dict[str, Any]:
        """Return what ``dataset.json`` says of how the set was made."""
        options = self.options
        return {
            "source": Path(source.root).resolve().name, "from": source.kind,
            "shard_size": self.shard_size, "seed": self.seed,
            "keep_order": self.keep_order, "resize": options.resize,
            "encode": options.encode, "quality": options.quality,
            "annotation_frame": options.frame,
        }  # fmt: skip


def convert_source(source: Source, dst: Path, job: Job) -> Manifest:
    """Write a source's samples as shards; see :func:`fiberaug.convert`."""
    source.items.check_keys()
    count = len(source.items)
    order = np.arange(count) if job.keep_order else source.items.shuffled(job.seed)
    target = Target(dst, job.arguments(source), resume=True)
    cuts = _cut(source.items, order, job.shard_size)
    written = list(_run(target, source, order, cuts, job))
    target.drop_others([f"shard-{i:06d}.tar" for i in range(len(written))])
    _report(dst, [error for part in written for error in part.errors])
    entries = [part.entry for part in written if part.entry is not None]
    if not entries:
        raise SampleBroken(
            f"none of {count} samples can be read; the first:"
            f" {written[0].errors[0]['reason']}"
        )
    if source.fields.get("label") and source.classes:
        _check_classes(source.classes, entries, allow_empty=job.allow_empty_class)
    fields = {"image": _IMAGE, **source.fields}
    return target.finish(entries, source.classes, fields, source.about)


def _cut(items: Items, order: NDArray[np.int64], shard_size: int) -> list[slice]:
    """Cut items into shards by the sizes of their images: the same for any workers.

    Args:
        items: The items.
        order: Rows in the order in which they are written.
        shard_size: Bytes of a shard.
    """
    ends = np.cumsum(items.tar_bytes()[order])
    cuts, begin, used = [], 0, 0
    while begin < len(order):
        end = int(np.searchsorted(ends, used + shard_size, side="right"))
        end = max(end, begin + 1)
        cuts.append(slice(begin, end))
        begin, used = end, int(ends[end - 1])
    return cuts


def _run(
    target: Target,
    source: Source,
    order: NDArray[np.int64],
    cuts: Sequence[slice],
    job: Job,
) -> Iterator[Written]:
    """Yield what became of each shard, in their order whoever wrote them."""
    import webdataset.writer  # noqa: F401, PLC0415  # once, before workers are forked

    journal = Journal(target.folder)

    def units() -> Iterator[tuple[Unit]]:
        for number, part in enumerate(cuts):
            yield (
                Unit(
                    name=target.shard(number).name, root=source.root,
                    items=source.items.take(order[part]), reader=source.reader,
                    options=job.options,
                ),
            )  # fmt: skip

    bar = tqdm(
        total=len(order), unit="img", desc="convert",
        disable=None if job.progress else True,
    )  # fmt: skip

    def told(done: Done) -> None:
        bar.update(done.images - bar.n)
        seconds = bar.format_dict["elapsed"] or 1.0
        speed = f"{format_bytes(int(done.bytes / seconds))}/s"
        bar.set_postfix_str(
            f"{speed}, {done.errors} refused" if done.errors else speed, refresh=False
        )

    # The jobs are closed here: after Ctrl-C workers stop now, not when this is garbage.
    with (
        bar,
        closing(
            run_jobs(
                journal.write, units(), workers=min(job.workers, len(cuts)), told=told
            )
        ) as results,
    ):
        try:
            yield from results
        except StoreError as error:
            if error.stage != "write":
                raise
            raise _with_space(error, target.folder, source.items) from error


def _with_space(error: StoreError, dst: Path, items: Items) -> StoreError:
    """Return the error of a disk with what the images take and what is free."""
    free = shutil.disk_usage(dst).free
    return StoreError(
        f"{error.message}; the images have {int(items.sizes.sum())} bytes as they are,"
        f" {free} bytes are free in {dst}; with space there the same command goes on",
        key=error.key,
        stage=error.stage,
    )


def _check_classes(
    names: Sequence[str], entries: Sequence[ShardEntry], *, allow_empty: bool
) -> None:
    """Refuse a set in which a class has no image: nothing can be learned of it."""
    there = {label for entry in entries for label in entry.counts}
    empty = [name for i, name in enumerate(names) if str(i) not in there]
    if empty and not allow_empty:
        raise DataRefused(
            f"{len(empty)} of {len(names)} classes have no image that could be read:"
            f" {empty[:10]}; {ERRORS} lists what was refused; allow_empty_class=True"
            " (--allow-empty-class) writes the set all the same"
        )


def _report(folder: Path, errors: list[dict[str, str]]) -> None:
    if errors:
        lines = "".join(json.dumps(error) + "\n" for error in errors)
        write_atomically(folder / ERRORS, lines.encode())
