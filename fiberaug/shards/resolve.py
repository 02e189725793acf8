"""From what the user wrote to a list of shards."""

import glob
import re
from collections.abc import Iterable
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
from fiberaug.shards.index import ShardIndex
from fiberaug.shards.manifest import FILE, Manifest, fingerprint
from fiberaug.shards.reader import ShardRef

__all__ = ["SIDE_CAR", "ShardSet", "expand", "resolve"]

SIDE_CAR = ".idx"
_MOST_SHARDS = 10_000_000
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(//|(?=\S))")


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
    return [(0, int(p), p) if p.isdigit() else (1, 0, p) for p in parts]


def _check_scheme(text: str) -> None:
    if text.startswith("pipe:"):
        raise SecurityRefused(
            f"{text.split(maxsplit=1)[0]!r} would run a shell command; name the file or its folder"
        )
    match = _SCHEME.match(text)
    if match and match[1].lower() != "file" and len(match[1]) > 1:
        raise UsageError(
            f"{match[1]}: is not a protocol that this release reads; copy the shards to a"
            " local folder"
        )


def expand(shards: object) -> list[Path]:
    """Return the paths that the user's description of shards names, in order.

    Args:
        shards: A path with braces (``train-{000..015}.tar``) or a glob, a folder, a list
            of such, or a ``webdataset.WebDataset`` / ``DataPipeline`` that only names
            and opens shards.

    Raises:
        UsageError: Nothing is named, the braces do not close, or it is no description.
        SecurityRefused: It is a ``pipe:`` URL.
    """
    if isinstance(shards, str | Path):
        paths = _expand_text(str(shards))
    elif hasattr(shards, "pipeline"):
        paths = _expand_pipeline(shards)
    elif isinstance(shards, Iterable):
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
    text = text.removeprefix("file://")
    if Path(text).is_dir():
        found = sorted((str(p) for p in Path(text).glob("*.tar")), key=_natural)
        if not found:
            raise UsageError(
                f"{text!r} has no .tar file; `fiberaug convert {text} DST` makes shards"
                " of a folder of images"
            )
        return [Path(p) for p in found]
    if Path(text).exists():
        return [Path(text)]
    try:
        names = list(islice(braceexpand.braceexpand(text), _MOST_SHARDS))
    except ValueError:  # braceexpand.UnbalancedBracesError
        raise UsageError(f"the braces in {text!r} do not close") from None
    paths: list[Path] = []
    for name in names:
        if glob.has_magic(name):
            paths += [Path(p) for p in sorted(glob.glob(name), key=_natural)]
        else:
            paths.append(Path(name))
    return paths


def _expand_pipeline(pipeline: object) -> list[Path]:
    stages = list(getattr(pipeline, "pipeline", ()))
    urls = next((s.urls for s in stages if hasattr(s, "urls")), None)
    if urls is None:
        raise UsageError("the webdataset object has no list of shards")
    foreign = [
        name
        for stage in stages
        if not hasattr(stage, "urls")
        and (name := _stage_name(stage))
        not in {"split_by_node", "split_by_worker", "single_node_only", "tarfile_to_samples",
                "tarfile_samples", "url_opener", "tar_file_expander", "group_by_keys", "shuffle",
                "detshuffle", "check_empty", "identity", "StreamingOpen", "FileCache"}
    ]  # fmt: skip
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
    return getattr(stage, "__name__", type(stage).__name__)


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
    if isinstance(shards, str | Path) and (Path(shards) / FILE).is_file():
        return _from_manifest(Path(shards))
    paths = expand(shards)
    names: dict[str, Path] = {}
    for path in paths:
        if path.name in names:
            raise DataRefused(
                f"{names[path.name]} and {path} have one file name, and samples are named"
                " by it; rename one, or make two data sets"
            )
        names[path.name] = path
    refs, rows = [], []
    for path in paths:
        ref, row = _look(
            path, Path(index_dir) if index_dir is not None else path.parent
        )
        refs.append(ref)
        rows.append(row)
    if any(
        ref.samples is None for ref in refs
    ):  # all or none: a plan needs every count
        refs = [ShardRef(path=ref.path) for ref in refs]
        rows = [row[:2] for row in rows]
    folders = {path.parent for path in paths}
    folder = folders.pop() if len(folders) == 1 else None
    manifest = Manifest.read(folder) if folder and (folder / FILE).is_file() else None
    return ShardSet(refs=tuple(refs), manifest=manifest, fingerprint=fingerprint(rows))


def _look(path: Path, index_dir: Path) -> tuple[ShardRef, tuple[object, ...]]:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise StoreError(
            f"cannot read {path}: {error.strerror or error}", shard=path.name
        ) from error
    if path.suffix in {".gz", ".tgz", ".xz", ".zst"}:
        raise UsageError(
            f"{path} is a compressed tar, which has no positions to seek to; unpack it"
            " to a plain .tar"
        )
    side_car = index_dir / (path.name + SIDE_CAR)
    if not side_car.is_file():
        return ShardRef(path=str(path)), (path.name, size)
    index = ShardIndex.open(side_car, shard=path.name)
    if index.shard_bytes != size:
        raise ShardDamaged(
            f"the shard has {size} bytes, its index says {index.shard_bytes}; restore the"
            " shard, or index it again",
            shard=path.name,
            stage="read",
        )
    digest = index.digest
    ref = ShardRef(
        path=str(path), index=str(side_car), samples=len(index), digest=digest
    )
    return ref, (path.name, size, len(index), digest)


def _from_manifest(folder: Path) -> ShardSet:
    manifest = Manifest.read(folder)
    refs: list[ShardRef] = []
    rows: list[tuple[object, ...]] = []
    for entry in manifest.shards:
        path = folder / entry.name
        refs.append(
            ShardRef(
                path=str(path),
                index=str(path) + SIDE_CAR,
                samples=entry.samples,
                digest=entry.index_crc32,
            )
        )
        rows.append((entry.name, entry.bytes, entry.samples, entry.index_crc32))
    return ShardSet(refs=tuple(refs), manifest=manifest, fingerprint=fingerprint(rows))
