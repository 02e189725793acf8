"""Indexes for shards that anyone wrote."""

import mmap
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from fiberaug.bars import ProgressBar
from fiberaug.errors import StoreError, UsageError
from fiberaug.files import write_atomically
from fiberaug.jobs.describing import Describer
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.index import ShardIndex, read_head
from fiberaug.shards.manifest import FILE, Manifest
from fiberaug.shards.reader import build_index, map_file
from fiberaug.shards.resolve import SIDE_CAR, list_names
from fiberaug.shards.urls import file_name, is_remote, redact

__all__ = ["Indexed", "index_shards"]


class Indexed(NamedTuple):
    """One shard that now has an index."""

    name: str
    """File name of the shard."""

    side_car: Path
    samples: int
    members: int
    bytes: int
    kept: bool
    """The side-car was there and is the same."""


def index_shards(
    shards: object,
    *,
    index_dir: str | Path | None = None,
    decode: bool = False,
    progress: bool = True,
) -> list[Indexed]:
    """Write the side-car of each shard; return what was written.

    Every shard is read in full by the strict reader, so that damage is found now.

    Args:
        shards: As :class:`fiberaug.StreamingDataset` takes them; remote ones are
            fetched into this user's cache.
        index_dir: Folder for the side-cars. None: beside the shards, if they are local.
        decode: Decode every image, and say in the index whether that worked.
        progress: Show a bar on a terminal.

    Raises:
        UsageError: Nothing is named, two shards would share an index, or a remote shard
            has no ``index_dir``.
        ShardDamaged: A shard is broken; indexes of the shards before it are written.
        StoreError: A shard cannot be read or a side-car not written.
    """
    sources = list_names(shards)
    names = {_name(source) for source in sources}
    away = next((source for source in sources if is_remote(source)), None)
    if index_dir is None and away is not None:
        raise UsageError(
            f"the index of {redact(away)} cannot be written beside it; give index_dir"
        )
    if index_dir is not None and len(names) < len(sources):
        raise UsageError(
            f"{len(sources)} shards have {len(names)} file names: in one index_dir they"
            " would overwrite each other's index"
        )
    folder = None if index_dir is None else Path(index_dir)
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make {folder}: {error.strerror}") from error
    describe = Describer(decode=decode)
    cache = ShardCache()
    bar = ProgressBar(
        sources, unit="shard", desc="index", disable=None if progress else True
    )
    done = [_index(source, folder, describe, cache) for source in bar]
    if folder is None:
        for home in sorted({one.side_car.parent for one in done if not one.kept}):
            _tell_manifest(home, done)
    return done


def _tell_manifest(home: Path, done: Sequence[Indexed]) -> None:
    """Write the checksums of new indexes into the folder's ``dataset.json``."""
    if not (home / FILE).is_file():
        return
    manifest = Manifest.read(home)
    new = {
        one.name: read_head(one.side_car, shard=one.name).digest
        for one in done
        if one.side_car.parent == home
    }
    shards = tuple(
        replace(entry, index_crc32=new.get(entry.name, entry.index_crc32))
        for entry in manifest.shards
    )
    write_atomically(home / FILE, replace(manifest, shards=shards).to_bytes())


def _name(source: str) -> str:
    return file_name(source) if is_remote(source) else Path(source).name


def _index(
    source: str, folder: Path | None, describe: Describer, cache: ShardCache
) -> Indexed:
    name = _name(source)
    built: list[ShardIndex] = []

    def check(_path: Path, data: mmap.mmap) -> None:
        built.append(build_index(data, shard=name, describe=describe))

    if is_remote(source):
        data = cache.open(source, shard=name, check=check).data
    else:
        data = map_file(Path(source), shard=name)
        check(Path(source), data)
    content = built[-1].to_bytes()
    side_car = (folder or Path(source).parent) / (name + SIDE_CAR)
    kept = side_car.is_file() and zlib.crc32(side_car.read_bytes()) == zlib.crc32(
        content
    )
    if not kept:
        write_atomically(side_car, content)
    index = ShardIndex.open(side_car, shard=name)
    members = len(index.columns["offset"])
    return Indexed(name, side_car, len(index), members, len(data), kept)
