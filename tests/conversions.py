"""What tests of sources share: a conversion in this process, read back."""

from pathlib import Path

import fiberaug
from fiberaug.jobs.converting import convert_source
from fiberaug.jobs.job import Job
from fiberaug.jobs.preparing import Options
from fiberaug.jobs.stores import LocalStore


def converted(source, dst, *, frame=None, keep_order=True, **options):
    """Write a listed source as shards; return the manifest."""
    job = Job(
        shard_size=10**6, workers=1, seed=0, keep_order=keep_order,
        options=Options(frame=frame, **options), allow_empty_class=True,
        progress=False,
    )  # fmt: skip
    return convert_source(source, LocalStore(Path(dst)), job)


def streamed(dst, **options):
    """Return the samples of a set by key, in evaluation's order."""
    dataset = fiberaug.StreamingDataset(str(dst), train=False, **options)
    return {sample["__key__"]: sample for sample in dataset}
