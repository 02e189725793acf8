"""What many values are like, in memory that does not grow with them."""

from typing import Any

import numpy as np

from fiberaug.auditing.limits import Limits

__all__ = ["Sketch"]

_CHUNK = 4096
_EDGES = 64


class Sketch:
    """Least, greatest, mean and quantiles of values, and how far from a law they are.

    It keeps up to 8,192 values. Quantiles are of evenly spaced ones, at least 2,048
    where there are so many: of independent values their rank is off by more than 0.043
    with a probability below 0.001 (see :func:`binomial.band`).

    Args:
        limits: Where values have to lie, where that is known.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits, self.outside = limits, 0
        self._folded = 0
        self.low, self.high, self._sum = np.inf, -np.inf, 0.0
        self._values: list[float] = []
        self._kept = np.empty(0)
        self._stride, self._seen = 1, 0
        self._edges = np.empty(0)
        if limits is not None and limits.law and limits.low < limits.high:
            self._edges = np.array(limits.edges(_EDGES))
        self._below = np.zeros(len(self._edges), np.int64)

    @property
    def count(self) -> int:
        """How many values there are."""
        return self._folded + len(self._values)

    def add(self, value: float) -> None:
        """Add a value."""
        self._values.append(value)
        if len(self._values) == _CHUNK:
            self._fold()

    def _fold(self) -> None:
        values = np.array(self._values, np.float64)
        self._values.clear()
        if not len(values):
            return
        self._folded += len(values)
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        self._sum += float(values.sum())
        if len(self._edges):
            ordered = np.sort(values)
            self._below += np.searchsorted(ordered, self._edges, side="right")
        first = -self._seen % self._stride
        self._seen += len(values)
        self._kept = np.append(self._kept, values[first :: self._stride])
        while len(self._kept) > _CHUNK:
            self._kept = self._kept[::2]
            self._stride *= 2

    def summary(self) -> dict[str, float]:
        """Return ``min``, ``max``, ``mean``, and quantiles ``q05``, ``q50``, ``q95``.

        There must be a value.
        """
        self._fold()
        q05, q50, q95 = np.quantile(self._kept, (0.05, 0.5, 0.95)).tolist()
        return {
            "min": self.low, "max": self.high, "mean": self._sum / self.count,
            "q05": q05, "q50": q50, "q95": q95,
        }  # fmt: skip

    @property
    def has_law(self) -> bool:
        """Whether a distribution is asked for, and there are values."""
        self._fold()
        return bool(self.count and len(self._edges))

    def distance(self) -> float:
        """Return the largest distance from the distribution function asked for.

        It is looked at in 63 places, so that it is never too large.
        """
        self._fold()
        limits: Any = self.limits
        asked = np.array([limits.share(edge) for edge in self._edges.tolist()])
        return float(np.abs(self._below / self.count - asked).max())
