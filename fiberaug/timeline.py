"""Which positions of an epoch are synthetic: the running integral of a share, floored.

Position k is synthetic where floor(I(k + 1)) > floor(I(k)), I being the integral of the
share over all positions since the first epoch. So every window of positions, across
epochs too, has within one sample what was asked for. All numbers are whole: I is
counted in 1 / (1,024 ``unit``), and what an epoch begins with is kept below one.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.schedules import PARTS, Schedule

__all__ = ["Span", "Timeline"]

_LARGEST = 2**62


class Span(NamedTuple):
    """The synthetic positions of one epoch."""

    n: int
    """Positions of the epoch."""

    scale: int
    """Positions of a whole table of the schedule; it is ``n`` but where samples are
    appended, which can be one more or less."""

    parts: tuple[int, ...]
    """Share in each part, in 1 / ``unit``, [1024]."""

    sums: tuple[int, ...]
    """Sums of the parts before each, [1025]."""

    unit: int
    carry: int
    """What is left of I when the epoch begins, in 1 / (1,024 ``unit``)."""

    before: int
    """Synthetic positions of all epochs before."""

    def integral(self, position: int) -> int:
        """Return I at a position, in 1 / (1,024 ``unit``); the carry is in it."""
        part = min(PARTS - 1, PARTS * position // self.scale)
        within = PARTS * position - part * self.scale
        return self.carry + self.scale * self.sums[part] + within * self.parts[part]

    def below(self, position: int) -> int:
        """Return how many positions of the epoch before this one are synthetic."""
        return self.integral(position) // (PARTS * self.unit)

    def asked(self, start: int, stop: int) -> float:
        """Return the integral of the share over positions [start, stop)."""
        whole = self.integral(stop) - self.integral(start)
        return whole / (PARTS * self.unit)

    def all_below(self) -> NDArray[np.int64]:
        """Return :meth:`below` of the positions 0 .. n, int64 [n + 1]."""
        small = (self.scale + self.n) * 2 * PARTS * self.unit < _LARGEST
        kind: Any = np.int64 if small else object
        position = np.arange(self.n + 1, dtype=np.int64)
        part = np.minimum(PARTS - 1, PARTS * position // self.scale)
        within = (PARTS * position - part * self.scale).astype(kind)
        sums, parts = np.asarray(self.sums, kind), np.asarray(self.parts, kind)
        whole = self.carry + self.scale * sums[part] + within * parts[part]
        return np.asarray(whole // (PARTS * self.unit)).astype(np.int64)

    def shares(self) -> NDArray[np.float64]:
        """Return the share at each position, float64 [n]."""
        part = PARTS * np.arange(self.n) // self.scale
        parts = np.asarray(self.parts, np.float64) / self.unit
        return parts[np.minimum(PARTS - 1, part)]


class Timeline:
    """The synthetic positions of every epoch.

    Args:
        schedule: The share.
        samples: Samples of the data set that an epoch deals, >= 1.
        append: Whether an epoch has all of them and the synthetic ones besides; else
            these stand in the place of some of them.

    Raises:
        UsageError: The share reaches 1 where samples are appended.
    """

    def __init__(self, schedule: Schedule, samples: int, *, append: bool) -> None:
        if append and schedule.most() >= 1:
            raise UsageError(
                'with mode="append" the ratio must stay below 1, it reaches'
                f" {schedule.most():g}: no number of samples beside the real ones is"
                " such a share"
            )
        self._schedule, self._samples, self._append = schedule, samples, append
        self._known: list[tuple[int, int]] = [(0, 0)]  # (carry, before) of each epoch
        self._spans: dict[int, Span] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what each process finds again."""
        return {**self.__dict__, "_known": [(0, 0)], "_spans": {}}

    def epoch(self, epoch: int) -> Span:
        """Return an epoch's synthetic positions."""
        found = self._spans.get(epoch)
        if found is None:
            if len(self._spans) > 3:
                self._spans.pop(next(iter(self._spans)))
            found = self._spans[epoch] = self._span(epoch, *self._begin(epoch))
        return found

    def _span(self, epoch: int, carry: int, before: int) -> Span:
        parts = self._schedule.parts(epoch)
        sums = np.concatenate([[0], np.cumsum(parts)]).tolist()
        unit, scale = self._schedule.unit, self._samples
        if self._append:
            scale = max(1, round(scale * PARTS * unit / (PARTS * unit - sums[-1])))
        span = Span(
            scale, scale, tuple(parts.tolist()), tuple(sums), unit, carry, before
        )
        if self._append:
            span = span._replace(n=self._length(span, self._samples))
        return span

    @staticmethod
    def _length(span: Span, samples: int) -> int:
        """Return the first position before which there are ``samples`` real ones."""
        low, high = 0, max(1, samples)
        while high - span.below(high) < samples:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            if middle - span.below(middle) < samples:
                low = middle
            else:
                high = middle
        return high

    def _begin(self, epoch: int) -> tuple[int, int]:
        """Return (carry, synthetic positions before) of an epoch."""
        steady = self._schedule.steady
        while len(self._known) <= min(epoch, steady):
            number = len(self._known) - 1
            span = self._span(number, *self._known[-1])
            self._known.append(self._after(span, span.n))
        if epoch <= steady:
            return self._known[epoch]
        # From here on the share does not change: one long epoch has them all.
        carry, before = self._known[steady]
        samples = (epoch - steady) * self._samples
        span = self._span(steady, carry, before)
        if not self._append:
            return self._after(span, samples)
        return self._after(span, self._length(span, samples))

    @staticmethod
    def _after(span: Span, position: int) -> tuple[int, int]:
        more, carry = divmod(span.integral(position), PARTS * span.unit)
        return carry, span.before + more
