"""Shards and weights against what is on record of them, before anything is sent."""

import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path

from fiberaug.bars import ProgressBar
from fiberaug.errors import DataRefused, StoreError
from fiberaug.hub.subject import ADAPTER, Subject
from fiberaug.shards.index import ShardIndex
from fiberaug.shards.manifest import FILE as SET
from fiberaug.shards.manifest import Manifest, ShardEntry
from fiberaug.shards.resolve import SIDE_CAR, resolve
from fiberaug.synthetic.loading import FILE as GENERATOR
from fiberaug.synthetic.pool import Pool

__all__ = ["check_sound", "data_hash"]


def check_sound(subject: Subject, files: Mapping[str, Path], *, progress: bool) -> None:
    """Refuse a folder whose files are not those on record.

    Raises:
        DataRefused: A shard, an index or weights are missing, changed, or on no record.
        StoreError: One cannot be read.
    """
    if subject.kind in {"pool", "dataset"}:
        if subject.kind == "pool":
            Pool.open(subject.folder)
        _check_shards(subject.folder, files, progress=progress)
    elif subject.said:
        _check_weights(subject, files)


def _check_shards(folder: Path, files: Mapping[str, Path], *, progress: bool) -> None:
    manifest = Manifest.read(folder)
    expected = {entry.name for entry in manifest.shards}
    expected |= {f"{name}{SIDE_CAR}" for name in expected}
    surplus = sorted(
        name for name in files
        if name.endswith((".tar", SIDE_CAR)) and name not in expected
    )  # fmt: skip
    if surplus:
        raise DataRefused(
            f"{folder / surplus[0]} is not listed in {SET}: remove it, or convert the"
            " set again"
        )
    bar = ProgressBar(
        manifest.shards, unit="shard", desc="check", disable=None if progress else True
    )
    for entry in bar:
        _check_shard(folder, entry)


def _check_shard(folder: Path, entry: ShardEntry) -> None:
    path, side_car = folder / entry.name, folder / f"{entry.name}{SIDE_CAR}"
    for one in (path, side_car):
        if not one.is_file():
            raise DataRefused(f"{one} is missing, and {SET} lists it")
    size = path.stat().st_size
    if size != entry.bytes:
        raise DataRefused(f"{path} has {size} bytes, and {SET} says {entry.bytes}")
    if _sha256(path) != entry.sha256:
        raise DataRefused(f"{path} was changed: its SHA-256 is not that of {SET}")
    try:
        content = side_car.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {side_car}: {error.strerror}") from error
    if f"{zlib.crc32(content[64:]):08x}" != entry.index_crc32:
        raise DataRefused(
            f"{side_car} was changed: its CRC-32 is not that of {SET}; fiberaug index"
            " makes it anew"
        )
    ShardIndex.open(side_car, shard=entry.name)


def _check_weights(subject: Subject, files: Mapping[str, Path]) -> None:
    """Compare weights with the hashes of ``generator.json``."""
    for name, digest in _hashes(subject).items():
        if name not in files:
            raise DataRefused(
                f"{subject.folder / name} is missing, and {GENERATOR} names it"
            )
        found = _sha256(files[name])
        if found != digest:
            raise DataRefused(
                f"{subject.folder / name} was changed: its sha256 is {found:.12}...,"
                f" and {digest:.12}... is on record"
            )


def _hashes(subject: Subject) -> dict[str, str]:
    """Return the sha256 of each file of weights, as ``generator.json`` gives them."""
    told = subject.said.get("sha256")
    if isinstance(told, str):
        return {ADAPTER if subject.kind == "lora" else "generator.safetensors": told}
    if isinstance(told, dict):
        return {
            name if name.endswith(".safetensors") else f"{name}.safetensors": str(one)
            for name, one in told.items()
        }
    return {}


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error


def data_hash(folder: Path) -> str:
    """Return the fingerprint of a data set or pool, as trainings note it."""
    return resolve(str(folder)).fingerprint
