"""What became of all spans of a bake: shards, what they held, and what was broken."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fiberaug.baking.seen import NOTE, Seen
from fiberaug.budget import ErrorBudget
from fiberaug.jobs.unit import Written
from fiberaug.making import Failure

if TYPE_CHECKING:
    from fiberaug.shards.manifest import ShardEntry

__all__ = ["ERRORS", "Report"]

ERRORS = "materialize_errors.jsonl"
"""What was broken and left out or replaced, one JSON object a line."""


class Report:
    """Gathers what spans tell, in the order of the stream.

    Args:
        max_errors: Share of an epoch's samples that may be broken.
        ends: Positions of each epoch.
        epochs: The epochs.
    """

    def __init__(
        self, max_errors: float, ends: Sequence[int], epochs: Sequence[int]
    ) -> None:
        self.entries: list[ShardEntry] = []
        """Shards that have samples."""
        self.seen = Seen()
        """What they held."""
        self._budget = ErrorBudget(max_errors)
        self._epoch = -1
        self._ends = dict(zip(epochs, ends, strict=True))
        self._lines: list[dict[str, str]] = []
        self._shards: dict[tuple[str, str], dict[str, str]] = {}

    def add(self, epoch: int, written: Written) -> None:
        """Add what became of a span.

        Raises:
            BudgetExceeded: More samples of the epoch are broken than may be.
        """
        if epoch != self._epoch:
            self._epoch = epoch
            self._budget.start()
        if written.entry is not None:
            self.entries.append(written.entry)
        broken = []
        for line in written.errors:
            if NOTE in line:
                self.seen.merge(Seen.from_line(line))
            elif "samples" in line:  # each worker tells it once
                self._shards.setdefault((line["epoch"], line["path"]), line)
            else:
                self._lines.append(line)
                broken += [_failure(line)] if line["key"] else []
        self._budget.spend(broken, samples=self._ends[epoch])

    def lines(self) -> list[dict[str, Any]]:
        """Return what was broken: samples in the order of the stream, then shards."""
        order = sorted(self._shards, key=lambda one: (int(one[0]), one[1]))
        return [*self._lines, *(self._shards[one] for one in order)]


def _failure(line: Mapping[str, str]) -> Failure:
    return Failure(
        shard=line["path"], key=line["key"], offset=None, stage=line["stage"] or None,
        reason=line["reason"], uid=int(line["uid"], 16), epoch=int(line["epoch"]),
        position=int(line["position"]), attempt=0,
    )  # fmt: skip
