"""How often each sample is dealt in an epoch: closed forms over counts, no samples.

A group (a class, or the whole set) has a total weight n and is dealt m times an epoch.
The sample that stands at weights [x, x + w) of its group is dealt
floor(((x + w) m + p) / n) - floor((x m + p) / n) times, p = epoch m (mod n). So a group
is dealt exactly m times in every epoch, and in any n epochs in a row each sample of
weight 1 exactly m times: what one epoch leaves out, the next ones bring.

Source: the line of J. Bresenham, "Algorithm for computer control of a digital plotter",
IBM Systems Journal 4(1), 1965.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError

__all__ = ["Balance", "allocate", "spread"]

_LARGEST = 2**62


def spread(counts: Sequence[int], most: int) -> tuple[int, ...]:
    """Return how many samples of each shard make an even part of ``most`` of them.

    It is the first ``most`` of all samples sorted by ((i + 1/2) / samples of the shard,
    shard), so a smaller part lies within a larger one.

    Args:
        counts: Samples of each shard.
        most: Size of the part, in [0, sum of counts].

    >>> spread((10, 10, 20), 4), spread((10, 10, 20), 5)
    ((1, 1, 2), (1, 1, 3))
    """
    sizes = np.asarray(counts, np.int64)
    if not 0 <= most <= sizes.sum():
        raise UsageError(f"the part must be in [0, {sizes.sum()}], got {most}")

    def below(share: float) -> NDArray[np.int64]:
        reached = np.floor(share * sizes + 0.5).astype(np.int64)
        within: NDArray[np.int64] = np.minimum(reached, sizes)
        return within

    low, high = 0.0, 1.0
    while True:
        middle = (low + high) / 2
        if middle in {low, high}:
            break
        if below(middle).sum() <= most:
            low = middle
        else:
            high = middle
    # Floats are off by some last places: which of the samples there come first, and
    # whether one is below at all, is decided in fractions.
    reached = high * sizes + 0.5
    nearest = np.rint(reached)
    near = np.abs(reached - nearest) <= reached * 2.0**-48
    upto = np.minimum(np.where(near, nearest, np.floor(reached)), sizes)
    upto = upto.astype(np.int64)
    taken = upto - (near & (upto == nearest))
    tied = [
        (Fraction(2 * int(taken[s]) + 1, 2 * int(sizes[s])), s)
        for s in np.flatnonzero(upto > taken).tolist()
    ]
    for _, s in sorted(tied)[: most - int(taken.sum())]:
        taken[s] += 1
    return tuple(taken.tolist())


def allocate(total: int, weights: Sequence[float]) -> tuple[int, ...]:
    """Return whole numbers in proportion to ``weights`` that sum up to ``total``.

    Largest remainders get what rounding down leaves; equal ones in their order. It is
    done in fractions: no rounding of floats differs between machines.

    >>> allocate(10, (1, 1, 1))
    (4, 3, 3)
    """
    exact = [Fraction(weight) for weight in weights]
    shares = [total * weight / sum(exact) for weight in exact]
    parts = [share.numerator // share.denominator for share in shares]
    order = sorted(range(len(parts)), key=lambda i: parts[i] - shares[i])
    for i in order[: total - sum(parts)]:
        parts[i] += 1
    return tuple(parts)


@dataclass(frozen=True, kw_only=True, eq=False)
class Balance:
    """How often the samples of each group are dealt in an epoch."""

    groups: NDArray[np.int64]
    """[G] class id of each group, ascending; one -1 where the whole set is one."""

    deals: NDArray[np.int64]
    """[G] m: how often each group is dealt in an epoch."""

    starts: NDArray[Any]
    """[shards + 1, G] weight of each group before each shard; the last row is n. An
    integer dtype; columns lie together."""

    unit: int = 1
    """Weight by which an epoch moves on: that of an ordinary sample."""

    @property
    def total(self) -> int:
        """Positions of an epoch."""
        return int(self.deals.sum())

    def counts(self, epoch: int) -> NDArray[np.int64]:
        """Return how many positions each shard has in an epoch, [shards]."""
        counts = np.zeros(len(self.starts) - 1, np.int64)
        for group in range(len(self.groups)):  # one at a time: little memory
            counts += np.diff(self._before(epoch, self.starts[:, group], group))
        return counts

    def rows(
        self,
        epoch: int,
        shard: int,
        labels: NDArray[np.int64],
        weights: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which sample each position of a shard is, and which repeat of it.

        Args:
            epoch: Epoch, from 0.
            shard: Number of the shard.
            labels: [samples] class ids; ignored where the whole set is one group.
            weights: [samples] weights; None: 1 each.

        Raises:
            UsageError: The samples do not have the weights that ``starts`` says.
        """
        group = np.zeros(len(labels), np.int64)
        known = np.ones(len(labels), np.bool_)
        if self.groups[0] >= 0:
            group = np.searchsorted(self.groups, labels)
            group = np.minimum(group, len(self.groups) - 1)
            known = self.groups[group] == labels
        size = np.ones(len(labels), np.int64) if weights is None else weights
        have = np.zeros(len(self.groups), np.int64)
        np.add.at(have, group, size)
        stated = self.starts[shard + 1].astype(np.int64) - self.starts[shard]
        if not known.all() or (have != stated).any():
            raise UsageError(
                f"shard {shard} has other classes or weights than were counted:"
                f" {have.tolist()[:20]}, expected {stated.tolist()[:20]}"
            )
        order = np.argsort(group, kind="stable")
        ends = np.cumsum(size[order])
        firsts = np.searchsorted(group[order], np.arange(len(self.groups)))
        before = np.concatenate([[0], ends])[firsts]
        end = np.empty(len(labels), np.int64)
        end[order] = ends - before[group[order]]
        end += self.starts[shard, group].astype(np.int64)
        repeats = self._before(epoch, end, group) - self._before(
            epoch, end - size, group
        )
        samples = np.repeat(np.arange(len(labels)), repeats)
        first = np.cumsum(repeats) - repeats
        return samples, np.arange(len(samples)) - np.repeat(first, repeats)

    def _before(
        self, epoch: int, weight: NDArray[Any], group: NDArray[np.int64] | int
    ) -> NDArray[np.int64]:
        """Return how often the weights below ``weight`` of each group are dealt."""
        whole = [max(1, n) for n in self.starts[-1].tolist()]
        deals = self.deals.tolist()
        phase = [epoch * m * self.unit % n for m, n in zip(deals, whole, strict=True)]
        small = max(n * m + n for m, n in zip(deals, whole, strict=True)) < _LARGEST
        kind: Any = np.int64 if small else object  # object: Python's own integers
        m, n, p = (np.asarray(part, kind)[group] for part in (deals, whole, phase))
        return np.asarray((weight.astype(kind) * m + p) // n).astype(np.int64)
