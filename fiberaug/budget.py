"""How many samples of an epoch may be broken before the run stops.

Every rank counts its own: ranks meet different samples, and a budget is no reason to
talk to each other. A run that was resumed counts from 0.
"""

import logging
from collections.abc import Iterable, Sequence

import torch

from fiberaug.errors import BudgetExceeded
from fiberaug.making import Failure

__all__ = ["LEAST", "ErrorBudget", "SharedBudget"]

LEAST = 10
"""Broken samples that are allowed in any epoch, however short."""

_log = logging.getLogger("fiberaug")
_SLOTS = 16_384
_EPOCH_BITS = 16


def _exceeded(broken: int, most: int, last: Failure) -> BudgetExceeded:
    return BudgetExceeded(
        f"{broken} samples of this epoch are broken, max_errors allows {most}; the"
        f" last: {last.reason}. Look at the data with `fiberaug verify --decode`, or"
        " raise max_errors",
        shard=last.shard,
        key=last.key,
        offset=last.offset,
        stage=last.stage,
    )


def _tell_sample(failure: Failure) -> None:
    _log.warning("broken sample: %s %s: %s", failure.shard, failure.key, failure.reason)


def _tell_shard(failure: Failure) -> None:
    count = "an unknown number of" if failure.samples is None else failure.samples
    _log.warning(
        "damaged shard, skipped: %s with %s samples: %s",
        failure.shard, count, failure.reason,
    )  # fmt: skip


def is_shard(failure: Failure) -> bool:
    """Return whether a whole shard failed: it has no key."""
    return failure.key is None


class ErrorBudget:
    """Counts distinct broken samples of an epoch and logs each once.

    Shards that are skipped do not count; they are logged once, and named again by
    :meth:`report`.

    Args:
        share: Share of the epoch that may be broken, in [0, 1].
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._broken: set[int] = set()
        self._shards: dict[str, Failure] = {}
        self._told: set[str] = set()

    def __len__(self) -> int:
        """Return the number of distinct broken samples of this epoch."""
        return len(self._broken)

    @property
    def shards(self) -> int:
        """Damaged shards of this epoch that were skipped."""
        return len(self._shards)

    def start(self) -> None:
        """Begin an epoch."""
        self._broken, self._shards = set(), {}

    def fresh(self, failures: Sequence[Failure]) -> list[Failure]:
        """Return the failures without shards that this run has named before."""
        found = []
        for failure in failures:
            if is_shard(failure):
                if failure.shard in self._told:
                    continue
                self._told.add(failure.shard)
            found.append(failure)
        return found

    def spend(self, failures: Iterable[Failure], *, samples: int) -> None:
        """Count failures.

        Args:
            failures: What failed, stand-ins and damaged shards included.
            samples: Samples of the epoch, as far as it is known.

        Raises:
            BudgetExceeded: More samples are broken than the budget allows.
        """
        last = None
        for failure in failures:
            if is_shard(failure):
                if failure.shard not in self._shards:
                    _tell_shard(failure)
                self._shards[failure.shard] = failure
                continue
            last = failure
            if failure.uid not in self._broken:
                _tell_sample(failure)
            self._broken.add(failure.uid)
        most = most_broken(self._share, samples)
        if last is not None and len(self._broken) > most:
            raise _exceeded(len(self._broken), most, last)

    def report(self, epoch: int) -> None:
        """Log which shards an epoch went without, if any."""
        if not self._shards:
            return
        counts = [failure.samples for failure in self._shards.values()]
        known = sum(count for count in counts if count is not None)
        more = " and more" if None in counts else ""
        names = list(self._shards)
        _log.warning(
            "epoch %d went without %d damaged shards with %d samples%s: %s%s",
            epoch, len(names), known, more, ", ".join(names[:10]),
            ", ..." if len(names) > 10 else "",
        )  # fmt: skip


def most_broken(share: float, samples: int) -> int:
    """Return how many samples of an epoch may be broken."""
    return max(LEAST, int(share * samples))


class SharedBudget:
    """Broken samples of an epoch, counted by all workers of a plain torch DataLoader.

    A table in shared memory without a lock, since a worker can die with one: a slot
    holds 47 bits of a sample's identity and 16 of the epoch, and what stands there of
    another epoch is free. Where two workers take one slot at once, the one that lost it
    takes another when it fails next. Up to 8,192 broken samples are counted together,
    beyond them each worker counts its own.
    """

    def __init__(self) -> None:
        slots = torch.zeros(_SLOTS, dtype=torch.int64)
        self._slots = slots.share_memory_()  # type: ignore[no-untyped-call]
        self._mine: dict[int, Failure] = {}
        self._epoch = -1
        self._lost: set[str] = set()

    def spend(
        self, failures: Iterable[Failure], *, epoch: int, share: float, samples: int
    ) -> None:
        """Count failures of this worker and log each once.

        Args:
            failures: What failed, stand-ins and damaged shards included.
            epoch: The epoch, from 0.
            share: Share of the epoch that may be broken, in [0, 1].
            samples: Samples of the epoch, as far as it is known.

        Raises:
            BudgetExceeded: The workers together met more than the budget allows.
        """
        if epoch != self._epoch:
            self._epoch, self._mine, self._lost = epoch, {}, set()
        last = None
        for failure in failures:
            if is_shard(failure):
                if failure.shard not in self._lost:
                    _tell_shard(failure)
                self._lost.add(failure.shard)
                continue
            last = failure
            if failure.uid not in self._mine:
                _tell_sample(failure)
            self._mine[failure.uid] = failure
        if last is None:
            return
        broken = self._count(epoch)
        most = most_broken(share, samples)
        if broken > most:
            raise _exceeded(broken, most, last)

    def _count(self, epoch: int) -> int:
        tag = epoch % 2**_EPOCH_BITS + 1 & 2**_EPOCH_BITS - 1
        slots = self._slots.numpy()
        for uid in self._mine:
            word = (uid >> 17 or 1) << _EPOCH_BITS | tag
            at = uid % _SLOTS
            for i in range(_SLOTS // 2):
                found = int(slots[(at + i) % _SLOTS])
                if found == word:
                    break
                if found & 2**_EPOCH_BITS - 1 != tag:
                    slots[(at + i) % _SLOTS] = word
                    break
        together = int((slots & 2**_EPOCH_BITS - 1 == tag).sum())
        return max(together, len(self._mine))
