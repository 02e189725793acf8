"""From what the user wrote to a list of shards."""

import glob
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import braceexpand

from fiberaug.errors import DataRefused, ShardDamaged, StoreError, UsageError
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.index import read_head
from fiberaug.shards.manifest import (
    FILE,
    MARK,
    SEEKING,
    Manifest,
    Row,
    fingerprint,
)
from fiberaug.shards.pipes import is_pipe, pipe_name
from fiberaug.shards.reader import ShardRef
from fiberaug.shards.remote import (
    find_remote,
    home_of,
    look_remote,
    manifest_refs,
    read_manifest,
)
from fiberaug.shards.urls import check_url, file_name, is_remote, redact

__all__ = ["SIDE_CAR", "ShardSet", "expand", "list_names", "resolve"]

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

    cache: ShardCache | None = None
    """Where remote shards are kept; None: all are local."""

    @property
    def counts(self) -> tuple[int, ...] | None:
        """Samples of each shard; None where a shard has no index."""
        counts = [ref.samples for ref in self.refs]
        return None if None in counts else tuple(c for c in counts if c is not None)


def _natural(text: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", text)
    return [(0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts]


def _is_url(text: str) -> bool:
    return is_pipe(text) or (is_remote(text) and not os.path.lexists(text))


def _check_scheme(text: str, *, allow_pipe: bool) -> None:
    if is_pipe(text):
        check_url(text, allow_pipe=allow_pipe)
        pipe_name(text)
    match = _SCHEME.match(text)
    if match and match[1].lower() != "file" and not os.path.lexists(text):
        check_url(text, allow_pipe=allow_pipe)


def expand(shards: object) -> list[Path]:
    """Return the local paths that the user's description of shards names, in order.

    Args:
        shards: A path with braces (``train-{000..015}.tar``) or a glob, a folder, a
            list of such, or a ``webdataset.WebDataset`` / ``DataPipeline`` that only
            names and opens shards.

    Raises:
        UsageError: Nothing is named, the braces do not close, it is no description, or
            a shard is remote.
        SecurityRefused: It is a ``pipe:`` URL.
    """
    names = list_names(shards)
    for name in names:
        if _is_url(name):
            raise UsageError(
                f"{redact(name)} is remote; copy the shards to a local folder for this"
            )
    return [Path(name) for name in names]


def list_names(shards: object) -> list[str]:
    """Return paths and URLs, in order; otherwise as :func:`expand`."""
    return _expand(shards, allow_pipe=False)


def _expand(shards: object, *, allow_pipe: bool) -> list[str]:
    if isinstance(shards, str | Path):
        text = str(shards)
        names = _expand_text(text, allow_pipe=allow_pipe) if text.strip() else []
    elif hasattr(shards, "pipeline"):
        names = _expand_pipeline(shards, allow_pipe=allow_pipe)
    elif isinstance(shards, Iterable) and not isinstance(shards, bytes | Mapping):
        names = [n for part in shards for n in _expand(part, allow_pipe=allow_pipe)]
    else:
        raise UsageError(
            f"shards must be a path, a list or a WebDataset, got {shards!r}"
        )
    if not names:
        raise UsageError(f"{shards!r} names no shard; check the path and the braces")
    return names


def _expand_text(text: str, *, allow_pipe: bool) -> list[str]:
    _check_scheme(text, allow_pipe=allow_pipe)
    text = _FILE_URL.sub("", text)
    if os.path.isdir(text):  # noqa: PTH112  # Path.is_dir raises where a name is too long
        found = sorted((str(p) for p in Path(text).glob("*.tar")), key=_natural)
        if not found:
            raise UsageError(
                f"{text!r} has no .tar file; `fiberaug convert {text} DST` makes shards"
                " of a folder of images"
            )
        return _finished(found)
    if os.path.exists(text):  # noqa: PTH110  # as above
        return [text]
    try:
        parts = list(islice(braceexpand.braceexpand(text), _MOST_SHARDS))
    except ValueError:  # braceexpand.UnbalancedBracesError
        raise UsageError(f"the braces in {text!r} do not close") from None
    names: list[str] = []
    for part in parts:
        if is_pipe(part):
            names.append(part)
        elif is_remote(part):
            names += sorted(find_remote(part), key=_natural)
        elif glob.has_magic(part):
            names += _finished(sorted(glob.glob(part), key=_natural))  # noqa: PTH207  # Path.glob takes no absolute pattern
        else:
            names.append(part)
    return names


def _finished(names: list[str]) -> list[str]:
    """Return shards that were found in folders; refuse those still being written."""
    for home in {Path(name).parent for name in names}:
        if (home / MARK).exists() and not (home / FILE).exists():
            raise DataRefused(
                f"{home} is unfinished: its conversion was stopped, or still runs; the"
                " same command begins again"
            )
    return names


def _expand_pipeline(pipeline: object, *, allow_pipe: bool) -> list[str]:
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
    return [name for url in urls for name in _expand(url, allow_pipe=allow_pipe)]


def _stage_name(stage: object) -> str:
    inner = getattr(stage, "f", None) or getattr(stage, "func", None)
    while inner is not None:
        stage, inner = inner, getattr(inner, "f", None) or getattr(inner, "func", None)
    return getattr(stage, "__name__", type(stage).__name__).lstrip("_")


def resolve(
    shards: object,
    *,
    index_dir: str | Path | None = None,
    cache: ShardCache | None = None,
    allow_pipe: bool = False,
    skip: bool = False,
) -> ShardSet:
    """Return the shards that the user describes, with what is known of them.

    Args:
        shards: See :func:`expand`; also ``http(s)://``, ``s3://``, ``gs://`` and
            ``hf://``, and a folder there.
        index_dir: Folder of the side-cars. None: beside the shards.
        cache: Where remote shards are kept. None: this user's cache.
        allow_pipe: Take ``pipe:`` shards too.
        skip: Name a local shard that is missing or has another size than its index
            says as that index describes it: reading it will fail.

    Raises:
        UsageError: See :func:`expand`.
        SecurityRefused: A URL is one that is never fetched.
        StoreError: A shard does not exist.
        ShardDamaged: ``dataset.json`` or a side-car is broken, or does not fit.
        DataRefused: Two shards have one file name: samples are named by it.
    """
    indexes = None if index_dir is None else Path(index_dir)
    if isinstance(shards, str | Path) and str(shards):
        text = str(shards)
        described = Path(_FILE_URL.sub("", text)) / FILE
        if os.path.isfile(described):  # noqa: PTH113  # as below
            return _from_manifest(described.parent, indexes)
        if _is_url(text) and not is_pipe(text):
            cache = cache or ShardCache()
            found = _from_url(text, indexes, cache)
            if found is not None:
                return found
    names = _expand(shards, allow_pipe=allow_pipe)
    by_name: dict[str, str] = {}
    for name in names:
        file = _file_name(name)
        if file in by_name:
            raise DataRefused(
                f"{_shown(by_name[file])} and {_shown(name)} have one file name, and"
                " samples are named by it; rename one, or make two data sets"
            )
        by_name[file] = name
    for home in {Path(name).parent for name in names if not _is_url(name)}:
        _check_whole(home)
    if not any(map(_is_url, names)):
        found_here = [
            _look(Path(n), indexes or Path(n).parent, skip=skip) for n in names
        ]
        return _finish(found_here, _home(names))
    cache = cache or ShardCache()
    homes = {home_of(name) for name in names if is_remote(name)}
    manifest = None
    if len(homes) == 1 and all(map(is_remote, names)):
        manifest = read_manifest(homes.pop(), cache)
    looked = look_remote([n for n in names if _is_url(n)], indexes, cache, manifest)
    by_path = {ref.path: (ref, row) for ref, row in looked}
    rows = [
        by_path[n]
        if _is_url(n)
        else _look(Path(n), indexes or Path(n).parent, skip=skip)
        for n in names
    ]
    return _finish(rows, manifest, cache)


def _check_whole(home: Path) -> None:
    """Refuse a folder in which some shards are seekable, and others not yet."""
    if (home / SEEKING).exists():
        raise DataRefused(
            f"{home} is being made seekable: that was stopped, or still runs; `fiberaug"
            f" seekable {home}` goes on"
        )


def _file_name(name: str) -> str:
    if is_pipe(name):
        return pipe_name(name)
    return file_name(name) if _is_url(name) else Path(name).name


def _shown(name: str) -> str:
    return ShardRef(path=name).location


def _home(names: list[str]) -> Manifest | None:
    """Return ``dataset.json`` of the one folder that all shards lie in."""
    homes = {Path(name).parent for name in names}
    home = homes.pop()
    return Manifest.read(home) if not homes and (home / FILE).is_file() else None


def _finish(
    looked: list[tuple[ShardRef, Row]],
    manifest: Manifest | None,
    cache: ShardCache | None = None,
) -> ShardSet:
    refs = [ref for ref, _ in looked]
    rows = [row for _, row in looked]
    if any(ref.samples is None for ref in refs):
        # All or none: a plan needs every count.
        refs = [replace(ref, index=None, samples=None, digest=None) for ref in refs]
        rows = [row[:2] for row in rows]
    return ShardSet(
        refs=tuple(refs), manifest=manifest, fingerprint=fingerprint(rows), cache=cache
    )


def _from_url(text: str, indexes: Path | None, cache: ShardCache) -> ShardSet | None:
    """Return the set of a remote folder with ``dataset.json``, or None."""
    check_url(text)
    if file_name(text).endswith(".tar") or set(text) & set("{*["):
        return None
    manifest = read_manifest(text, cache)
    if manifest is None:
        return None
    return _finish(manifest_refs(manifest, text, indexes), manifest, cache)


def _look(path: Path, index_dir: Path, *, skip: bool) -> tuple[ShardRef, Row]:
    side_car = index_dir / (path.name + SIDE_CAR)
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if skip and side_car.is_file():
            return _described(path, side_car)
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"cannot read {path}: {reason}", shard=path.name) from error
    if path.suffix in {".gz", ".tgz", ".xz", ".zst"}:
        raise UsageError(
            f"{path} is a compressed tar, which has no positions to seek to; unpack it"
            " to a plain .tar"
        )
    if not side_car.is_file():
        return ShardRef(path=str(path)), (path.name, size)
    head = read_head(side_car, shard=path.name)
    if head.shard_bytes != size and not skip:
        raise ShardDamaged(
            f"the shard has {size} bytes, its index says {head.shard_bytes}; restore"
            " the shard, or index it again",
            shard=path.name,
            stage="read",
        )
    return _described(path, side_car)


def _described(path: Path, side_car: Path) -> tuple[ShardRef, Row]:
    head = read_head(side_car, shard=path.name)
    ref = ShardRef(
        path=str(path), index=str(side_car), samples=head.samples, digest=head.digest
    )
    return ref, (path.name, head.shard_bytes, head.samples, head.digest)


def _from_manifest(folder: Path, index_dir: Path | None) -> ShardSet:
    _check_whole(folder)
    manifest = Manifest.read(folder)
    refs: list[ShardRef] = []
    rows: list[Row] = []
    indexes = index_dir or folder
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
