"""From what the user wrote to a list of shards."""

import glob
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import braceexpand

from fiberaug.errors import (
    DataRefused,
    SecurityRefused,
    ShardDamaged,
    StoreError,
    UsageError,
)
from fiberaug.shards.index import read_head
from fiberaug.shards.manifest import FILE, Manifest, fingerprint
from fiberaug.shards.reader import ShardRef

__all__ = ["SIDE_CAR", "ShardSet", "expand", "resolve"]

SIDE_CAR = ".idx"
_MOST_SHARDS = 10_000_000
# Stages of webdataset that name, open, group or shuffle, and change no sample.
_PLAIN = frozenset({
    "FileCache", "SimpleShardList", "StreamingOpen", "check_empty", "detshuffle",
    "group_by_keys", "identity", "shuffle", "single_node_only", "split_by_node",
    "split_by_worker", "tar_file_expander", "tarfile_samples", "tarfile_to_samples",
    "url_opener",
})  # fmt: skip
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(//|(?=\S))")
_FILE_URL = re.compile(r"file:(//(localhost(?=/))?)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSet:
    """The shards of a data set in order."""

    refs: tuple[ShardRef, ...]
    """The shards."""

    manifest: Manifest | None
    """``dataset.json`` of the folder in which all shards lie, where it has one."""

    fingerprint: str
    """SHA-256 of the list of shards."""

    @property
    def counts(self) -> tuple[int, ...] | None:
        """Samples of each shard; None where a shard has no index."""
        counts = [ref.samples for ref in self.refs]
        return None if None in counts else tuple(c for c in counts if c is not None)


def _natural(text: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", text)
    return [(0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts]


def _check_scheme(text: str) -> None:
    if text.startswith("pipe:"):
        raise SecurityRefused(
            f"{text.split(maxsplit=1)[0]!r} would run a shell command; name the file or"
            " its folder"
        )
    match = _SCHEME.match(text)
    if match and match[1].lower() != "file" and not os.path.lexists(text):
        raise UsageError(
            f"{match[1]}: is not a protocol that this release reads; copy the shards to"
            " a local folder"
        )


def expand(shards: object) -> list[Path]:
    """Return the paths that the user's description of shards names, in order.

    Args:
        shards: A path with braces (``train-{000..015}.tar``) or a glob, a folder, a
            list of such, or a ``webdataset.WebDataset`` / ``DataPipeline`` that only
            names and opens shards.

    Raises:
        UsageError: Nothing is named, the braces do not close, or it is no description.
        SecurityRefused: It is a ``pipe:`` URL.
    """
    if isinstance(shards, str | Path):
        paths = _expand_text(str(shards)) if str(shards).strip() else []
    elif hasattr(shards, "pipeline"):
        paths = _expand_pipeline(shards)
    elif isinstance(shards, Iterable) and not isinstance(shards, bytes | Mapping):
        paths = [path for part in shards for path in expand(part)]
    else:
        raise UsageError(
            f"shards must be a path, a list or a WebDataset, got {shards!r}"
        )
    if not paths:
        raise UsageError(f"{shards!r} names no shard; check the path and the braces")
    return paths


def _expand_text(text: str) -> list[Path]:
    _check_scheme(text)
    text = _FILE_URL.sub("", text)
    if os.path.isdir(text):  # noqa: PTH112  # Path.is_dir raises where a name is too long
        found = sorted((str(p) for p in Path(text).glob("*.tar")), key=_natural)
        if not found:
            raise UsageError(
                f"{text!r} has no .tar file; `fiberaug convert {text} DST` makes shards"
                " of a folder of images"
            )
        return [Path(p) for p in found]
    if os.path.exists(text):  # noqa: PTH110  # as above
        return [Path(text)]
    try:
        names = list(islice(braceexpand.braceexpand(text), _MOST_SHARDS))
    except ValueError:  # braceexpand.UnbalancedBracesError
        raise UsageError(f"the braces in {text!r} do not close") from None
    paths: list[Path] = []
    for name in names:
        if glob.has_magic(name):
            found = glob.glob(name)  # noqa: PTH207  # Path.glob takes no absolute pattern
            paths += [Path(p) for p in sorted(found, key=_natural)]
        else:
            paths.append(Path(name))
    return paths


def _expand_pipeline(pipeline: object) -> list[Path]:
    stages = list(getattr(pipeline, "pipeline", ()))
    urls = next((s.urls for s in stages if hasattr(s, "urls")), None)
    if urls is None:
        raise UsageError("the webdataset object has no list of shards")
    foreign = [name for stage in stages if (name := _stage_name(stage)) not in _PLAIN]
    foreign += [
        option
        for stage in stages
        for option in ("select_files", "rename_files")
        if getattr(stage, "kw", {}).get(option) is not None
    ]
    if getattr(pipeline, "nsamples", -1) > 0:
        foreign.append("with_epoch")
    if foreign:
        raise UsageError(
            f"the webdataset object has stages that would be lost: {foreign}; give the"
            " shards alone, and the work to transform="
        )
    return [path for url in urls for path in expand(url)]


def _stage_name(stage: object) -> str:
    inner = getattr(stage, "f", None) or getattr(stage, "func", None)
    while inner is not None:
        stage, inner = inner, getattr(inner, "f", None) or getattr(inner, "func", None)
    return getattr(stage, "__name__", type(stage).__name__).lstrip("_")


def resolve(shards: object, *, index_dir: str | Path | None = None) -> ShardSet:
    """Return the shards that the user describes, with what is known of them.

    Args:
        shards: See :func:`expand`.
        index_dir: Folder of the side-cars. None: beside the shards.

    Raises:
        UsageError: See :func:`expand`.
        StoreError: A shard does not exist.
        ShardDamaged: ``dataset.json`` or a side-car is broken, or does not fit.
        DataRefused: Two shards have one file name: samples are named by it.
    """
    if isinstance(shards, str | Path):
        described = Path(_FILE_URL.sub("", str(shards))) / FILE
        if str(shards) and os.path.isfile(described):  # noqa: PTH113  # as below
            return _from_manifest(described.parent, index_dir)
    paths = expand(shards)
    names: dict[str, Path] = {}
    for path in paths:
        if path.name in names:
            raise DataRefused(
                f"{names[path.name]} and {path} have one file name, and samples are"
                " named by it; rename one, or make two data sets"
            )
        names[path.name] = path
    folder = None if index_dir is None else Path(index_dir)
    looked = [_look(path, folder or path.parent) for path in paths]
    refs = [ref for ref, _ in looked]
    rows = [row for _, row in looked]
    if any(ref.samples is None for ref in refs):
        # All or none: a plan needs every count.
        refs = [ShardRef(path=ref.path) for ref in refs]
        rows = [row[:2] for row in rows]
    home = paths[0].parent if len({path.parent for path in paths}) == 1 else None
    manifest = Manifest.read(home) if home and (home / FILE).is_file() else None
    return ShardSet(refs=tuple(refs), manifest=manifest, fingerprint=fingerprint(rows))


def _look(path: Path, index_dir: Path) -> tuple[ShardRef, tuple[object, ...]]:
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"cannot read {path}: {reason}", shard=path.name) from error
    if path.suffix in {".gz", ".tgz", ".xz", ".zst"}:
        raise UsageError(
            f"{path} is a compressed tar, which has no positions to seek to; unpack it"
            " to a plain .tar"
        )
    side_car = index_dir / (path.name + SIDE_CAR)
    if not side_car.is_file():
        return ShardRef(path=str(path)), (path.name, size)
    head = read_head(side_car, shard=path.name)
    if head.shard_bytes != size:
        raise ShardDamaged(
            f"the shard has {size} bytes, its index says {head.shard_bytes}; restore"
            " the shard, or index it again",
            shard=path.name,
            stage="read",
        )
    ref = ShardRef(
        path=str(path), index=str(side_car), samples=head.samples, digest=head.digest
    )
    return ref, (path.name, size, head.samples, head.digest)


def _from_manifest(folder: Path, index_dir: str | Path | None) -> ShardSet:
    manifest = Manifest.read(folder)
    refs: list[ShardRef] = []
    rows: list[tuple[object, ...]] = []
    indexes = folder if index_dir is None else Path(index_dir)
    for entry in manifest.shards:
        path = folder / entry.name
        refs.append(
            ShardRef(
                path=str(path),
                index=str(indexes / entry.name) + SIDE_CAR,
                samples=entry.samples,
                digest=entry.index_crc32,
            )
        )
        rows.append((entry.name, entry.bytes, entry.samples, entry.index_crc32))
    return ShardSet(refs=tuple(refs), manifest=manifest, fingerprint=fingerprint(rows))
