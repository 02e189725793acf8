"""A source of images to shards: the same bytes from any workers, on any machine."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Self

import numpy as np

from fiberaug.bars import ProgressBar
from fiberaug.errors import DataRefused, SampleBroken, StoreError
from fiberaug.jobs.crew import Done, run_jobs
from fiberaug.jobs.gathering import Copies
from fiberaug.jobs.items import Items, Source
from fiberaug.jobs.job import Job
from fiberaug.jobs.journal import Journal
from fiberaug.jobs.layout import Planned
from fiberaug.jobs.raycrew import run_on_ray
from fiberaug.jobs.stores import Store
from fiberaug.jobs.target import ERRORS, Target
from fiberaug.jobs.unit import Unit, Written
from fiberaug.shards.manifest import Manifest, ShardEntry
from fiberaug.sizes import format_bytes

__all__ = ["Bar", "convert_source"]

_IMAGE = "jpg;png;webp;bmp;tif;gif;ppm"


def convert_source(
    source: Source,
    store: Store,
    job: Job,
    planned: Sequence[Planned],
    copies: Copies | None = None,
) -> Manifest:
    """Write a source's samples as shards; see :func:`fiberaug.convert`.

    Args:
        source: The source.
        store: Where the shards go.
        job: How.
        planned: The shards: :func:`fiberaug.jobs.layout.plan_shards`.
        copies: Near-copies, where the job looks for them.
    """
    source.items.check_keys()
    target = Target(store, job.arguments(source), resume=True)
    written = list(_run(store, source, planned, job))
    target.drop_others([shard.name for shard in planned])
    told = [error for one in written for error in one.errors]
    _report(store, told + _spare(source, job, copies))
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


def _run(
    store: Store, source: Source, planned: Sequence[Planned], job: Job
) -> Iterator[Written]:
    """Yield what became of each shard, in their order whoever wrote them."""
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
    total = sum(len(shard.rows) for shard in planned)
    with Bar(total, "convert", shown=job.progress) as bar:
        if job.engine == "ray":
            running = run_on_ray(
                journal.write, units, workers=job.workers, told=bar.told
            )
        else:
            workers = min(job.processes, len(planned))
            running = run_jobs(journal.write, units, workers=workers, told=bar.told)
        # Closed here: after Ctrl-C workers stop now, and not when this is garbage.
        with closing(running) as results:
            try:
                yield from results
            except StoreError as error:
                if error.stage != "write":
                    raise
                raise _with_space(error, store, source.items) from error


class Bar:
    """A bar that shows images, bytes a second and what was left out."""

    def __init__(self, total: int, does: str, *, shown: bool) -> None:
        hidden = None if shown else True
        self._bar = ProgressBar(total=total, unit="img", desc=does, disable=hidden)
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


def _spare(source: Source, job: Job, copies: Copies | None) -> list[dict[str, str]]:
    """Return what is said of samples that another stands for."""
    if copies is None or not job.dedupe:
        return []
    rows = np.flatnonzero(copies.spare).tolist()
    return [
        {
            "key": source.items[row].key,
            "path": str(Path(source.root, source.items[row].place)),
            "outcome": "left out",
            "reason": f"a near-copy of {source.items[int(copies.first[row])].key}",
        }
        for row in rows
    ]


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
