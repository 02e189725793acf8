"""What a loader has delivered, how fast, and what it could not deliver."""

from collections.abc import Sequence

from fiberaug.budget import ErrorBudget
from fiberaug.counting import Counters
from fiberaug.mixture import Mixture
from fiberaug.plan import Plan
from fiberaug.runlog import RecordLog
from fiberaug.shares import Shares
from fiberaug.transport import Message

__all__ = ["Accounts"]


class Accounts:
    """Figures and the budget of broken samples of one loader.

    Args:
        plan: The order, for the number of samples.
        max_errors: Share of them that may be broken.
        log: Where broken samples are written. None: nowhere.
        mixture: What is mixed in.
        origins: Names of all sources, where there is a mix.
    """

    def __init__(
        self,
        plan: Plan,
        max_errors: float,
        log: RecordLog | None,
        mixture: Mixture | None = None,
        origins: Sequence[str] = (),
    ) -> None:
        self._plan, self._log = plan, log
        self._shares = Shares(mixture, origins)
        self._budget = ErrorBudget(max_errors)
        self._counters = Counters()

    def start(self) -> None:
        """Begin a pass."""
        self._budget.start()
        self._counters.start()

    def spend(self, message: Message) -> None:
        """Count and log the broken samples of a message.

        Raises:
            BudgetExceeded: There are too many.
        """
        if not message.failures:
            return
        if self._log is not None:
            self._log.quarantine(self._budget.fresh(message.failures))
        counts = self._plan.counts
        samples = sum(counts) if counts is not None else message.end
        self._budget.spend(message.failures, samples=samples)

    def add(self, message: Message, waited_s: float, *, epoch: int, first: int) -> None:
        """Count a batch that was waited for.

        Args:
            message: What a worker sent.
            waited_s: Seconds that the consumer waited for it.
            epoch: Epoch, from 0.
            first: First position of the global batch.
        """
        self._shares.add(message, epoch, first)
        self._counters.add(
            message.is_pad,
            wait_s=waited_s,
            decode_s=message.decode_s,
            augment_s=message.augment_s,
        )

    def report(self, epoch: int) -> None:
        """Say at the end of an epoch what was broken in it."""
        self._budget.report(epoch)

    def stats(self) -> dict[str, float]:
        """Return the figures, see :meth:`fiberaug.DataLoader.stats`."""
        return (
            self._counters.stats()
            | {
                "quarantined": float(len(self._budget)),
                "quarantined_shards": float(self._budget.shards),
            }
            | self._shares.stats()
        )
