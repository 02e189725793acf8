"""Whether a source fits the data set it is mixed into: fields, classes, shares."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from fiberaug.dealing import allocate
from fiberaug.decode.fields import FieldSpec
from fiberaug.decode.sample import SampleDecoder
from fiberaug.errors import DataRefused, UsageError
from fiberaug.mix import Mix
from fiberaug.schedules import Schedule, as_fraction
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.opening import open_shard
from fiberaug.shards.reader import ShardRef

__all__ = [
    "check_labels", "check_unit", "label_kind", "per_class_of", "relabel_of",
    "same_fields", "scaled",
]  # fmt: skip

_log = logging.getLogger("fiberaug")
_SHOWN = 10
_LOOKED_AT = 16  # samples


def same_fields(
    name: str, theirs: Sequence[FieldSpec], own: Sequence[FieldSpec]
) -> tuple[FieldSpec, ...]:
    """Return how a source fills the data set's fields, in their order.

    Raises:
        UsageError: It has no member for one of them.
    """
    known = {spec.name: spec for spec in theirs}
    lacking = [s.name for s in own if not s.optional and s.name not in known]
    if lacking:
        raise UsageError(
            f"source {name!r} of the mix has the fields {sorted(known)}, the data set"
            f" also needs {lacking}: a mixed-in sample must have what a real one has;"
            " leave the fields out with fields=, or mark them with '?'"
        )
    return tuple(
        replace(known.get(spec.name, spec), optional=spec.optional) for spec in own
    )


def relabel_of(
    name: str, theirs: tuple[str, ...], own: tuple[str, ...]
) -> dict[int, int] | None:
    """Return from a source's class ids to the data set's; None: they are the same.

    Raises:
        UsageError: A class is not known here.
    """
    if theirs == own or not theirs:
        return None
    if not own and all(label.isdecimal() for label in theirs):
        return {i: int(label) for i, label in enumerate(theirs)}
    if not own:
        _log.warning(
            "the data set's classes have no names: class 0 is taken for %r of source"
            " %r of the mix, and so on; `fiberaug convert` gives a set names",
            theirs[0], name,
        )  # fmt: skip
        return None
    unknown = [label for label in theirs if label not in own]
    if unknown:
        raise UsageError(
            f"source {name!r} of the mix has the classes {unknown[:_SHOWN]}, the data"
            f" set has {list(own)[:_SHOWN]}: classes are matched by name; write the"
            " pool with the data set's names"
        )
    return {i: own.index(label) for i, label in enumerate(theirs)}


def scaled(classes: Mapping[int, int], positions: int) -> dict[int, int]:
    """Return the classes' samples in an epoch of another length."""
    labels = sorted(classes)
    return dict(
        zip(labels, allocate(positions, [classes[c] for c in labels]), strict=True)
    )


def per_class_of(
    mix: Mix, names: tuple[str, ...], classes: Mapping[int, int]
) -> dict[int, Schedule] | None:
    """Return the share of each class, where they are exact by class."""
    if mix.per_class is None:
        return None
    found = dict.fromkeys(classes, mix.schedule)
    for name, schedule in mix.per_class.items():
        label = names.index(name) if name in names else name
        if isinstance(label, str) and not names and label.isdecimal():
            label = int(label)
        if label not in classes:
            known = [names[c] if c < len(names) else c for c in classes]
            raise UsageError(
                f"per_class names {name!r}, the data set has {known[:_SHOWN]}"
            )
        found[int(label)] = schedule
    return found


def label_kind(
    refs: Sequence[ShardRef], cache: ShardCache | None, decoder: SampleDecoder
) -> str:
    """Return what the labels of a set are, by one of its first samples.

    Empty where none of them tells: it has no label, or all are broken.

    Raises:
        StoreError: The first shard cannot be read.
    """
    if not refs or not any(spec.name == "label" for spec in decoder.specs):
        return ""
    file, label = open_shard(refs[0], cache), None
    for number in range(min(_LOOKED_AT, len(file.index))):
        with suppress(DataRefused):  # a broken sample is met again where it is dealt
            label = decoder(file.read(number)).fields.get("label")
        if label is not None:
            break
    if label is None:
        return ""
    if isinstance(label, int | np.integer):
        return "class ids"
    return f"vectors of {len(label)}" if np.ndim(label) else "numbers"


def check_labels(own: str, theirs: Mapping[str, str]) -> None:
    """Check that labels of all sources are of the data set's kind.

    Args:
        own: What the data set's labels are; see :func:`label_kind`.
        theirs: What those of each source are.

    Raises:
        UsageError: They are not.
    """
    for name, kind in theirs.items():
        if own and kind and kind != own:
            raise UsageError(
                f"labels of source {name!r} of the mix are {kind}, the data set's are"
                f" {own}: a batch cannot hold both; write the source with such labels,"
                " or leave them out with fields="
            )


def check_unit(mix: Mix, unit: int) -> None:
    """Check that a constant ratio is a whole number in each unit.

    Raises:
        UsageError: It is not.
    """
    if mix.schedule.shape != "constant":
        return
    share = as_fraction(mix.schedule(0.0), "ratio")
    if (share * unit).denominator != 1:
        low = int(share * unit)
        raise UsageError(
            f'mode="unit" has a fixed number in each unit of {unit} positions, and'
            f" {float(share):g} of them is {float(share * unit):g}; give"
            f' {low / unit:g} or {(low + 1) / unit:g}, or mode="replace"'
        )
