"""How far a source is off in windows of positions, and what a mix asks for there."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fiberaug.mix import REAL

__all__ = ["Asked", "Asking", "Deviation"]


class Asking(Protocol):
    """What is known of a mix: see :class:`fiberaug.auditing.asking.MixAsking`."""

    @property
    def mode(self) -> str:
        """``replace``, ``append`` or ``unit``."""
        ...

    def asked(self, epoch: int, start: int, stop: int) -> Mapping[str, float]:
        """Return how many samples of each source positions [start, stop) should have.

        Sources are named as records name them.
        """
        ...


class Asked:
    """What a mix asks for in a run of positions.

    Args:
        mix: What is known of the mix.
        epoch: The epoch.
        first: The first position of the run.
    """

    def __init__(self, mix: Asking, epoch: int, first: int) -> None:
        self.first = first
        self._mix, self._epoch = mix, epoch
        self._known: dict[bytes, list[Mapping[str, float]]] = {}

    def marks(self, mixed: NDArray[np.bool_], unit: int) -> NDArray[np.int64]:
        """Return where, from the begin of the run, windows can be worst.

        That is where something is mixed in; with places that are drawn in each unit,
        where units end.
        """
        if self._mix.mode == "unit":
            return self.ends(len(mixed), unit)
        at = np.flatnonzero(mixed)
        marks = np.concatenate([[0, len(mixed)], at, at + 1])
        return np.unique(marks).astype(np.int64)

    def ends(self, size: int, unit: int) -> NDArray[np.int64]:
        """Return where, from the begin of the run, units begin and end."""
        return np.arange(-self.first % unit, size + 1, unit)

    def below(self, source: str, marks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return how much of a source is asked for before each mark."""
        key = marks.tobytes()
        if key not in self._known:
            ends = (marks + self.first).tolist()
            asked = self._mix.asked
            self._known[key] = [asked(self._epoch, self.first, end) for end in ends]
        return np.array([one.get(source, 0.0) for one in self._known[key]])


class Deviation:
    """How far a source is off in the windows of an epoch.

    Args:
        source: Its name.
    """

    def __init__(self, source: str) -> None:
        self.source, self.delivered = source, 0
        self.asked, self.worst, self.unit = 0.0, 0.0, 0.0
        self.window: tuple[int, int] | None = None

    def measure(
        self,
        part: NDArray[np.bool_],
        asked: Asked,
        marks: NDArray[np.int64],
        unit: int,
    ) -> None:
        """Add a run of positions.

        The difference of delivered and asked for before a position rises where a sample
        of the source stands and falls elsewhere, so that windows are worst between
        marks: there the largest and the least difference are looked for.

        Args:
            part: Which positions are of the source, [K].
            asked: What is asked for in the run.
            marks: Where windows can begin and end, from the begin of the run.
            unit: b0, positions of a unit.
        """
        below = np.concatenate([[0], np.cumsum(part)])
        self.asked += float(asked.below(self.source, np.array([len(part)]))[0])
        if len(marks) > 1:
            off = below[marks] - asked.below(self.source, marks)
            low, high = int(off.argmin()), int(off.argmax())
            if off[high] - off[low] > self.worst:
                self.worst = float(off[high] - off[low])
                edges = sorted((int(marks[low]), int(marks[high])))
                self.window = asked.first + edges[0], asked.first + edges[1]
        ends = asked.ends(len(part), unit)
        if len(ends) > 1:
            each = np.diff(below[ends] - asked.below(self.source, ends))
            self.unit = max(self.unit, float(np.abs(each).max()))

    @property
    def short(self) -> float:
        """Samples of a source that are missing, and not by rounding."""
        missing = self.asked - self.delivered if self.source != REAL else 0.0
        return float(np.ceil(max(0.0, missing - 1.0)))
