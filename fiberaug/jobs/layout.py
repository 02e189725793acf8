"""Which samples are written into which shard of which part."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.jobs.gathering import Copies, joined
from fiberaug.jobs.items import Items
from fiberaug.jobs.job import Job
from fiberaug.jobs.splitting import assign, group_rule

__all__ = ["Planned", "plan_shards"]


class Planned(NamedTuple):
    """A shard that is to be written."""

    name: str
    """File name."""

    part: str
    """Of the split; empty where there is none."""

    rows: NDArray[np.int64]
    """Its items, in order."""


def plan_shards(items: Items, job: Job, copies: Copies | None = None) -> list[Planned]:
    """Return the shards of a conversion: the same ones for any workers.

    Args:
        items: The samples.
        job: How they are converted.
        copies: Near-copies, where the job looks for them.

    Raises:
        UsageError: A part of the split would have no sample.
    """
    order = np.arange(len(items)) if job.keep_order else items.shuffled(job.seed)
    if copies is not None and job.dedupe:
        order = order[~copies.spare[order]]
    sizes = items.tar_bytes()
    if not job.split:
        cuts = enumerate(_cut(sizes[order], job.shard_size))
        return [Planned(f"shard-{i:06d}.tar", "", order[cut]) for i, cut in cuts]
    groups = items.groups(group_rule(job.options.group_by))
    if copies is not None:
        groups = joined(groups, copies.clusters)
    labels = items.labels[order] if job.stratify else None
    parts = assign(groups[order], job.split, seed=job.seed, labels=labels)
    planned = []
    for number, part in enumerate(job.split):
        rows = order[parts == number]
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
