"""The shards that samples come from, by what records call them."""

from collections.abc import Mapping

from fiberaug.errors import DataRefused, StoreError, UsageError
from fiberaug.making import Setup
from fiberaug.mix import REAL
from fiberaug.shards.index import ShardIndex
from fiberaug.shards.pool import ShardPool

__all__ = ["SourceShards"]


class SourceShards:
    """Finds samples by source, shard and number: two sources can name shards alike.

    Args:
        setup: The set, and what is mixed into it.
    """

    def __init__(self, setup: Setup) -> None:
        lanes = 2 * (setup.plan.lanes or 1)
        self._pool = ShardPool(setup.refs, most=max(128, lanes), cache=setup.cache)
        self._numbers: dict[tuple[str, str], int] = {}
        self.decoders = {REAL: setup.decoder}
        """What reads the samples of each source."""
        mixture, self._live = setup.mixture, frozenset[str]()
        if mixture is not None:
            self.decoders |= {one.name: one.decoder for one in mixture.sources}
            self._live = frozenset(one.name for one in mixture.sources if one.live)
        for number, ref in enumerate(setup.refs):
            source = None if mixture is None else mixture.source_of(number)
            self._numbers[REAL if source is None else source.name, ref.name] = number

    def index(self, origin: str, url: str) -> ShardIndex | None:
        """Return the index of a shard; None where it cannot be read.

        Raises:
            UsageError: The source makes its samples while the loader runs.
        """
        try:
            return self._pool[self._number(origin, url)].index
        except (DataRefused, StoreError):
            return None

    def members(self, origin: str, url: str, number: int) -> Mapping[str, memoryview]:
        """Return the members of a sample; none where it cannot be read.

        Args:
            origin: Its source; empty: the set itself.
            url: Name of its shard.
            number: Its number there.

        Raises:
            UsageError: The source makes its samples while the loader runs.
        """
        try:
            return self._pool[self._number(origin, url)].read(number)
        except (DataRefused, StoreError):  # what cannot be read is replaced
            return {}

    def _number(self, origin: str, url: str) -> int:
        if origin in self._live:
            raise UsageError(
                f"the source {origin!r} makes other samples each time: write a pool"
                " first, and mix that in"
            )
        return self._numbers[origin or REAL, url]
