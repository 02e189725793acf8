"""What the indexes of shards say of each photo: where it lies, its class, its size."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fiberaug.dataset import StreamingDataset
from fiberaug.shards.opening import read_index
from fiberaug.splits import split_numbers

__all__ = ["Table"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Photos of a data set, in its order; arrays [N]."""

    shards: NDArray[np.int64]
    """Number of the shard."""

    numbers: NDArray[np.int64]
    """Number of the photo in its shard."""

    labels: NDArray[np.int64]
    """Class id; -1: none."""

    sizes: NDArray[np.int64]
    """(height, width) of the upright photo, px, [N, 2]; 0: not known."""

    split: NDArray[np.float64]
    """A hash of group or key in [0, 1)."""

    @classmethod
    def of(cls, dataset: StreamingDataset) -> Self:
        """Return the photos of a data set that has an index.

        Raises:
            StoreError: An index cannot be read.
            ShardDamaged: An index is broken.
        """
        setup, found = dataset.setup, []
        for number, ref in enumerate(dataset.shard_set.refs):
            index = read_index(ref, dataset.shard_set.cache)
            rows = np.arange(len(index), dtype=np.int64)
            if setup.rows is not None:
                rows = setup.rows.chosen(number, index)
            columns = index.columns
            sizes = np.stack([columns["height"][rows], columns["width"][rows]], axis=1)
            found.append(
                (
                    np.full(len(rows), number, np.int64),
                    rows,
                    columns["label"][rows].astype(np.int64),
                    sizes.astype(np.int64),
                    split_numbers(index)[rows],
                )
            )
        shards, numbers, labels, sizes, split = (
            np.concatenate(parts) for parts in zip(*found, strict=True)
        )
        return cls(
            shards=shards, numbers=numbers, labels=labels, sizes=sizes, split=split
        )

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.labels)

    def __getitem__(self, chosen: NDArray[np.bool_]) -> "Table":
        """Return the photos that are chosen."""
        return Table(
            shards=self.shards[chosen], numbers=self.numbers[chosen],
            labels=self.labels[chosen], sizes=self.sizes[chosen],
            split=self.split[chosen],
        )  # fmt: skip

    def none(self) -> "Table":
        """Return no photos."""
        return self[np.zeros(len(self), bool)]

    def known_sizes(self) -> NDArray[np.int64]:
        """Return the sizes that are known, px, int64 [n, 2]."""
        return self.sizes[(self.sizes > 0).all(axis=1)]
