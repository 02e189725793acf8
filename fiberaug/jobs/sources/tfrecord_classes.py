"""Class ids and names of TFRecord files: numbers, names, or both side by side."""

import struct
import unicodedata
from array import array
from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

from fiberaug.errors import DataRefused, SampleBroken, UsageError
from fiberaug.jobs.items import Items
from fiberaug.jobs.sources.folder import check_classes
from fiberaug.jobs.sources.tfrecord_columns import (
    NO_CLASS,
    Said,
    object_labels,
    said_class,
)
from fiberaug.jobs.sources.tfrecord_example import Values
from fiberaug.jobs.sources.tfrecord_file import Record

__all__ = ["Labels", "Naming", "name_classes"]

_NONE, _BROKEN = -1, -2


class Naming(NamedTuple):
    """Ids of classes."""

    names: tuple[str, ...] = ()
    """By id; empty where the files have numbers alone."""

    ids: tuple[tuple[Said, int], ...] = ()
    """The id of each class as records have it."""

    own: tuple[int, ...] = ()
    """By id: the number that the files have, where it is another one."""


def name_classes(found: Collection[Said], told: Sequence[str] | None) -> Naming:
    """Return the ids of classes: those of the files, or in the order of their numbers.

    Numbers without any name stay as they are. Named ones become 0, 1, 2, ... in their
    order: the object detection API counts from 1.

    Args:
        found: All classes that records have.
        told: Class names by id that the user gives.

    Raises:
        UsageError: A class is none of those that the user gives.
        DataRefused: Two numbers have one name, or one has two.
    """
    there = sorted(said for said in found if said != NO_CLASS and said[0] != -1)
    numbers = {number for number, _ in there if number is not None}
    texts = {said: _normal(said[1]) for said in there}
    if numbers and not any(texts.values()):
        return _numbered(numbers, told)
    by_number: dict[int, str] = {}
    for number, text in sorted(
        (said[0], texts[said]) for said in there if said[0] is not None
    ):
        known = by_number.setdefault(number, text)
        if text and known and text != known:
            raise DataRefused(
                f"class {number} is named {known!r} and {text!r}; say which feature is"
                ' the label: columns={"label": ...} (--column label=...)'
            )
        by_number[number] = known or text
    named = {number: name or str(number) for number, name in by_number.items()}
    twice = [name for name in named.values() if [*named.values()].count(name) > 1]
    if twice:
        raise DataRefused(
            f"classes {[n for n in named if named[n] == twice[0]]} are all named"
            f" {twice[0]!r}; give each its own name"
        )
    own = [*named.values()]
    own += sorted({texts[said] for said in there if said[0] is None} - set(own))
    names = own if told is None else check_classes(told)
    unknown = sorted(set(own) - set(names))
    if unknown:
        raise UsageError(f"classes {unknown[:10]} are none of the classes {names}")
    ids = {
        said: names.index(texts[said] if said[0] is None else named[said[0]])
        for said in there
    }
    moved = [*named] if told is None and len(named) == len(names) else []
    other = moved if moved != [*range(len(moved))] else []
    return Naming(tuple(names), tuple(ids.items()), tuple(other))


def _numbered(numbers: set[int], told: Sequence[str] | None) -> Naming:
    names = [] if told is None else check_classes(told)
    beyond = sorted(
        n for n in numbers if n < 0 or (told is not None and n >= len(names))
    )
    if beyond:
        has = (
            f"classes are {len(names)}: {names}" if told is not None else "ids are >= 0"
        )
        raise UsageError(f"class id {beyond[0]} has no name; {has}")
    ids = tuple(((number, ""), number) for number in sorted(numbers))
    return Naming(tuple(names), ids)


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text)


class Labels:
    """The labels of all records, while it is open which feature has them.

    Args:
        pairs: Features that may have the number, and the name.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._classes = {pair: dict[Said, int]() for pair in pairs}
        self._rows = {pair: array("q") for pair in pairs}
        self._hash = blake2b(digest_size=16)
        self.objects = set[Said]()
        """Classes of objects."""

        self.broken = 0
        """Records without a feature."""

    def add(self, features: Mapping[str, Values], record: Record) -> None:
        """Take in a record; one that is broken has no features."""
        self._hash.update(struct.pack("<QI", record.size, record.crc))
        self.broken += not features
        for pair, classes in self._classes.items():
            said = said_class(*(features.get(name, ()) for name in pair))
            row = _NONE if said == NO_CLASS else classes.setdefault(said, len(classes))
            self._rows[pair].append(row if features else _BROKEN)
        try:
            self.objects |= set(object_labels(features))
        except SampleBroken:  # the reader says it of its sample
            return

    def digest(self) -> str:
        """Return a hash of all records: their checksums stand for them."""
        return self._hash.hexdigest()

    def resolved(
        self, items: Items, pair: tuple[str, str], told: Sequence[str] | None
    ) -> tuple[Items, Naming, bool]:
        """Return the items with class ids, the classes, and whether some have none.

        Args:
            items: All records.
            pair: The features that have the number and the name.
            told: Class names by id that the user gives.
        """
        classes, rows = self._classes[pair], self._rows[pair]
        naming = name_classes(classes, told)
        table = dict(naming.ids)
        ids = {row: table.get(said) for said, row in classes.items()}
        labelled = items.labelled(ids.get(row) for row in rows)
        return labelled, naming, any(r != _BROKEN and ids.get(r) is None for r in rows)
