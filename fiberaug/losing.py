"""Shards that are damaged: which are lost in an epoch, and what was not yet told."""

import logging
from collections.abc import Sequence

from fiberaug.errors import DataRefused, FiberAugError, ShardDamaged, StoreError
from fiberaug.making import Failure
from fiberaug.shards.reader import ShardRef

__all__ = ["LostShards"]

_log = logging.getLogger("fiberaug")
_EPOCHS = 2


class LostShards:
    """The damaged shards that this process has found, epoch by epoch.

    A new epoch looks at all of them again.

    Args:
        refs: The shards of the set.
    """

    def __init__(self, refs: Sequence[ShardRef]) -> None:
        self._refs = refs
        self._found: dict[int, dict[int, DataRefused | StoreError]] = {}
        self._news: list[Failure] = []

    def get(self, epoch: int, shard: int) -> DataRefused | StoreError | None:
        """Return why a shard is lost, or None."""
        found = self._found.get(epoch)
        return None if found is None else found.get(shard)

    def count(self, epoch: int) -> int:
        """Return how many shards of the epoch are lost."""
        return len(self._found.get(epoch, ()))

    def add(
        self,
        epoch: int,
        position: int,
        shard: int,
        error: DataRefused | StoreError,
        *,
        uid: int,
    ) -> None:
        """Note a shard that is lost.

        Raises:
            ShardDamaged: It was the last of the set.
        """
        found = self._found.setdefault(epoch, {})
        if shard in found:
            return
        while len(self._found) > _EPOCHS:
            self._found.pop(next(iter(self._found)))
        found[shard] = error.with_traceback(None)
        ref = self._refs[shard]
        failure = Failure(
            shard=error.shard or ref.name,
            key=None,
            offset=error.offset,
            stage=error.stage,
            reason=f"{type(error).__name__}: {error.message}",
            uid=uid,
            epoch=epoch,
            position=position,
            attempt=0,
            samples=ref.samples,
        )
        self._news.append(failure)
        _log.info("epoch %d goes on without shard %s: %s", epoch, ref.name, error)
        if len(found) == len(self._refs):
            raise _all_lost(error, len(found))

    def news(self) -> list[Failure]:
        """Return the shards that were found since the last call."""
        news, self._news = self._news, []
        return news


def _all_lost(error: FiberAugError, shards: int) -> ShardDamaged:
    """Return the error of a set of which no shard is left."""
    return ShardDamaged(
        f"all {shards} shards of the set are damaged; the last: {error.message}",
        shard=error.shard,
        offset=error.offset,
        stage=error.stage,
    )
