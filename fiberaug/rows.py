"""From the row of a shard that the order deals to a sample of the shard."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.dealing import Balance
from fiberaug.errors import ShardDamaged, UsageError
from fiberaug.selecting import Selection, weights_of
from fiberaug.shards.index import ShardIndex

__all__ = ["Rows"]

_KEPT = 256


class Rows:
    """From the row of a shard that the order deals to a sample, and to its visit.

    Args:
        selection: The part of the set; None: all of it.
        balance: How often samples are dealt; None: once.
        weighted: Whether the balance goes by the index's weights.
    """

    def __init__(
        self, selection: Selection | None, balance: Balance | None, *, weighted: bool
    ) -> None:
        self._selection, self._balance = selection, balance
        self._weighted = weighted
        self._kept: OrderedDict[tuple[int, int], tuple[NDArray[Any], ...]]
        self._kept = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what each process finds again."""
        return {**self.__dict__, "_kept": OrderedDict()}

    def place(
        self, epoch: int, shard: int, row: int, index: Callable[[], ShardIndex]
    ) -> tuple[int, int]:
        """Return (number of the sample in its shard, visit).

        Args:
            epoch: Epoch, from 0.
            shard: Number of the shard.
            row: Row of the shard, as the order deals it.
            index: Opens the shard's index, where its rows are not kept.
        """
        name = (epoch if self._balance is not None else 0, shard)
        found = self._kept.get(name)
        if found is None:
            found = self._kept[name] = self._find(epoch, shard, index())
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(name)
        samples, visits = found
        return int(samples[row]), int(visits[row]) if len(visits) else 0

    def _find(
        self, epoch: int, shard: int, index: ShardIndex
    ) -> tuple[NDArray[Any], ...]:
        chosen = np.arange(len(index), dtype=np.int64)
        if self._selection is not None:
            chosen = self._selection.rows(shard, index)
        if self._balance is None:
            return chosen.astype(np.int32), np.zeros(0, np.int32)
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
        return chosen[dealt].astype(np.int32), visits.astype(np.int32)
