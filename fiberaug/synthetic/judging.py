"""Which of the samples that were made are taken, in the order of their making."""

from dataclasses import dataclass, field
from typing import Any

from fiberaug.synthetic.likeness import Likeness, Original
from fiberaug.synthetic.made import MadeSample

__all__ = ["REASONS", "Judge", "Verdict"]

REASONS = ("copy", "near_copy", "low_confidence", "duplicate")
"""Why a sample is refused: it is a training sample, it looks like one, the classifier
does not see its class in it, the pool has the very same pixels."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a sample."""

    reason: str | None
    """One of :data:`REASONS`; None: it is taken."""

    like: Original | None = None
    """The training sample that it is like."""

    twin: str | None = None
    """Key of the sample of the pool that has its pixels."""

    def to_plain(self) -> dict[str, Any]:
        """Return it as what JSON has, for the list of what was refused."""
        told: dict[str, Any] = {"reason": self.reason}
        if self.like is not None:
            told["like"] = {
                "key": self.like.key, "shard": self.like.shard, "split": self.like.split
            }  # fmt: skip
        if self.twin is not None:
            told["like"] = {"key": self.twin}
        return told


@dataclass
class Judge:
    """Takes or refuses samples, one after the other."""

    dedupe: bool
    """Refuse a sample whose pixels the pool has."""

    threshold: float | None
    """Least confidence of the classifier; None: there is no classifier."""

    likeness: Likeness | None
    """Training samples of which no copy is taken; None: nothing is compared."""

    seen: dict[str, str] = field(default_factory=dict)
    """Key of each sample that was taken, by its pixels."""

    def judge(self, made: MadeSample) -> Verdict:
        """Return what becomes of a sample."""
        if self.likeness is not None:
            like = self.likeness.find(made.rgb, made.looks)
            if like is not None:
                return Verdict(like.how, like=like)
        trust = made.confidence
        if self.threshold is not None and trust is not None and trust < self.threshold:
            return Verdict("low_confidence")
        if self.dedupe and made.pixels in self.seen:
            return Verdict("duplicate", twin=self.seen[made.pixels])
        return Verdict(None)

    def take(self, made: MadeSample, key: str) -> None:
        """Note that a sample was taken."""
        self.seen.setdefault(made.pixels, key)
