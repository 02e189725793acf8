"""How a pool is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fiberaug.errors import UsageError
from fiberaug.seeding import check_seed
from fiberaug.sizes import parse_bytes
from fiberaug.synthetic.asking import Asked, PerClass
from fiberaug.synthetic.imagefile import check_encoding
from fiberaug.synthetic.making import Classify

__all__ = ["PoolOptions"]


@dataclass(frozen=True, kw_only=True)
class PoolOptions:
    """How a pool is written; checked when it is made."""

    per_class: PerClass | None = None
    """Samples of each class, or of each class that is named."""

    count: int | None = None
    """Samples in all, spread evenly."""

    classes: Sequence[str] | None = None
    """Names of the classes to make. None: all."""

    seed: int = 0
    """Seed of the pool, in [0, 2**64)."""

    batch_size: int = 16
    """Samples that the generator makes at a time."""

    processes: int = 1
    """Of this machine, each with the generator in it."""

    encoding: str = "png"
    """``png`` or ``webp``, without loss, or ``jpeg`` of quality 95."""

    shard_size: int | str = "256MB"
    """Size of a shard."""

    dedupe: bool = True
    """Refuse a sample whose pixels the pool has."""

    filter: Classify | None = None
    """Returns the confidence that each image shows its label."""

    threshold: float | None = None
    """Least confidence. None: 1 / number of classes, at most 0.5."""

    against: object = None
    """Training data: copies and near-copies of its samples are refused."""

    split: str | None = None
    """Part of the data that parents are of, where the generator does not say."""

    conditions: Mapping[str, Any] = field(default_factory=dict)
    """Passed to the generator."""

    licence: str | None = None
    """Of the samples. None: as the generator says."""

    progress: bool = True
    """Show a bar on a terminal."""

    def __post_init__(self) -> None:
        """Check the arguments.

        Raises:
            UsageError: One is out of range.
        """
        check_seed(self.seed)
        check_encoding(self.encoding)
        for name in ("batch_size", "processes"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise UsageError(f"{name} must be an integer >= 1, got {value!r}")
        if self.threshold is not None:
            if self.filter is None:
                raise UsageError("threshold is for filter, and there is none")
            if not 0 <= self.threshold <= 1:
                raise UsageError(f"threshold must be in [0, 1], got {self.threshold}")
        parse_bytes(self.shard_size, name="shard_size")

    def asked(self, names: tuple[str, ...]) -> Asked:
        """Return what is asked of a generator with these classes.

        Raises:
            UsageError: It cannot make that.
        """
        return Asked.of(
            names, per_class=self.per_class, count=self.count, classes=self.classes
        )

    def least_confidence(self, asked: Asked) -> float | None:
        """Return what the classifier must say at least; None: there is none."""
        if self.filter is None:
            return None
        if self.threshold is not None:
            return self.threshold
        return min(0.5, 1 / max(len(asked.names), len(asked.counts)))
