"""Shards behind URLs: which there are, their sizes and versions, their side-cars."""

import errno
import logging
import mmap
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from fiberaug.errors import ShardDamaged, StoreError, UsageError
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.fetching import list_folder, read_small, stat
from fiberaug.shards.index import Head, ShardIndex, read_head
from fiberaug.shards.manifest import FILE, Manifest, Row, ShardEntry
from fiberaug.shards.pipes import is_pipe
from fiberaug.shards.reader import ShardRef
from fiberaug.shards.urls import file_name, join, redact

__all__ = ["find_remote", "home_of", "look_remote", "manifest_refs", "read_manifest"]

_log = logging.getLogger("fiberaug")
_SIDE_CAR = ".idx"
_AT_A_TIME = 16  # requests
_MANIFEST_BYTES = 2**30
_COMPRESSED = (".gz", ".tgz", ".xz", ".zst")
# A bucket that does not let its objects be listed says "forbidden" of what is absent.
_ABSENT = {errno.ENOENT, errno.EACCES}

Looked = tuple[ShardRef, Row]


def home_of(url: str) -> str:
    """Return the folder of an object; a query belongs to the object alone.

    >>> home_of("https://host/sets/a.tar?X-Amz-Signature=1")
    'https://host/sets/'
    """
    parts = urlsplit(url)
    folder = parts.path.rpartition("/")[0] + "/"
    return urlunsplit((parts.scheme, parts.netloc, folder, "", ""))


def find_remote(text: str) -> list[str]:
    """Return the shards that a URL names: itself, a glob's, or those of a folder.

    Raises:
        UsageError: It is compressed, or a glob or a folder of a store without listing.
        StoreError: The folder cannot be listed.
    """
    listed = text.split(":", 1)[0].lower() not in {"http", "https"}
    pattern = text.rpartition("/")[2] if listed else file_name(text)
    if pattern.endswith(_COMPRESSED):
        raise UsageError(
            f"{redact(text)} is a compressed tar, which has no positions to seek to;"
            " unpack it to a plain .tar"
        )
    folder = not pattern.endswith(".tar")
    if not set(text) & set("*[") and not (listed and "?" in text):
        if not folder or (not listed and urlsplit(text).query):
            return [text]
        pattern, home = "*.tar", text.rstrip("/") + "/"
    else:
        home = text.rpartition("/")[0] + "/"
    if not listed:
        raise UsageError(
            f"{redact(text)} is a folder without {FILE} or a glob, and http(s) has no"
            " listing; name the shards with braces (train-{000..015}.tar), or put"
            f" {FILE} there (`fiberaug index` writes it)"
        )
    if set(home) & set("*[?"):
        raise UsageError(
            f"{redact(text)}: a glob can stand in the file name only; name the folders"
            " with braces"
        )
    found = {file_name(entry) for entry in list_folder(home)}
    return [join(home, name) for name in found if fnmatchcase(name, pattern)]


def read_manifest(folder: str, cache: ShardCache) -> Manifest | None:
    """Return ``dataset.json`` of a remote folder, or None where there is none.

    Raises:
        StoreError: The store does not answer.
        ShardDamaged: It is none.
    """
    url = join(folder, FILE)
    try:
        content = read_small(url, most=_MANIFEST_BYTES, policy=cache.policy)
    except StoreError as error:
        if error.errno in _ABSENT:
            return None
        raise
    return Manifest.parse(content, redact(url))


def manifest_refs(
    manifest: Manifest, folder: str, index_dir: Path | None
) -> list[Looked]:
    """Return the shards of a remote folder as its ``dataset.json`` lists them."""
    return [
        _listed(join(folder, entry.name), entry, index_dir) for entry in manifest.shards
    ]


def _listed(url: str, entry: ShardEntry, index_dir: Path | None) -> Looked:
    ref = ShardRef(
        path=url, index=_side_car(url, index_dir), samples=entry.samples,
        digest=entry.index_crc32, bytes=entry.bytes,
    )  # fmt: skip
    return ref, (entry.name, entry.bytes, entry.samples, entry.index_crc32)


def _side_car(url: str, index_dir: Path | None) -> str:
    """Return where the side-car is: in ``index_dir``, else beside the shard."""
    name = file_name(url) + _SIDE_CAR
    if index_dir is not None and (index_dir / name).is_file():
        return str(index_dir / name)
    return join(home_of(url), name)


def look_remote(
    urls: Sequence[str],
    index_dir: Path | None,
    cache: ShardCache,
    manifest: Manifest | None,
) -> list[Looked]:
    """Return what is known of shards: by ``dataset.json``, else as the store says.

    Raises:
        StoreError: A shard does not exist, or the store does not answer.
        ShardDamaged: A side-car is broken, or does not fit.
    """
    entries = {} if manifest is None else {e.name: e for e in manifest.shards}
    look = partial(_look, index_dir=index_dir, cache=cache, entries=entries)
    with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="fiberaug-look") as threads:
        return list(threads.map(look, urls))


def _look(
    url: str,
    *,
    index_dir: Path | None,
    cache: ShardCache,
    entries: Mapping[str, ShardEntry],
) -> Looked:
    if is_pipe(url):
        ref = ShardRef(path=url)
        return ref, (ref.name, None)
    name = file_name(url)
    if name in entries:
        return _listed(url, entries[name], index_dir)
    try:
        found = stat(url, policy=cache.policy)
    except StoreError as error:
        error.located(shard=name, stage="read")
        raise
    side_car = _side_car(url, index_dir)
    head = _head(side_car, name, cache)
    size = found.size if head is None or found.size is not None else head.shard_bytes
    if head is None:
        ref = ShardRef(path=url, bytes=size, version=found.version)
        return ref, (name, size)
    if head.shard_bytes != size:
        raise ShardDamaged(
            f"the shard has {size} bytes, its index says {head.shard_bytes}; restore"
            " the shard, or index it again",
            shard=name,
            stage="read",
        )
    ref = ShardRef(
        path=url, index=side_car, samples=head.samples, digest=head.digest, bytes=size,
        version=found.version,
    )  # fmt: skip
    return ref, (name, size, head.samples, head.digest)


def _head(side_car: str, shard: str, cache: ShardCache) -> Head | None:
    """Return the header of a side-car, or None where there is none."""
    if "://" not in side_car:
        return read_head(Path(side_car), shard=shard)
    heads: list[Head] = []

    def check(path: Path, data: mmap.mmap) -> None:
        del data  # mapped again, by the index itself
        ShardIndex.open(path, shard=shard)
        heads.append(read_head(path, shard=shard))

    try:
        cache.open(side_car, shard=shard, check=check)
    except StoreError as error:
        if error.errno not in _ABSENT:
            raise
        _log.info("%s is not there: read without an index", redact(side_car))
        return None
    return heads[-1]
