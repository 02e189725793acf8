"""The data set that a training reads: opened, indexed, and cut into its parts."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import albumentations as A

from fiberaug.augment.pipeline import Part, Pipeline
from fiberaug.dataset import StreamingDataset
from fiberaug.errors import UsageError
from fiberaug.jobs.indexing import index_shards
from fiberaug.jobs.plain import is_plain, resolve_any
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.cachefolder import make_folder, make_private
from fiberaug.shards.resolve import ShardSet
from fiberaug.splits import interval
from fiberaug.training.crops import TrainingWindow
from fiberaug.training.windows import Crop

__all__ = ["FIELDS", "Opened", "open_dataset", "part_of", "remade", "with_crop"]

FIELDS = ("image", "label")
"""What is trained on."""

_TRAIN, _HELD = "train", ("val", "valid", "validation")
_COLORS = {1: "gray", 3: "rgb"}


class Opened(NamedTuple):
    """A data set to train on, not yet cut to a size."""

    base: StreamingDataset
    """All photos, without any that a conversion put into other parts."""

    apart: StreamingDataset | None
    """The photos that a conversion put into its part for validation."""

    own: bool
    """Whether it is the user's object: its fields and transform are then kept."""


def open_dataset(
    data: Any,  # noqa: ANN401  # see open_source
    *,
    channels: int,
    index_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
) -> Opened:
    """Return the data set that the user describes, with an index.

    Args:
        data: A data set, or what :class:`fiberaug.StreamingDataset` takes as shards.
        channels: 1 or 3.
        index_dir: See :func:`fiberaug.training.feeding.open_source`.
        cache_dir: See there.

    Raises:
        UsageError: It mixes, tiles or repeats photos, or cannot be indexed here.
    """
    if isinstance(data, StreamingDataset):
        _check_own(data)
        return Opened(_indexed(data), None, own=True)
    if channels not in _COLORS:
        raise UsageError(
            f"channels must be 3 (RGB) or 1 (gray) for photos in files, got {channels};"
            " images in memory can have 2 or 4"
        )
    cache = ShardCache(cache_dir)
    options: dict[str, Any] = {"index_dir": index_dir, "cache_dir": cache_dir}
    found = resolve_any(data, index_dir=index_dir, cache=cache)
    if found.counts is None:
        options["index_dir"] = _index(data, found, cache, index_dir)
    parts = found.manifest.splits if found.manifest is not None else {}
    options["decode"] = {"color": _COLORS[channels], "scale": "fast"}
    first = _TRAIN if _TRAIN in parts else "all"
    base = StreamingDataset(data, split=first, **options)
    held = next((name for name in _HELD if name in parts and first == _TRAIN), None)
    apart = None if held is None else StreamingDataset(data, split=held, **options)
    return Opened(base, apart, own=False)


def _check_own(dataset: StreamingDataset) -> None:
    if not dataset.asked:
        raise UsageError(
            "a StreamingDataset that was pickled cannot be cut to another size: make it"
            " in this process"
        )
    if dataset.mixture is not None:
        raise UsageError(
            "the data set mixes in other samples, and a generator learns from real"
            " photos: training on what generators made narrows what it makes; leave mix"
            " out"
        )
    if dataset.views > 1 or dataset.setup.tiling is not None:
        raise UsageError(
            "views and tile of the data set cannot be trained on: leave them out, and"
            " give windows=True for parts of photos"
        )
    dataset.refuse_sections("a source of a training")


def _indexed(dataset: StreamingDataset) -> StreamingDataset:
    found = dataset.shard_set
    if found.counts is not None:
        return dataset
    asked = dataset.asked
    cache = ShardCache(asked["cache_dir"])
    folder = _index(asked["shards"], found, cache, asked["index_dir"])
    return remade(dataset, index_dir=folder)


def _index(
    shards: object,
    found: ShardSet,
    cache: ShardCache,
    index_dir: str | Path | None,
) -> Path:
    """Return a folder with an index of each shard, written where there is none."""
    if is_plain(shards) or any(ref.remote for ref in found.refs):
        raise UsageError(
            "training needs an index, which not all shards have; run `fiberaug index"
            " SHARDS --index-dir DIR`, and give index_dir"
        )
    folder = None if index_dir is None else Path(index_dir)
    if folder is None:
        digest = hashlib.blake2b(digest_size=10)
        for ref in found.refs:
            stat = os.stat(ref.path)  # noqa: PTH116  # paths may be too long for Path
            digest.update(f"{ref.path}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
        make_folder(cache.root)
        folder = cache.root / "fiberaug-1"
        for part in ("", "indexed", digest.hexdigest()):
            folder /= part
            make_private(folder)
    index_shards(shards, index_dir=folder)
    return folder


def remade(dataset: StreamingDataset, **changed: Any) -> StreamingDataset:  # noqa: ANN401  # see StreamingDataset
    """Return a new data set of the same arguments but for those that are given."""
    return StreamingDataset(**{**dataset.asked, **changed})


def part_of(dataset: StreamingDataset, share: float) -> tuple[float, str] | None:
    """Return where photos that are held out begin, and the condition of all others.

    Args:
        dataset: The data set; its split by a hash, where it has one, is divided.
        share: Share of its photos that is held out.

    Returns:
        (least number of those held out, a condition for ``subset``); None: its subset
        is one that no condition can be added to.
    """
    subset, split = dataset.asked["subset"], dataset.asked["split"]
    if subset is not None and not isinstance(subset, str):
        return None
    low, high = 0.0, 1.0
    if split is not None and not isinstance(split, str):
        low, high = interval(split)
    first = high - share * (high - low)
    condition = f"split < {first!r}"
    return first, condition if subset is None else f"({condition}) and ({subset})"


def with_crop(dataset: StreamingDataset, crop: Crop) -> Mapping[str, Any]:
    """Return ``transform`` and ``decode`` of a data set whose photos are cut at last.

    What the data set's own transform does comes before.
    """
    parts = () if dataset.pipeline is None else dataset.pipeline.parts
    if parts:
        first = max(part.first + _places(part) for part in parts)
        parts += (Part(kind="callable", what=image_and_label, first=first),)
    first, cut = len(parts) and parts[-1].first + 1, TrainingWindow.of(crop)
    what = A.Compose([cut])
    last = Part(kind="compose", what=what, first=first, nested=bool(parts))
    return {
        "transform": Pipeline(parts=(*parts, last)),
        "decode": asdict(dataset.setup.decoder.options),
    }


def image_and_label(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sample of the fields that are trained on: others need not fit a cut."""
    return {name: sample[name] for name in FIELDS if name in sample}


def _places(part: Part) -> int:
    """Return how many places of the user's list a part takes."""
    run = part.kind == "compose" and not part.nested
    return len(part.what.transforms) if run else 1
