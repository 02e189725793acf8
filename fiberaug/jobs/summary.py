"""What a data set holds, in figures."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from fiberaug.decode.fields import describe_fields
from fiberaug.errors import StoreError, UsageError
from fiberaug.jobs.mapping import resolve_fields
from fiberaug.jobs.plain import resolve_any
from fiberaug.shards.opening import read_index
from fiberaug.shards.reader import ShardRef

__all__ = ["summarize"]


def summarize(shards: object, *, index_dir: str | Path | None = None) -> dict[str, Any]:
    """Return the figures of a data set as plain values.

    Without an index only shards and bytes are known, and which fields the first sample
    has.

    Args:
        shards: As :class:`fiberaug.StreamingDataset` takes them.
        index_dir: Folder of the side-cars. None: beside the shards.

    Raises:
        UsageError: ``shards`` names nothing.
        StoreError: A shard cannot be read.
        ShardDamaged: A shard or an index is broken.
    """
    found = resolve_any(shards, index_dir=index_dir)
    try:
        members, specs = resolve_fields(found, "auto")
    except UsageError:  # no image by any name that is known: the figures still hold
        first = read_index(found.refs[0], found.cache)
        members, specs = tuple(field.extension for field in first.fields(0)), ()
    figures: dict[str, Any] = {
        "shards": len(found.refs),
        "bytes": sum(_size(ref) for ref in found.refs),
        "samples": None if found.counts is None else sum(found.counts),
        "indexed": found.counts is not None,
        "fingerprint": found.fingerprint,
        "fields": describe_fields(specs, members),
    }
    if found.counts is None:
        return figures
    classes = found.manifest.classes if found.manifest else ()
    labels: Counter[int] = Counter()
    orientations: Counter[int] = Counter()
    sizes, boxes, unknown = [], 0, 0
    for ref in found.refs:
        columns = read_index(ref, found.cache).columns
        labels.update(columns["label"].tolist())
        orientations.update(columns["orientation"].tolist())
        known = columns["width"] > 0
        sizes.append(
            np.stack([columns["width"][known], columns["height"][known]], axis=1)
        )
        boxes += int(columns["boxes"].sum())
        unknown += int((~known).sum())
    sizes_px = np.concatenate(sizes)
    labels.pop(-1, None)
    figures["classes"] = {
        (classes[label] if label < len(classes) else str(label)): count
        for label, count in sorted(labels.items())
    }
    if found.manifest is not None and found.manifest.splits:
        sizes_of = {ref.name: ref.samples or 0 for ref in found.refs}
        figures["splits"] = {
            part: sum(sizes_of.get(name, 0) for name in names)
            for part, names in found.manifest.splits.items()
        }
    figures["boxes"] = boxes
    if len(sizes_px):
        figures["width_px"] = _spread(sizes_px[:, 0])
        figures["height_px"] = _spread(sizes_px[:, 1])
    figures["no_image_size"] = unknown
    figures["turned_by_exif"] = sum(n for o, n in orientations.items() if o > 1)
    return figures


def _size(ref: ShardRef) -> int:
    if ref.remote or ref.opener is not None:
        return ref.bytes or 0
    try:
        return Path(ref.path).stat().st_size
    except OSError as error:
        raise StoreError(
            f"cannot read {ref.path}: {error.strerror}", shard=ref.name
        ) from error


def _spread(values: Any) -> dict[str, int]:  # noqa: ANN401  # an array
    return {
        "min": int(values.min()),
        "median": int(np.median(values)),
        "max": int(values.max()),
    }
