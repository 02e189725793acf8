"""How often each source was delivered, against what the mix asks for.

The laws: with two sources every window of positions has within one sample what was
asked for, with more within two of each; where shares are exact by class, a class has
within one mixed-in sample of them in an epoch.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fiberaug.auditing.asking import MixAsking
from fiberaug.auditing.deviations import Asked, Deviation
from fiberaug.auditing.positions import Positions
from fiberaug.mix import REAL

__all__ = ["STAND_IN", "Share", "ShareCounter"]

STAND_IN = 2**40
"""Visits of stand-ins for broken samples begin here."""

_MOST_SOURCES = 254
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class Share:
    """How often a source was delivered."""

    source: str
    """Its name in records."""

    epoch: int
    label: int | None
    """Class; None: all of them."""

    delivered: int
    asked: float | None
    """Samples that were asked for; None: not known."""

    worst: float | None = None
    """How far a window of positions is off, at most, samples."""

    window: tuple[int, int] | None = None
    """Positions [start, stop) of that window."""

    worst_unit: float | None = None
    """How far a unit of positions is off, at most, samples."""

    allowed: float | None = None
    """How far a window, or a class, may be off; None: no law holds."""

    @property
    def is_off(self) -> bool:
        """Whether it is further off than it may be."""
        if self.allowed is None or self.asked is None:
            return False
        far = self.worst if self.label is None else abs(self.delivered - self.asked)
        return far is not None and far > self.allowed + _ROUNDING


class ShareCounter:
    """Counts samples by source, class and epoch."""

    def __init__(self) -> None:
        self.names: list[str] = []
        """Sources in the order in which they came."""
        self.stand_ins: Counter[str] = Counter()
        """Stand-ins for broken samples, and for late ones, by source."""
        self._by_class: Counter[tuple[int, int, int]] = Counter()
        self._numbers: dict[str, int] = {}

    def number(self, source: str) -> int:
        """Return the number of a source; sources beyond the 254th are one."""
        found = self._numbers.get(source)
        if found is None:
            found = self._numbers[source] = min(len(self.names), _MOST_SOURCES)
            if len(self.names) <= _MOST_SOURCES:
                self.names.append(source)
        return found

    def see(self, record: Mapping[str, Any], label: int | None) -> None:
        """Count a record.

        Args:
            record: The record.
            label: Its class; None: not known.
        """
        if record["visit"] >= STAND_IN:
            self.stand_ins[record["origin"]] += 1
        if label is not None:
            number = self.number(record["origin"])
            self._by_class[record["epoch"], label, number] += 1

    def of_epoch(
        self, epoch: int, positions: Positions, mix: MixAsking | None, unit: int
    ) -> list[Share]:
        """Return the shares of an epoch, over all classes and of each.

        Args:
            epoch: The epoch.
            positions: What was delivered in it.
            mix: What was asked for; None: nothing is known of it.
            unit: b0, positions of a unit.
        """
        names = self._names(mix)
        deviations = [Deviation(name) for name in names]
        for first, numbers in positions.runs():
            asked = None if mix is None else Asked(mix, epoch, first)
            mixed = numbers != self._numbers.get(REAL, -1)
            for one in deviations:
                part = numbers == self._numbers.get(one.source, -1)
                one.delivered += int(part.sum())
                if asked is not None:
                    one.measure(part, asked, asked.marks(mixed, unit), unit)
        allowed = None
        short = 0.0
        if mix is not None:
            short = sum(d.short for d in deviations) if mix.falls_back else 0.0
            allowed = mix.allowed + short if mix.has_windows else None
        found = [
            Share(
                source=one.source, epoch=epoch, label=None, delivered=one.delivered,
                asked=None if mix is None else one.asked,
                worst=None if mix is None else one.worst, window=one.window,
                worst_unit=None if mix is None else one.unit, allowed=allowed,
            )
            for one in deviations
        ]  # fmt: skip
        whole = positions.begin == 0 and positions.count == positions.end
        stop = positions.end if whole and mix is not None else 0
        return found + self._of_classes(epoch, names, mix, stop, 1.0 + short)

    def _names(self, mix: MixAsking | None) -> list[str]:
        known = [] if mix is None else list(mix.names)
        return [*known, *(name for name in self.names if name not in known)]

    def _of_classes(
        self,
        epoch: int,
        names: list[str],
        mix: MixAsking | None,
        stop: int,
        allowed: float,
    ) -> list[Share]:
        """Return the shares of each class; of several sources all together have a law.

        Args:
            epoch: The epoch.
            names: Sources.
            mix: What was asked for.
            stop: Positions from 0 that are all there; 0: there are gaps.
            allowed: How far a class may be off.
        """
        found = []
        for label in sorted({key[1] for key in self._by_class if key[0] == epoch}):
            counts = [
                self._by_class[epoch, label, self._numbers.get(name, -1)]
                for name in names
            ]
            mixed = mix.mixed_of_class(epoch, label, stop) if mix and stop else None
            for name, delivered in zip(names, counts, strict=True):
                asked = None
                if mixed is not None and name == REAL:
                    asked = sum(counts) - mixed
                elif mixed is not None and len(names) == 2:
                    asked = mixed
                law = None if asked is None else allowed
                share = Share(
                    source=name, epoch=epoch, label=label, delivered=delivered,
                    asked=asked, allowed=law,
                )  # fmt: skip
                found.append(share)
        return found
