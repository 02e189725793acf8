"""From the row of a shard that the order deals to a sample of the shard."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.dealing import Balance
from fiberaug.errors import ShardDamaged, UsageError
from fiberaug.selecting import Selection, weights_of
from fiberaug.shards.index import ShardIndex
from fiberaug.tiled import Tiled

__all__ = ["Place", "Rows"]

_KEPT = 256
_NONE = np.zeros(0, np.int32)


class Place(NamedTuple):
    """What a row of a shard is."""

    number: int
    """Of the sample in its shard."""

    visit: int = 0
    """How often it was dealt before, in this pass."""

    tile: int | None = None
    """Number of the tile, where photos are cut."""


class _Found(NamedTuple):
    """What the rows of a shard are; an empty array where all have the same."""

    numbers: NDArray[np.int32]
    visits: NDArray[np.int32] = _NONE
    tiles: NDArray[np.int32] = _NONE


class Rows:
    """From the row of a shard that the order deals to a sample, a tile and a visit.

    Args:
        selection: The part of the set; None: all of it.
        balance: How often samples are dealt; None: once.
        weighted: Whether the balance goes by the index's weights.
        tiled: The tiles of the part; None: samples are whole.
    """

    def __init__(
        self,
        selection: Selection | None,
        balance: Balance | None,
        *,
        weighted: bool,
        tiled: Tiled | None = None,
    ) -> None:
        self._selection, self._balance = selection, balance
        self._weighted, self._tiled = weighted, tiled
        self._kept: OrderedDict[tuple[int, int], _Found] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what each process finds again."""
        return {**self.__dict__, "_kept": OrderedDict()}

    def place(
        self, epoch: int, shard: int, row: int, index: Callable[[], ShardIndex]
    ) -> Place:
        """Return what a row is.

        Args:
            epoch: Epoch, from 0.
            shard: Number of the shard.
            row: Row of the shard, as the order deals it.
            index: Opens the shard's index, where its rows are not kept.
        """
        found = self._of(epoch, shard, index)
        return Place(
            int(found.numbers[row]),
            int(found.visits[row]) if len(found.visits) else 0,
            int(found.tiles[row]) if len(found.tiles) else None,
        )

    def _of(self, epoch: int, shard: int, index: Callable[[], ShardIndex]) -> "_Found":
        name = (epoch if self._balance is not None else 0, shard)
        found = self._kept.get(name)
        if found is None:
            found = self._kept[name] = self._find(epoch, shard, index())
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(name)
        return found

    def chosen(self, shard: int, index: ShardIndex) -> NDArray[np.int64]:
        """Return the samples of a shard that take part, whatever is dealt of them."""
        if self._selection is None:
            return np.arange(len(index), dtype=np.int64)
        return self._selection.rows(shard, index)

    def numbers(
        self, epoch: int, shard: int, index: Callable[[], ShardIndex]
    ) -> NDArray[np.int32]:
        """Return the sample of each row of a shard; see :meth:`place`."""
        return self._of(epoch, shard, index).numbers

    def _find(self, epoch: int, shard: int, index: ShardIndex) -> _Found:
        tiles = _NONE
        if self._tiled is not None:
            chosen, numbers = self._tiled.places(shard, index)
            tiles = numbers.astype(np.int32)
        elif self._selection is not None:
            chosen = self._selection.rows(shard, index)
        else:
            chosen = np.arange(len(index), dtype=np.int64)
        if self._balance is None:
            return _Found(chosen.astype(np.int32), tiles=tiles)
        labels = index.columns["label"][chosen]
        weights = weights_of(index)[chosen] if self._weighted else None
        try:
            dealt, visits = self._balance.rows(epoch, shard, labels, weights)
        except UsageError as error:
            raise ShardDamaged(
                f"{error.message}; dataset.json and the index are not of one set: write"
                " them again, or take dataset.json away",
                shard=index.shard,
                stage="index",
            ) from None
        return _Found(
            chosen[dealt].astype(np.int32),
            visits.astype(np.int32),
            tiles[dealt] if len(tiles) else tiles,
        )
