"""Shards of a store: what it says of them; no shard is fetched, side-cars are."""

import mmap
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from fiberaug.checkup.findings import problem
from fiberaug.checkup.listing import Listing
from fiberaug.checkup.looking import Shard
from fiberaug.errors import DataRefused, StoreError
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.index import ShardIndex
from fiberaug.shards.reader import ShardRef
from fiberaug.shards.resolve import resolve
from fiberaug.shards.urls import is_remote

__all__ = ["list_remote", "reaches_beyond"]


def reaches_beyond(shards: object) -> bool:
    """Return whether a description of shards names any of a store."""
    if isinstance(shards, str):
        return is_remote(shards)
    parts = (
        shards
        if isinstance(shards, Iterable) and not hasattr(shards, "pipeline")
        else ()
    )
    return any(map(reaches_beyond, parts))


def list_remote(shards: object, *, index_dir: str | Path | None = None) -> Listing:
    """Return the shards of a store, as far as it tells of them.

    Args:
        shards: As :class:`fiberaug.StreamingDataset` takes them.
        index_dir: Folder of the side-cars. None: beside the shards.

    Raises:
        UsageError: ``shards`` names nothing.
    """
    try:
        found = resolve(shards, index_dir=index_dir)
    except (StoreError, DataRefused) as error:
        remedy = "check address, credentials and the store; it says why"
        return Listing([], None, [problem("shards", str(error), remedy)], remote=True)
    looked = [_shard(ref, found.cache) for ref in found.refs]
    return Listing(looked, found.manifest, remote=True)


def _shard(ref: ShardRef, cache: ShardCache | None) -> Shard:
    shard = Shard(Path(ref.name), ref.bytes or 0, ref.samples)
    if ref.index is not None:
        shard.index = Path(ref.index)
        if is_remote(ref.index) and cache is not None:
            shard.fetch = partial(_fetch, ref.index, ref.name, cache)
    return shard


def _fetch(url: str, shard: str, cache: ShardCache) -> Path:
    """Return a side-car as a local file."""

    def check(path: Path, data: mmap.mmap) -> None:
        del data  # mapped again, by the index itself
        ShardIndex.open(path, shard=shard)

    return cache.open(url, shard=shard, check=check).path
