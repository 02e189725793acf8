"""Indexes for shards that anyone wrote."""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from fiberaug.errors import StoreError, UsageError
from fiberaug.jobs.describing import Describer
from fiberaug.shards.index import ShardIndex, read_head
from fiberaug.shards.manifest import FILE, Manifest, write_atomically
from fiberaug.shards.reader import build_index, map_file
from fiberaug.shards.resolve import SIDE_CAR, expand

__all__ = ["Indexed", "index_shards"]


class Indexed(NamedTuple):
    """One shard that now has an index."""

    path: Path
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
        shards: As :class:`fiberaug.StreamingDataset` takes them.
        index_dir: Folder for the side-cars. None: beside the shards.
        decode: Decode every image, and say in the index whether that worked.
        progress: Show a bar on a terminal.

    Raises:
        UsageError: Nothing is named, or two shards would share an index.
        ShardDamaged: A shard is broken; indexes of the shards before it are written.
        StoreError: A shard cannot be read or a side-car not written.
    """
    paths = expand(shards)
    names = {path.name for path in paths}
    if index_dir is not None and len(names) < len(paths):
        raise UsageError(
            f"{len(paths)} shards have {len(names)} file names: in one index_dir they"
            " would overwrite each other's index"
        )
    folder = None if index_dir is None else Path(index_dir)
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make {folder}: {error.strerror}") from error
    describe = Describer(decode=decode)
    bar = tqdm(paths, unit="shard", desc="index", disable=None if progress else True)
    done = [_index(path, folder or path.parent, describe) for path in bar]
    if folder is None:
        for home in sorted({one.path.parent for one in done if not one.kept}):
            _tell_manifest(home, done)
    return done


def _tell_manifest(home: Path, done: Sequence[Indexed]) -> None:
    """Write the checksums of new indexes into the folder's ``dataset.json``."""
    if not (home / FILE).is_file():
        return
    manifest = Manifest.read(home)
    new = {
        one.path.name: read_head(one.side_car, shard=one.path.name).digest
        for one in done
        if one.path.parent == home
    }
    shards = tuple(
        replace(entry, index_crc32=new.get(entry.name, entry.index_crc32))
        for entry in manifest.shards
    )
    write_atomically(home / FILE, replace(manifest, shards=shards).to_bytes())


def _index(path: Path, folder: Path, describe: Describer) -> Indexed:
    data = map_file(path, shard=path.name)
    content = build_index(data, shard=path.name, describe=describe).to_bytes()
    side_car = folder / (path.name + SIDE_CAR)
    kept = side_car.is_file() and zlib.crc32(side_car.read_bytes()) == zlib.crc32(
        content
    )
    if not kept:
        write_atomically(side_car, content)
    index = ShardIndex.open(side_car, shard=path.name)
    members = len(index.columns["offset"])
    return Indexed(path, side_car, len(index), members, len(data), kept)
