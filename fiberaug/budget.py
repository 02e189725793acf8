"""How many samples of an epoch may be broken before the run stops."""

import logging
from collections.abc import Iterable

from fiberaug.errors import BudgetExceeded
from fiberaug.making import Failure

__all__ = ["LEAST", "ErrorBudget"]

LEAST = 10
"""Broken samples that are allowed in any epoch, however short."""

_log = logging.getLogger("fiberaug")


class ErrorBudget:
    """Counts distinct broken samples of an epoch and logs each once.

    Args:
        share: Share of the epoch that may be broken, in [0, 1].
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._broken: set[int] = set()

    def __len__(self) -> int:
        """Return the number of distinct broken samples of this epoch."""
        return len(self._broken)

    def start(self) -> None:
        """Begin an epoch."""
        self._broken = set()

    def spend(self, failures: Iterable[Failure], *, samples: int) -> None:
        """Count failures.

        Args:
            failures: What failed, stand-ins included.
            samples: Samples of the epoch, as far as it is known.

        Raises:
            BudgetExceeded: More samples are broken than the budget allows.
        """
        last = None
        for last in failures:
            if last.uid not in self._broken:
                _log.warning(
                    "broken sample: %s %s: %s", last.shard, last.key, last.reason
                )
            self._broken.add(last.uid)
        most = max(LEAST, int(self._share * samples))
        if last is not None and len(self._broken) > most:
            raise BudgetExceeded(
                f"{len(self._broken)} samples of this epoch are broken, max_errors"
                f" allows {most}; the last: {last.reason}. Look at the data with"
                " `fiberaug verify --decode`, or raise max_errors",
                shard=last.shard,
                key=last.key,
                offset=last.offset,
                stage=last.stage,
            )
