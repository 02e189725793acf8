"""What is mixed into a data set, how much of it, and what happens where it runs out."""

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

from fiberaug.errors import UsageError
from fiberaug.schedules import Schedule, as_fraction

__all__ = ["DEFAULT_RATIO", "DRY", "LATE", "MATCHES", "MODES", "REAL", "Mix"]

REAL = "real"
"""Origin of the samples of the data set itself."""

DEFAULT_RATIO = 0.25
MODES = ("replace", "append", "unit")
DRY = ("cycle", "stop", "real")
LATE = ("real", "raise")
MATCHES = (None, "pool", "real")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MOST_SOURCES = 64
_SECTION = (
    "sources", "ratio", "weights", "mode", "schedule", "per_class", "dry", "max_reuse",
    "match", "match_labels",
    "late",
)  # fmt: skip


class Mix:
    """Samples of other sets, mixed into a data set at an exact ratio.

    Which positions of an epoch they have is a function of the plan and of these
    arguments alone: any window of positions has within one sample what was asked for,
    with several sources within two of each.

    Args:
        sources: A pool or any other set: a folder, shards, a :class:`fiberaug.Pool`, an
            online generator; or several, by name.
        ratio: Their share of the delivered samples, in [0, 1]; 0.25 where neither this
            nor ``schedule`` says anything.
        weights: How the share is divided among several sources, by name or in their
            order; None: equally.
        mode: ``replace``: one stands in the place of a real sample, and an epoch keeps
            its length; ``append``: an epoch has every real sample once, and these
            besides; ``unit``: as replace, with a fixed number in each unit of
            positions, at places that are drawn.
        schedule: The share as it changes, a :class:`fiberaug.Schedule`; in the place of
            ``ratio``.
        per_class: Other shares for single classes, by name or id: exact in each epoch,
            while windows over all classes are not.
        dry: What happens when a source's samples (of a class) have all been used in an
            epoch: ``cycle``: again from the first, ``max_reuse`` times at most, then
            real ones; ``real``: the real sample is delivered; ``stop``: the epoch ends.
        max_reuse: How often a sample may be delivered in an epoch; None: ``cycle`` has
            no limit, the others deliver it once.
        match: What makes real and mixed-in images alike, where their sizes or codecs
            differ: ``pool`` shrinks real ones to the pool's size, ``real`` brings the
            pool's to the size and codec of the real ones. None: nothing; a warning says
            what differs.
        match_labels: Whether a mixed-in sample has the class of the real one whose
            place it takes (appended ones: the classes' shares of the set). None: where
            both sets have classes.
        late: What happens where an online generator has not made a sample in time:
            ``real``: the real sample is delivered and counted; ``raise``.

    Raises:
        UsageError: An argument is out of range or does not fit the others.
    """

    def __init__(
        self,
        sources: Any,  # noqa: ANN401  # see the docstring
        ratio: float | None = None,
        *,
        weights: Mapping[str, float] | Sequence[float] | None = None,
        mode: str = "replace",
        schedule: Schedule | Mapping[str, Any] | None = None,
        per_class: Mapping[str | int, Any] | None = None,
        dry: str = "cycle",
        max_reuse: int | None = None,
        match: str | None = None,
        match_labels: bool | None = None,
        late: str = "real",
    ) -> None:
        self.sources = _named(sources)
        self.schedule = _schedule(ratio, schedule)
        self.weights = _weights(weights, tuple(self.sources))
        for name, value, known in (
            ("mode", mode, MODES), ("dry", dry, DRY), ("match", match, MATCHES),
            ("late", late, LATE),
        ):  # fmt: skip
            if value not in known:
                raise UsageError(f"{name} must be one of {known}, got {value!r}")
        if max_reuse is not None and (type(max_reuse) is not int or max_reuse < 1):
            raise UsageError(f"max_reuse must be a number >= 1, got {max_reuse!r}")
        if dry == "stop" and mode == "append":
            raise UsageError(
                'mode="append" delivers every real sample once, which dry="stop" would'
                ' not: give dry="real", where a dry source only ends what is appended'
            )
        self.per_class = _per_class(per_class, mode)
        if mode == "append" and max(share.most() for share in self.shares()) >= 1:
            raise UsageError(
                'with mode="append" ratios must stay below 1: no number of samples'
                " beside the real ones is such a share"
            )
        self.mode, self.dry, self.max_reuse, self.match = mode, dry, max_reuse, match
        if not (match_labels is None or isinstance(match_labels, bool)):
            raise UsageError(
                f"match_labels must be True, False or None, got {match_labels!r:.80}"
            )
        if match_labels is False and self.per_class is not None:
            raise UsageError("per_class goes by class: it needs match_labels=True")
        self.match_labels, self.late = match_labels, late
        self.quiet = False
        """Whether nothing is warned of when it is opened."""

    @classmethod
    def of(cls, value: Any) -> Self:  # noqa: ANN401  # a user's value
        """Return a mix, or that of a recipe's section.

        Raises:
            UsageError: It is neither.
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise UsageError(
                f"mix must be a fiberaug.Mix or a recipe's section, got {value!r:.80}"
            )
        unknown = set(value) - set(_SECTION)
        if unknown or "sources" not in value:
            raise UsageError(
                f"section mix has sources and any of {_SECTION[1:]}, got"
                f" {sorted(map(str, value))}"
            )
        arguments = dict(value)
        return cls(arguments.pop("sources"), **arguments)

    @property
    def reuse(self) -> int | None:
        """How often a sample is delivered in an epoch at most; None: without limit."""
        if self.max_reuse is not None or self.dry == "cycle":
            return self.max_reuse
        return 1

    def shares(self) -> list[Schedule]:
        """Return every schedule of it."""
        return [self.schedule, *(self.per_class or {}).values()]

    def describe(self) -> dict[str, Any]:
        """Return what names it, but for the sources, as plain values."""
        said: dict[str, Any] = {
            "schedule": self.schedule.describe(),
            "weights": [str(weight) for weight in self.weights],
            "mode": self.mode,
            "dry": self.dry,
        }
        if self.per_class is not None:
            said["per_class"] = {
                str(label): one.describe() for label, one in self.per_class.items()
            }
        for name in ("max_reuse", "match", "match_labels"):
            if getattr(self, name) is not None:
                said[name] = getattr(self, name)
        return said

    def to_dict(self) -> dict[str, Any]:
        """Return a recipe's section that means the same, but for the sources."""
        section: dict[str, Any] = {
            "schedule": self.schedule.to_dict(),
            "weights": dict(zip(self.sources, map(float, self.weights), strict=True)),
            "mode": self.mode,
            "dry": self.dry,
            "max_reuse": self.max_reuse,
            "match": self.match,
            "match_labels": self.match_labels,
            "late": self.late,
        }
        if self.per_class is not None:
            section["per_class"] = {
                label: one.to_dict() for label, one in self.per_class.items()
            }
        return section

    def __repr__(self) -> str:
        """Return sources and shares."""
        return f"Mix({list(self.sources)}, {self.schedule!r}, mode={self.mode!r})"


