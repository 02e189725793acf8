"""How many samples of which class a pool is to have, and in which order they are made.

The order is a function of what is asked and of what was refused so far, and of nothing
else: not of batches, processes or the places where a run was stopped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from fiberaug.errors import UsageError

__all__ = ["MOST_TRIES", "Asked", "Round"]

MOST_TRIES = 4
"""Samples of a class that are made at most for each one that is asked for."""

PerClass = int | Mapping[str, int] | Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a pool is to have; made by :meth:`of`."""

    names: tuple[str, ...]
    """Class names of the generator by label; empty: it has none."""

    counts: Mapping[int, int]
    """Samples of each label that is asked for, >= 1, in the order of labels."""

    labelled: bool
    """Whether labels mean anything."""

    @classmethod
    def of(
        cls,
        names: tuple[str, ...],
        *,
        per_class: PerClass | None,
        count: int | None,
        classes: Sequence[str] | None,
    ) -> Self:
        """Return what is asked for.

        Args:
            names: Class names of the generator.
            per_class: Samples of each class, or of each that is named.
            count: Samples in all, spread evenly; the first classes get one more.
            classes: Names (or numbers) of the classes to make. None: all.

        Raises:
            UsageError: A class is unknown, a number is out of range, or not exactly one
                of ``per_class`` and ``count`` is given.
        """
        if (per_class is None) == (count is None):
            raise UsageError("say per_class or count: how many samples are wanted")
        if isinstance(per_class, Mapping):
            if classes is not None:
                raise UsageError("per_class names the classes: leave classes out")
            wanted = {
                _label(name, names): _number(n, f"per_class[{name!r}]", least=0)
                for name, n in per_class.items()
            }
            return cls(names, _some(wanted), labelled=True)
        labels = _labels(classes, names)
        if per_class is not None:
            if labels is None:
                raise UsageError(
                    "the generator names no classes, so per_class means nothing: say"
                    " count, or name labels in classes, or per_class={0: 10, 1: 10}"
                )
            each = _number(per_class, "per_class", least=1)
            return cls(names, dict.fromkeys(labels, each), labelled=True)
        total = _number(count, "count", least=1)
        spread = labels if labels is not None else [0]
        share, rest = divmod(total, len(spread))
        wanted = {label: share + (i < rest) for i, label in enumerate(spread)}
        return cls(names, _some(wanted), labelled=labels is not None)

    def name(self, label: int) -> str:
        """Return what stands for a label in seeds and keys."""
        return self.names[label] if self.names else str(label)

    @property
    def total(self) -> int:
        """Samples in all."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Round:
    """Samples that are made before it is looked how many are still missing."""

    first: Mapping[int, int]
    """Index of the first sample of each label."""

    need: Mapping[int, int]
    """Number of samples of each label, >= 1."""

    @classmethod
    def after(
        cls, asked: Asked, made: Mapping[int, int], accepted: Mapping[int, int]
    ) -> Self:
        """Return the next round; an empty one where nothing is left to do.

        Args:
            asked: What the pool is to have.
            made: Samples of each label made so far.
            accepted: Those of them that were taken.
        """
        first, need = {}, {}
        for label, wanted in asked.counts.items():
            done = made.get(label, 0)
            missing = min(wanted - accepted.get(label, 0), MOST_TRIES * wanted - done)
            if missing > 0:
                first[label], need[label] = done, missing
        return cls(first, need)

    def __len__(self) -> int:
        """Return the number of samples."""
        return sum(self.need.values())

    def candidates(self) -> list[tuple[int, int]]:
        """Return (label, number) of each sample, classes evenly among each other."""
        labels = np.array([*self.need], np.int64)
        counts = np.array([*self.need.values()], np.int64)
        label = labels.repeat(counts)
        number = np.concatenate(
            [np.arange(n) for n in counts] or [np.zeros(0, np.int64)]
        )
        place = (2 * number + 1) / (2 * counts.repeat(counts))
        order = np.lexsort((label, place))
        start = np.array([*self.first.values()], np.int64).repeat(counts)
        return list(
            zip(label[order].tolist(), (start + number)[order].tolist(), strict=True)
        )


def _labels(classes: Sequence[str] | None, names: tuple[str, ...]) -> list[int] | None:
    if classes is None:
        return list(range(len(names))) or None
    if isinstance(classes, str) or not classes:
        raise UsageError(f"classes must be a list of names, got {classes!r}")
    found = [_label(name, names) for name in classes]
    if len(set(found)) < len(found):
        raise UsageError(f"classes names one twice: {list(classes)}")
    return sorted(found)


def _label(name: object, names: tuple[str, ...]) -> int:
    if isinstance(name, str) and name in names:
        return names.index(name)
    number = name
    if isinstance(name, str) and name.isascii() and name.isdecimal() and not names:
        number = int(name)
    if type(number) is int and 0 <= number < (len(names) or 2**31):
        return number
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    known = f"it has {shown}" if names else "its classes are numbers from 0"
    raise UsageError(f"the generator has no class {name!r}: {known}")


def _number(value: object, name: str, *, least: int) -> int:
    if type(value) is not int or not least <= value < 2**40:
        raise UsageError(f"{name} must be an integer >= {least}, got {value!r}")
    return value


def _some(wanted: Mapping[int, int]) -> dict[int, int]:
    found = {label: n for label, n in sorted(wanted.items()) if n}
    if not found:
        raise UsageError(f"per_class asks for no sample: {dict(wanted)}")
    return found
