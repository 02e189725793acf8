"""What tests of sources share: a conversion in this process, read back."""

import json
from pathlib import Path

import fiberaug
from fiberaug.jobs.converting import convert_source
from fiberaug.jobs.job import Job
from fiberaug.jobs.layout import plan_shards
from fiberaug.jobs.preparing import Options
from fiberaug.jobs.stores import LocalStore


def converted(source, dst, *, frame=None, keep_order=True, job=None, **options):
    """Write a listed source as shards; return the manifest."""
    job = job or Job(
        shard_size=10**6, workers=1, seed=0, keep_order=keep_order,
        options=Options(frame=frame, **options), allow_empty_class=True,
        progress=False,
    )  # fmt: skip
    planned = plan_shards(source.items, job)
    return convert_source(source, LocalStore(Path(dst)), job, planned)


def streamed(dst, **options):
    """Return the samples of a set by key, in evaluation's order."""
    dataset = fiberaug.StreamingDataset(str(dst), train=False, **options)
    return {sample["__key__"]: sample for sample in dataset}


def report(dst):
    """Return what was left out, and what is odd."""
    path = Path(dst) / "convert_errors.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]