def _named(sources: Any) -> dict[str, Any]:  # noqa: ANN401  # a user's value
    if not isinstance(sources, Mapping):
        name = "synthetic"
        if not isinstance(sources, str | Path | list | tuple):
            name = getattr(sources, "name", None) or name
        sources = {name: sources}
    if not 1 <= len(sources) <= _MOST_SOURCES:
        raise UsageError(
            f"a mix has 1 to {_MOST_SOURCES} sources, got {len(sources)}: give a pool,"
            " or pools by name"
        )
    for name, source in sources.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name == REAL:
            raise UsageError(
                "a source's name has letters, digits, '_', '-' and '.', at most 64, and"
                f" is not {REAL!r}; got {name!r:.80}"
            )
        if source is None or isinstance(source, int | float | Mapping):
            raise UsageError(f"source {name!r} must be a pool, got {source!r:.80}")
        if hasattr(source, "shard_set"):
            raise UsageError(
                f"source {name!r} is a data set: give what it was made of, a folder or"
                " shards"
            )
    return dict(sources)


def _schedule(ratio: float | None, schedule: Any) -> Schedule:  # noqa: ANN401
    if isinstance(ratio, Schedule):
        ratio, schedule = None, ratio
    if schedule is None:
        return Schedule.constant(DEFAULT_RATIO if ratio is None else ratio)
    found = Schedule.of(schedule)
    if ratio is not None and Schedule.constant(ratio)(0.0) != found(0.0):
        raise UsageError(
            f"ratio={ratio!r} and a schedule that begins with {found(0.0):g} are given:"
            " the schedule says the whole ratio; leave ratio out"
        )
    return found


def _weights(
    weights: Any,  # noqa: ANN401  # a user's value
    names: tuple[str, ...],
) -> tuple[Fraction, ...]:
    if weights is None:
        return tuple(Fraction(1) for _ in names)
    if isinstance(weights, list | tuple) and len(weights) == len(names):
        weights = dict(zip(names, weights, strict=True))
    if not isinstance(weights, Mapping) or set(weights) != set(names):
        raise UsageError(
            f"weights give each of the sources {list(names)} a number, got {weights!r}"
        )
    found = tuple(as_fraction(weights[n], f"the weight of {n!r}") for n in names)
    if min(found) <= 0:
        raise UsageError(f"weights must be above 0, got {dict(weights)}")
    return found


def _per_class(
    per_class: Any,  # noqa: ANN401  # a user's value
    mode: str,
) -> dict[str | int, Schedule] | None:
    """Return the shares of classes; an empty mapping: the same for each."""
    if per_class is None or isinstance(per_class, bool):
        return None
    if mode == "unit":
        raise UsageError(
            'mode="unit" has a fixed number in each unit, per_class an exact one of'
            " each class; one excludes the other"
        )
    if not isinstance(per_class, Mapping) or not per_class:
        raise UsageError(
            f"per_class gives classes their ratio, or is True, got {per_class!r:.80}"
        )
    return {
        label: share if isinstance(share, Schedule) else Schedule.of(share)
        for label, share in per_class.items()
    }
