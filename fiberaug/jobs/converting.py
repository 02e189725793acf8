"""A source of images to shards: the same bytes from any workers, on any machine."""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

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
from fiberaug.jobs.raycrew import run_on_ray
from fiberaug.jobs.splitting import assign, group_rule, parse_split
from fiberaug.jobs.stores import Store
from fiberaug.jobs.target import ERRORS, Target, find_finished
from fiberaug.jobs.unit import Unit, Written
from fiberaug.seeding import check_seed
from fiberaug.shards.manifest import Manifest, ShardEntry
from fiberaug.sizes import format_bytes

__all__ = ["Job", "Planned", "convert_source", "plan_shards"]

_log = logging.getLogger("fiberaug")
_ENGINES = ("local", "ray")
_IMAGE = "jpg;png;webp;bmp;tif;gif;ppm"


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
        if options.frame not in {None, *FRAMES}:
            raise UsageError(
                f"annotation_frame must be {' or '.join(FRAMES)}, got {options.frame!r}"
            )
        check_seed(self.seed)
        group_rule(options.group_by)
        parse_split(self.split)
        if self.stratify and not self.split:
            raise UsageError("stratify is for split, and there is none")

    def arguments(self, source: Source) -> dict[str, Any]:
        """Return what ``dataset.json`` says of how the set was made."""
        options = self.options
        return {
            "source": Path(source.root).resolve().name, "from": source.kind,
            "shard_size": self.shard_size, "seed": self.seed,
            "keep_order": self.keep_order, "resize": options.resize,
            "encode": options.encode, "quality": options.quality,
            "annotation_frame": options.frame, "split": dict(self.split),
            "stratify": self.stratify, "group_by": options.group_by,
            "items": source.digest(),
        }  # fmt: skip


def convert_source(source: Source, store: Store, job: Job) -> Manifest:
    """Write a source's samples as shards; see :func:`fiberaug.convert`."""
    arguments = job.arguments(source)
    known = find_finished(store, arguments)
    if known is not None:
        _log.info("%s was written before by the same conversion", store.place)
        return known
    source.items.check_keys()
    planned = plan_shards(source.items, job)
    target = Target(store, arguments, resume=True)
    written = list(_run(store, source, planned, job))
    target.drop_others([shard.name for shard in planned])
    _report(store, [error for one in written for error in one.errors])
    entries = [one.entry for one in written if one.entry is not None]
    if not entries:
        raise SampleBroken(
            f"none of {len(source.items)} samples can be read; the first:"
            f" {written[0].errors[0]['reason']}"
        )
    if source.fields.get("label") and source.classes:
        _check_classes(source.classes, entries, allow_empty=job.allow_empty_class)
    fields = {"image": _IMAGE, **source.fields}
    names = {shard.name: shard.part for shard in planned}
    splits: dict[str, list[str]] = {part: [] for part in job.split}
    for entry in entries if job.split else ():
        splits[names[entry.name]].append(entry.name)
    return target.finish(
        entries, source.classes, fields, about=source.about, splits=splits
    )


class Planned(NamedTuple):
    """A shard that is to be written."""

    name: str
    """File name."""

    part: str
    """Of the split; empty where there is none."""

    rows: NDArray[np.int64]
    """Its items, in order."""


def plan_shards(items: Items, job: Job) -> list[Planned]:
    """Return the shards of a conversion: the same ones for any workers.

    Raises:
        UsageError: A part of the split would have no sample.
    """
    order = np.arange(len(items)) if job.keep_order else items.shuffled(job.seed)
    sizes = items.tar_bytes()
    if not job.split:
        cuts = enumerate(_cut(sizes[order], job.shard_size))
        return [Planned(f"shard-{i:06d}.tar", "", order[cut]) for i, cut in cuts]
    parts = assign(
        items.groups(group_rule(job.options.group_by)), job.split, seed=job.seed,
        labels=items.labels if job.stratify else None,
    )  # fmt: skip
    planned = []
    for number, part in enumerate(job.split):
        rows = order[parts[order] == number]
        if not len(rows):
            raise UsageError(
                f"the part {part!r} would have no sample: {len(items)} samples cannot"
                f" be split as {dict(job.split)}"
            )
        planned += [
            Planned(f"{part}-{i:06d}.tar", part, rows[cut])
            for i, cut in enumerate(_cut(sizes[rows], job.shard_size))
        ]
    return planned


def _cut(sizes: NDArray[np.int64], shard_size: int) -> Iterator[slice]:
    """Cut samples into shards by their sizes."""
    ends = np.cumsum(sizes)
    begin = used = 0
    while begin < len(ends):
        end = int(np.searchsorted(ends, used + shard_size, side="right"))
        end = max(end, begin + 1)
        yield slice(begin, end)
        begin, used = end, int(ends[end - 1])


def _run(
    store: Store, source: Source, planned: Sequence[Planned], job: Job
) -> Iterator[Written]:
    """Yield what became of each shard, in their order whoever wrote them."""
    import webdataset.writer  # noqa: F401, PLC0415  # once, before workers are forked

    journal = Journal(store)
    units = (
        (
            Unit(
                name=shard.name, root=source.root,
                items=source.items.take(shard.rows), reader=source.reader,
                options=job.options,
            ),
        )
        for shard in planned
    )  # fmt: skip
    with _Bar(len(source.items), shown=job.progress) as bar:
        if job.engine == "ray":
            running = run_on_ray(
                journal.write, units, workers=job.workers, told=bar.told
            )
        else:
            workers = min(job.workers or _cores(), len(planned))
            running = run_jobs(journal.write, units, workers=workers, told=bar.told)
        # Closed here: after Ctrl-C workers stop now, and not when this is garbage.
        with closing(running) as results:
            try:
                yield from results
            except StoreError as error:
                if error.stage != "write":
                    raise
                raise _with_space(error, store, source.items) from error


class _Bar:
    """A bar that shows images, bytes a second and what was left out."""

    def __init__(self, total: int, *, shown: bool) -> None:
        hidden = None if shown else True
        self._bar = tqdm(total=total, unit="img", desc="convert", disable=hidden)
        self._started = time.monotonic()

    def told(self, done: Done) -> None:
        """Show how far the workers are."""
        self._bar.update(done.images - self._bar.n)
        seconds = max(time.monotonic() - self._started, 1e-3)
        speed = f"{format_bytes(int(done.bytes / seconds))}/s"
        left_out = f", {done.errors} left out" if done.errors else ""
        self._bar.set_postfix_str(speed + left_out, refresh=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _with_space(error: StoreError, store: Store, items: Items) -> StoreError:
    """Return the error of a disk with what the images take and what is free."""
    return StoreError(
        f"{error.message}; the images have {int(items.sizes.sum())} bytes as they are,"
        f" {store.free_bytes()} bytes are free for {store.place}; with space there the"
        " same command goes on",
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


def _report(store: Store, errors: list[dict[str, str]]) -> None:
    if errors:
        lines = "".join(json.dumps(error) + "\n" for error in errors)
        store.write(ERRORS, lines.encode())
