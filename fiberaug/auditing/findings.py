"""What an audit says."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fiberaug.auditing.completeness import Epoch
from fiberaug.auditing.shares import Share

__all__ = ["Audit", "Finding", "Range", "Rate"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that an audit has to say."""

    is_outside: bool
    """Whether it is outside of its bounds; else it is a note."""

    topic: str
    """``recipe``, ``rate``, ``range``, ``law``, ``share`` or ``order``."""

    text: str
    """What was found, in one line."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How often an operation was applied."""

    path: str
    name: str
    applied: int
    """Of ``trials``."""

    trials: int
    """Records that count: all, or one of each unit where its rows share a draw."""

    asked: float | None
    """Probability that the recipe asks for; None: not known."""

    why: str
    """Why it is not known."""

    low: float
    high: float
    """Probabilities that agree with what was seen, at the level of all of them."""

    is_off: bool
    """Whether what was asked for is not between them."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """What the values of a parameter are like."""

    path: str
    name: str
    parameter: str
    count: int
    min: float
    max: float
    mean: float
    q05: float
    q50: float
    q95: float
    """Quantiles, see :class:`fiberaug.auditing.sketches.Sketch`."""

    low: float | None
    high: float | None
    """What the recipe allows; None: not known."""

    outside: int
    """Values outside of it."""

    law: str
    """Distribution that the recipe asks for, or empty: not known."""

    distance: float | None
    """Largest distance from its distribution function."""

    allowed: float | None
    """Distance that chance explains."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What a run did, against what was asked for."""

    folder: str
    confidence: float
    """Probability that nothing is found where all is as asked for."""

    records: int
    """Records of the log."""

    counted: int
    """Records of different positions and views: those that count."""

    passes: int
    """How often a pass was begun: once an epoch, and once for each resume."""

    ranks: int
    rates: tuple[Rate, ...]
    ranges: tuple[Range, ...]
    shares: tuple[Share, ...]
    stand_ins: Mapping[str, int]
    """Stand-ins for broken samples, by source."""

    epochs: tuple[Epoch, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is outside of its bounds."""
        return not any(finding.is_outside for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, with ``ok``."""
        shares = [{**asdict(share), "is_off": share.is_off} for share in self.shares]
        return {**asdict(self), "shares": shares, "ok": self.ok}
