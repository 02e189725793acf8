"""Which positions and samples of each epoch were delivered, and how often."""

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fiberaug.auditing.positions import Positions
from fiberaug.auditing.reading import Entry

__all__ = ["Completeness", "Epoch", "Length", "positions_of_plan"]

_STAND_IN = 2**40
_MOST_SHOWN = 5
_MOST_EXPLAINED = 10_000
Length = Callable[[int], int | None]
"""epoch -> its positions; None: not known."""

Explain = Callable[[int, int], bool]
"""(epoch, position) -> whether the run said why nothing stands there."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What a log holds of an epoch."""

    epoch: int
    positions: int | None
    """Positions of the epoch; None: not known."""

    delivered: int
    """Positions that the log has."""

    begin: int
    """The first of them."""

    end: int
    """Behind the last of them: less than ``positions`` where the epoch was broken off,
    or its last batch dropped."""

    missing: int
    """Positions between that nothing stands at and nothing explains."""

    masked: int
    """Positions of samples that were broken, and masked."""

    ragged: int
    """Positions that not all ranks had come to when the run ended."""

    repeated: int
    """Records of positions that were there before: of a resumed run, and equal."""

    doubled: int
    """Records that one and the same attempt wrote a second time."""

    changed: int
    """Records of positions that were there before, and differ."""

    beyond: int
    """Records of positions that the epoch does not have."""

    reused: int
    """Records of samples that had their turn in this epoch."""

    examples: Mapping[str, tuple[int, ...]]
    """Some positions by what is wrong there."""


def positions_of_plan(plan: Mapping[str, Any]) -> int | None:
    """Return the positions of an epoch of a manifest's plan, or None: not known."""
    if plan.get("epoch_size") is not None:
        return int(plan["epoch_size"])
    if plan.get("balance") is not None or plan.get("samples") is None:
        return None
    return int(plan["samples"])


class Completeness:
    """Follows the order of a run.

    It takes 7 bytes for each position and view, and a bit for each sample and epoch.

    Args:
        length: Positions of an epoch.
        once: Whether the plan deals each sample of the set once an epoch.
    """

    def __init__(self, length: Length, *, once: bool) -> None:
        self._once = once
        self._length = functools.cache(length)
        self.views: dict[tuple[int, int], Positions] = {}
        """What was delivered, by (epoch, view)."""
        self._last: dict[tuple[int, int], dict[int, int]] = {}
        self._taken: dict[tuple[int, int, str], bytearray] = {}
        self._counts: dict[int, Counter[str]] = {}
        self._examples: dict[tuple[int, str], list[int]] = {}

    def see(self, entry: Entry, source: int, *, real: bool) -> bool:
        """Note a record; return whether its position is new and one of the epoch.

        Args:
            entry: The record.
            source: Number of its source.
            real: Whether that is the data set itself.
        """
        record = entry.record
        epoch, position, view = record["epoch"], record["position"], record["view"]
        length = self._length(epoch)
        if length is not None and position >= length:
            self._wrong(epoch, "beyond", position)
            return False
        key = epoch, view
        held = self.views.get(key)
        if held is None:
            held = self.views[key] = Positions()
        before = held.add(position, entry.digest, entry.attempt, source)
        ranks = self._last.setdefault((epoch, entry.start), {})
        ranks[entry.rank] = max(position, ranks.get(entry.rank, -1))
        if before is not None:
            digest, attempt = before
            kind = "repeated" if attempt != entry.attempt else "doubled"
            self._wrong(epoch, kind if digest == entry.digest else "changed", position)
            return False
        if self._once and real and view == 0 and record["visit"] < _STAND_IN:
            self._take(epoch, record)
        return True

    def _wrong(self, epoch: int, kind: str, position: int) -> None:
        self._counts.setdefault(epoch, Counter())[kind] += 1
        examples = self._examples.setdefault((epoch, kind), [])
        if len(examples) < _MOST_SHOWN:
            examples.append(position)

    def _take(self, epoch: int, record: Mapping[str, Any]) -> None:
        index = record["index"]
        key = epoch, index >> 16, record["url"]
        bits = self._taken.get(key)
        if bits is None:
            bits = self._taken[key] = bytearray()
        at, bit = (index & 0xFFFF) >> 3, 1 << (index & 7)
        if at >= len(bits):
            bits.extend(bytes(at + 1 - len(bits)))
        if bits[at] & bit:
            self._wrong(epoch, "reused", record["position"])
        bits[at] |= bit

    def epochs(self, explain: Explain) -> list[Epoch]:
        """Return what became of each epoch.

        Args:
            explain: Says why a position is missing.
        """
        every = sorted({epoch for epoch, _ in self.views} | set(self._counts))
        return [self._epoch(epoch, explain, first=every[0] == epoch) for epoch in every]

    def _epoch(self, epoch: int, explain: Explain, *, first: bool) -> Epoch:
        held = [p for (e, _), p in sorted(self.views.items()) if e == epoch]
        end = max((positions.end for positions in held), default=0)
        begin = min((positions.begin for positions in held), default=0)
        frontier = self._frontier(epoch)
        for positions in held:
            holes = positions.holes()
            if positions.end < end:
                holes.append((positions.end, end))
            for low, high in holes:
                self._hole(epoch, low, high, frontier, explain, head=first and not low)
        counts = self._counts.get(epoch, Counter())
        examples = {
            kind: tuple(places)
            for (e, kind), places in self._examples.items()
            if e == epoch
        }
        return Epoch(
            epoch=epoch, positions=self._length(epoch), begin=begin, end=end,
            examples=examples,
            delivered=held[0].count if held else 0,
            **{name: counts[name] for name in _KINDS},
        )  # fmt: skip

    def _frontier(self, epoch: int) -> int:
        """Return the position up to which all ranks came, where the log ends so."""
        last = max((start for e, start in self._last if e == epoch), default=0)
        ranks = self._last.get((epoch, last), {})
        goes_on = any(e > epoch or start > last for e, start in self._last)
        return 2**64 if len(ranks) < 2 or goes_on else min(ranks.values())

    def _hole(
        self,
        epoch: int,
        low: int,
        high: int,
        frontier: int,
        explain: Explain,
        *,
        head: bool,
    ) -> None:
        """Count the positions of a hole by what they mean."""
        counts = self._counts.setdefault(epoch, Counter())
        if head:
            return  # what was delivered before stands in another log
        if high - low > _MOST_EXPLAINED:
            counts["missing"] += high - low - 1
            self._wrong(epoch, "missing", low)
            return
        for position in range(low, high):
            if explain(epoch, position):
                kind = "masked"
            else:
                kind = "ragged" if position > frontier else "missing"
            self._wrong(epoch, kind, position)


_KINDS = (
    "missing", "masked", "ragged", "repeated", "doubled", "changed", "beyond", "reused",
)  # fmt: skip
