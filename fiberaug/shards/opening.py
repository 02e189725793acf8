"""Remote shards as files of the cache, checked before anything is read from them."""

import mmap
from pathlib import Path

from fiberaug.errors import SampleBroken, ShardDamaged
from fiberaug.shards.cache import Cached, Check, ShardCache
from fiberaug.shards.fetching import Remote
from fiberaug.shards.index import ShardIndex
from fiberaug.shards.reader import ShardFile, ShardRef, build_index, check_bytes
from fiberaug.shards.tar import Limits
from fiberaug.shards.urls import is_remote

__all__ = ["RemoteFile", "check_digest", "open_shard", "prefetch_shard", "read_index"]


class RemoteFile(ShardFile):
    """One remote shard. Its index is there when it is opened, its bytes when read.

    Args:
        ref: The shard.
        cache: Where its files are.
        verify: Check the CRC-32 of every member that is read, where the index has it.
            A file with wrong bytes is fetched again, once, before the sample is broken.
    """

    def __init__(
        self,
        ref: ShardRef,
        cache: ShardCache,
        *,
        verify: bool = True,
        limits: Limits | None = None,
    ) -> None:
        self._cache = cache
        self._cached: Cached | None = None
        self.paths: list[Path] = []
        """Its files in the cache, as far as they were needed."""
        super().__init__(ref, verify=verify, limits=limits)

    def read(self, i: int) -> dict[str, memoryview]:
        """Return the members of sample ``i``; see :meth:`ShardFile.read`.

        Raises:
            StoreError: The shard cannot be fetched.
        """
        try:
            return super().read(i)
        except SampleBroken:
            if self._cached is None or not self._cache.renew(
                self.ref.location, self._cached
            ):
                raise
        self._cached = None
        return super().read(i)

    def _open(self) -> ShardIndex:
        index, self.paths = _index(self.ref, self._cache)
        if index is None:
            built: list[ShardIndex] = []
            self._fetch(_check_tar(self.ref, self._limits, built))
            index = built[-1]
        return index

    def _bytes(self) -> mmap.mmap:
        if self._cached is None:
            return self._fetch(_check_bytes(self.index)).data
        return self._cached.data

    def _fetch(self, check: Check) -> Cached:
        self._cached = self._cache.open(
            self.ref.path, shard=self.ref.name, known=_known(self.ref), check=check
        )
        self.paths.append(self._cached.path)
        return self._cached


def open_shard(
    ref: ShardRef,
    cache: ShardCache | None = None,
    *,
    verify: bool = True,
    limits: Limits | None = None,
) -> ShardFile:
    """Return a shard, through the cache where it is remote.

    Args:
        ref: The shard.
        cache: Where remote shards are kept.
        verify: Check what is read: see :class:`ShardFile`.
        limits: Limits of the reader.

    Raises:
        StoreError: It cannot be read or fetched.
        ShardDamaged: It or its index is damaged.
        UsageError: It is remote, and there is no cache.
    """
    if ref.opener is not None:
        return ref.opener(ref, verify=verify, limits=limits)
    if cache is not None and ref.remote:
        return RemoteFile(ref, cache, verify=verify, limits=limits)
    return ShardFile(ref, verify=verify, limits=limits)


def read_index(ref: ShardRef, cache: ShardCache | None = None) -> ShardIndex:
    """Return the index of a shard, without the shard where it has a side-car.

    Raises:
        StoreError: It cannot be read or fetched.
        ShardDamaged: It is damaged.
    """
    if ref.index is None:
        return open_shard(ref, cache).index
    if cache is None:
        return ShardIndex.open(Path(ref.index), shard=ref.name)
    index, _ = _index(ref, cache)
    return index if index is not None else open_shard(ref, cache).index


def prefetch_shard(ref: ShardRef, cache: ShardCache) -> list[Path]:
    """Bring a remote shard and its side-car into the cache; return the files.

    Raises:
        StoreError: It cannot be fetched.
        ShardDamaged: It or its index is damaged.
    """
    index, paths = _index(ref, cache)
    check = _check_tar(ref, Limits(), []) if index is None else _check_bytes(index)
    path = cache.prefetch(ref.path, shard=ref.name, known=_known(ref), check=check)
    return [*paths, path]


def _known(ref: ShardRef) -> Remote | None:
    return Remote(size=ref.bytes, version=ref.version) if ref.version else None


def _index(ref: ShardRef, cache: ShardCache) -> tuple[ShardIndex | None, list[Path]]:
    """Return the index from its side-car, and the side-car's file in the cache."""
    if ref.index is None:
        return None, []
    if not is_remote(ref.index):
        return _sound_index(Path(ref.index), ref), []
    opened: list[ShardIndex] = []

    def check(path: Path, data: mmap.mmap) -> None:
        del data  # mapped again, by the index itself
        opened.append(_sound_index(path, ref))

    cached = cache.open(ref.index, shard=ref.name, check=check)
    return opened[-1], [cached.path]


def _sound_index(path: Path, ref: ShardRef) -> ShardIndex:
    index = ShardIndex.open(path, shard=ref.name)
    check_digest(index, ref)
    return index


def check_digest(index: ShardIndex, ref: ShardRef) -> None:
    """Refuse an index that is not the one of the data set.

    Raises:
        ShardDamaged: Its checksum is another one.
    """
    if ref.digest is not None and ref.digest != index.digest:
        raise ShardDamaged(
            f"the side-car has the checksum {index.digest}, the data set says"
            f" {ref.digest}; make dataset.json and the index again",
            shard=ref.name,
            stage="index",
        )


def _check_bytes(index: ShardIndex) -> Check:
    return lambda _path, data: check_bytes(len(data), index)


def _check_tar(ref: ShardRef, limits: Limits, built: list[ShardIndex]) -> Check:
    """Return a check by the strict reader, which leaves the index in ``built``."""
    return lambda _path, data: built.append(
        build_index(data, shard=ref.name, limits=limits)
    )
