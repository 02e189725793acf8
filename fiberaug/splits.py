"""``split``: the part of a set that a training or a test may see."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.shards.index import ShardIndex
from fiberaug.shards.manifest import Row, fingerprint
from fiberaug.shards.resolve import ShardSet

__all__ = ["Split", "interval", "restrict", "split_numbers"]

Split = str | tuple[str, float | Mapping[str, float]]
_Subset = float | int | str | Collection[str] | None
_FIRST = "train"  # takes the lower end of [0, 1), any other name the upper


def restrict(
    shards: ShardSet, split: Split | None, subset: _Subset = None
) -> tuple[ShardSet, _Subset]:
    """Return the shards of a part of a set, and what is left to select in them.

    Args:
        shards: The whole set.
        split: ``"train"``, as ``convert --split`` wrote it; ``"all"``; or a name and
            its share, by a hash of each sample's group or key.
        subset: What else is selected.

    Raises:
        UsageError: There is no such part, nothing is said of a set that has parts, or a
            share is none.
    """
    parts = shards.manifest.splits if shards.manifest is not None else {}
    if split is None or split == "all":
        if parts and split is None and _several(shards, parts):
            raise UsageError(
                f"the set has the parts {list(parts)}: say split={next(iter(parts))!r},"
                ' or split="all" for all of them'
            )
        return shards, subset
    if isinstance(split, str):
        return _named(shards, split, parts), subset
    low, high = interval(split)
    condition = f"split >= {low!r} and split < {high!r}"
    if subset is None:
        return shards, condition
    if not isinstance(subset, str):
        raise UsageError(
            f"with split={split!r} subset must be a condition, got {subset!r:.80}; or"
            " split the set when it is made: `fiberaug convert --split`"
        )
    return shards, f"({condition}) and ({subset})"


def _several(shards: ShardSet, parts: Mapping[str, Any]) -> bool:
    """Return whether the shards are those of more than one part."""
    here = {ref.name for ref in shards.refs}
    return sum(bool(here & set(names)) for names in parts.values()) > 1


def _named(shards: ShardSet, split: str, parts: Mapping[str, Any]) -> ShardSet:
    if split not in parts:
        raise UsageError(
            f"the set has no part {split!r}: it has {list(parts) or 'none'}; `fiberaug"
            f" convert --split` makes parts, split=({split!r}, 0.8) takes a share"
        )
    entries = {e.name: e for e in shards.manifest.shards} if shards.manifest else {}
    wanted = set(parts[split]) & set(entries)
    refs = tuple(ref for ref in shards.refs if ref.name in wanted)
    if not refs:
        raise UsageError(f"none of the shards belongs to the part {split!r}")
    rows: list[Row] = [
        (ref.name, entries[ref.name].bytes, ref.samples, ref.digest) for ref in refs
    ]
    return replace(shards, refs=refs, fingerprint=fingerprint(rows))


def interval(split: tuple[str, float | Mapping[str, float]]) -> tuple[float, float]:
    """Return which part of [0, 1) a name takes.

    Raises:
        UsageError: It is no name with a share.
    """
    try:
        name, share = split
        shares = {name: share} if isinstance(share, float | int) else dict(share)
        numbers = {part: float(one) for part, one in shares.items()}
    except (TypeError, ValueError):
        raise UsageError(
            'split must be a name, or a name and a share such as ("val", 0.1), or'
            f' ("val", {{"train": 0.8, "val": 0.1, "test": 0.1}}), got {split!r}'
        ) from None
    total = sum(numbers.values())
    if not all(0 < one <= 1 for one in numbers.values()) or total > 1 + 1e-9:
        raise UsageError(f"shares must be above 0 and at most 1 in all, got {split!r}")
    if name not in numbers:
        raise UsageError(f"{name!r} is none of the parts {list(numbers)}")
    if isinstance(share, float | int):
        return (0.0, numbers[name]) if name == _FIRST else (1 - numbers[name], 1.0)
    low = 0.0
    for part, one in numbers.items():
        if part == name:
            break
        low += one
    high = low + numbers[name]
    return low, 1.0 if abs(high - 1) < 1e-9 else high


def split_numbers(index: ShardIndex) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each sample of a shard, float64 [N].

    It is a hash of the sample's group, or of its key where it has none: samples that
    are added, or lie in another shard, change nothing.
    """
    groups = index.columns["group"]
    names = (
        f"group {int(group)}" if group else f"key {index.key(i)}"
        for i, group in enumerate(groups)
    )
    digests = (blake2b(f"split {n}".encode(), digest_size=8).digest() for n in names)
    numbers = np.frombuffer(b"".join(digests), "<u8")
    return (numbers >> np.uint64(11)).astype(np.float64) / 2.0**53
