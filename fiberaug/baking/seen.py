"""What the samples of a shard held, from which the set's field mapping follows."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from fiberaug.decode.fields import FieldSpec

__all__ = ["BAKED_RECORD", "NOTE", "Seen", "record_field"]

NOTE = "seen"
"""Of a line of a unit's journal that is no error: what its samples held."""

BAKED_RECORD = "baked_record"
_PLAIN = "uint8 3"


def record_field(names: Iterable[str]) -> str:
    """Return the name of the field of baked records, which no other field has."""
    taken, found, number = set(names), BAKED_RECORD, 1
    while found in taken:
        number += 1
        found = f"{BAKED_RECORD}_{number}"
    return found


class Seen:
    """Sources of each field, how many samples had it, and the forms of images."""

    def __init__(self) -> None:
        self.samples = 0
        self.forms: set[str] = set()
        """``dtype channels`` of all images."""
        self._present: Counter[str] = Counter()
        self._sources: dict[str, set[str]] = {}

    def add(self, sources: Mapping[str, str], forms: Iterable[str]) -> None:
        """Count a sample.

        Args:
            sources: The source of each field that it has.
            forms: Forms of its images.
        """
        self.samples += 1
        self.forms.update(forms)
        self._present.update(sources.keys())
        for name, source in sources.items():
            self._sources.setdefault(name, set()).add(source)

    def merge(self, other: Self) -> None:
        """Count the samples of another."""
        self.samples += other.samples
        self.forms |= other.forms
        self._present += other._present
        for name, sources in other._sources.items():
            self._sources.setdefault(name, set()).update(sources)

    @property
    def plain(self) -> bool:
        """Whether every image is uint8 RGB, which any decoding keeps."""
        return self.forms <= {_PLAIN}

    def fields(self, specs: Sequence[FieldSpec]) -> dict[str, str]:
        """Return the field mapping of the set.

        Args:
            specs: Fields of the set that was baked, in order; new ones follow.
        """
        optional = {spec.name: spec.optional for spec in specs}
        names = [*optional, *sorted(self._sources.keys() - optional.keys())]
        found = {}
        for name in names:
            sources = sorted(self._sources.get(name, {f"json:fields.{name}"}))
            misses = self._present[name] < self.samples
            mark = "?" if misses or optional.get(name) else ""
            found[name + mark] = ";".join(sources)
        return found

    def to_line(self) -> dict[str, str]:
        """Return it as a line of a unit's journal."""
        held = {
            "samples": self.samples,
            "forms": sorted(self.forms),
            "present": dict(sorted(self._present.items())),
            "sources": {n: sorted(s) for n, s in sorted(self._sources.items())},
        }
        return {"outcome": "kept", NOTE: json.dumps(held)}

    @classmethod
    def from_line(cls, line: Mapping[str, str]) -> Self:
        """Return what :meth:`to_line` wrote."""
        held, seen = json.loads(line[NOTE]), cls()
        seen.samples, seen.forms = held["samples"], set(held["forms"])
        seen._present = Counter(held["present"])
        seen._sources = {name: set(s) for name, s in held["sources"].items()}
        return seen
