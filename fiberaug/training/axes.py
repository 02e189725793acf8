"""Axes of a plot: where a value lies, which values are named, and how."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Axis", "named"]

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_TINY = 1e-12  # of the largest value: what is below is not told apart from 0
_LOG_FROM = 30.0  # large / small values from which decades show more


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """A range of values, linear or in powers of ten."""

    low: float
    """Value at the axis' begin."""

    high: float
    """Value at its end, above ``low``."""

    log: bool = False
    """Whether equal factors, not equal differences, are equally long."""

    @classmethod
    def around(cls, values: NDArray[np.float64], *, log: bool | None = None) -> Self:
        """Return an axis on which all finite values lie, with some air.

        In powers of ten those below 1e-12 of the largest lie before its begin.

        Args:
            values: Any number of any shape.
            log: Powers of ten, where no value is 0 or below. None: where, too, large
                values (the 95th percentile) are 30 times small ones (the 5th).
        """
        found = values[np.isfinite(values)]
        if not len(found):
            return cls(low=0.0, high=1.0)
        low, high = float(found.min()), float(found.max())
        if log is None:
            usual = np.percentile(found, (5, 95), method="nearest")
            log = low > 0 and usual[1] >= _LOG_FROM * usual[0]
        if log and low > 0:
            low = max(low, high * _TINY)
            air = max((high / low) ** 0.06, 1.05)
            return cls(low=low / air, high=high * air, log=True)
        air = 0.06 * (high - low) or max(abs(high), 1e-9) * 0.1
        return cls(low=low - air, high=high + air)

    def place(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where values lie: 0 at the begin, 1 at the end; of the same shape."""
        if not self.log:
            return (values - self.low) / (self.high - self.low)
        # What is not above 0 has no place: it lies far below.
        some = np.log(np.maximum(values, self.low * _TINY))
        low, high = math.log(self.low), math.log(self.high)
        return np.asarray((some - low) / (high - low))

    def ticks(self, most: int = 5) -> list[float]:
        """Return round values on the axis, ascending, about ``most`` at most."""
        if self.log:
            decades = [10.0**n for n in range(_floor(self.low), _floor(self.high) + 1)]
            found = [value for value in decades if self.low <= value <= self.high]
            if len(found) >= 2:
                return found[:: math.ceil(len(found) / most)]
            marks = [n * ten for ten in decades for n in (1.0, 2.0, 5.0)]
            return [value for value in marks if self.low <= value <= self.high]
        rough = (self.high - self.low) / max(most, 1)
        ten = 10.0 ** _floor(rough)
        step = next(n * ten for n in _STEPS if n * ten >= rough * (1 - 1e-9))
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [float(f"{n * step:.10g}") for n in range(first, last + 1)]


def named(value: float) -> str:
    """Return a number as it stands on an axis.

    >>> named(0), named(0.25), named(12_500), named(2_000_000), named(0.00003)
    ('0', '0.25', '12.5k', '2M', '3e-05')
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.3g}"


def _floor(value: float) -> int:
    """Return the power of ten at or below a value."""
    return math.floor(math.log10(value) + 1e-9)
