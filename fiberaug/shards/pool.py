"""The shards of a set that a process has open."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from fiberaug.shards.cache import ShardCache
from fiberaug.shards.fetchers import Fetchers
from fiberaug.shards.opening import RemoteFile, open_shard, prefetch_shard
from fiberaug.shards.reader import ShardFile, ShardRef

__all__ = ["ShardPool"]

_THREADS = 4


class ShardPool:
    """The shards of a set, the most recently used ones kept open.

    Args:
        refs: The shards in the data set's order.
        most: How many stay open; at least the lanes that are read side by side.
        cache: Where remote shards are kept. None: all are local.
    """

    def __init__(
        self,
        refs: tuple[ShardRef, ...],
        *,
        most: int = 128,
        cache: ShardCache | None = None,
    ) -> None:
        self._refs, self._most, self._cache = refs, most, cache
        self._open: OrderedDict[int, ShardFile] = OrderedDict()
        self._counts: dict[int, int] = {}
        self._fetched: dict[int, list[Path]] = {}
        self._fetchers: Fetchers | None = None
        if cache is not None:
            self._fetchers = Fetchers(
                partial(_fetch, refs, cache, self._fetched), most=_THREADS
            )

    def __getitem__(self, shard: int) -> ShardFile:
        """Return an open shard."""
        file = self._open.get(shard)
        if file is None:
            file = self._open[shard] = open_shard(self._refs[shard], self._cache)
            if len(self._open) > self._most:
                self._open.popitem(last=False)  # unmapped when its last view goes
        else:
            self._open.move_to_end(shard)
        return file

    def count(self, shard: int) -> int:
        """Return the number of samples of a shard, opening it where it is not known."""
        samples = self._refs[shard].samples
        if samples is not None:
            return samples
        if shard not in self._counts:
            self._counts[shard] = len(self[shard].index)
        return self._counts[shard]

    def want(self, shards: Iterable[int]) -> None:
        """Fetch shards in the background, where they are remote and not there."""
        if self._fetchers is not None:
            self._fetchers.want(
                s for s in shards if s not in self._open and s not in self._fetched
            )

    def move(self, live: Iterable[int], ahead: Sequence[int]) -> None:
        """Let go of remote shards that are not read any more, and fetch the next ones.

        Args:
            live: Shards that this process reads.
            ahead: Shards that it will read, the first needed first.
        """
        if self._cache is None:
            return
        used = {*live, *ahead}
        # A mapped file takes up the disk also when it was removed from the cache.
        for shard in [s for s in self._open if s not in used]:
            del self._open[shard]
        for shard in [s for s in list(self._fetched) if s not in used]:
            del self._fetched[shard]
        for shard in used:
            file = self._open.get(shard)
            paths = file.paths if isinstance(file, RemoteFile) else []
            self._cache.touch(paths or self._fetched.get(shard, ()))
        self.want(ahead)


def _fetch(
    refs: tuple[ShardRef, ...],
    cache: ShardCache,
    fetched: dict[int, list[Path]],
    shard: int,
) -> None:
    if refs[shard].remote:
        fetched[shard] = prefetch_shard(refs[shard], cache)
