"""Labels of a table: ids, numbers, vectors or names, as the whole column tells."""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.sources.folder import check_classes
from fiberaug.jobs.sources.table_rows import Table
from fiberaug.sizes import counted

__all__ = ["Labelling", "Labels", "number"]

_MOST = 100_000  # classes
_FIGURES = re.compile(  # also 007, which is a name but looks like a number
    r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?"
)


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """What the values of a column mean."""

    kind: str
    """``ids``, ``names``, ``numbers`` or ``vectors``."""

    classes: tuple[str, ...] = ()
    ids: Mapping[str, int] = field(default_factory=dict)
    length: int = 0
    """Of a vector."""

    lacking: bool = False
    """Some rows have none."""

    def __call__(self, value: Any) -> int | float | list[float] | None:  # noqa: ANN401
        """Return a label.

        Raises:
            ValueError: It is none of the classes, or a vector is not whole.
        """
        if _is_missing(value):
            return None
        if self.kind == "names":
            if _text(value) not in self.ids:
                raise ValueError(f"the label {value!r:.60} is none of the classes")
            return self.ids[_text(value)]
        if self.kind == "vectors":
            found = [one for one in map(number, value) if one is not None]
            if len(found) != self.length or len(value) != self.length:
                raise ValueError(
                    f"the label {list(value)!r:.200} is not {self.length} numbers, as"
                    " the first one"
                )
            return found
        return int(value) if self.kind == "ids" else float(value)

    def __str__(self) -> str:
        """Return it in words."""
        if self.kind == "names":
            return counted(len(self.classes), "class").replace("classs", "classes")
        return {"ids": "class ids"}.get(self.kind, self.kind)


def number(value: Any) -> float | None:  # noqa: ANN401  # a cell
    """Return a cell as a number, whole ones as int; None where it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value if math.isfinite(value) else None
    if isinstance(value, str) and _FIGURES.fullmatch(value.strip()):
        return int(value) if value.strip().isdigit() else float(value)
    return None


def _is_missing(value: Any) -> bool:  # noqa: ANN401
    vector = isinstance(value, list | tuple)
    return value is None or value == "" or (vector and all(map(_is_missing, value)))


def _text(value: Any) -> str:  # noqa: ANN401
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return unicodedata.normalize("NFC", text)


class Labels:
    """Looks at all labels of a column before it says what they are.

    Args:
        table: The table.
        name: The column, or several.
    """

    def __init__(self, table: Table, name: str) -> None:
        self._table, self._name = table, name
        self._names: dict[str, int] = {}  # the row that has it first
        self._seen: dict[str, tuple[int, Any]] = {}  # kinds of values
        self._largest = (-1, 0)
        self._lacking = False

    def add(self, row: int, value: Any) -> None:  # noqa: ANN401
        """Take in the label of a row.

        Raises:
            DataRefused: There are too many classes.
        """
        if _is_missing(value):
            self._lacking = True
        elif isinstance(value, list | tuple):
            self._seen.setdefault("vectors", (row, value))
        elif isinstance(value, str | bool):
            figures = isinstance(value, str) and number(value) is not None
            self._seen.setdefault("figures" if figures else "names", (row, value))
            self._name_it(row, value)
        elif isinstance(value, int | float):
            if float(value).is_integer() and 0 <= value < _MOST:
                self._seen.setdefault("ids", (row, value))
                if value > self._largest[0]:
                    self._largest = int(value), row
            else:
                self._seen.setdefault("numbers", (row, value))
        else:
            self._refuse(row, value, "is no label")

    def _name_it(self, row: int, value: Any) -> None:  # noqa: ANN401
        self._names.setdefault(_text(value), row)
        if len(self._names) > _MOST:
            self._refuse(row, value, f"is one more than {_MOST} classes")

    def _refuse(self, row: int, value: Any, why: str) -> None:  # noqa: ANN401
        raise DataRefused(
            f"{self._table.where(row)}: {self._name} {value!r:.60} {why}; carry the"
            f' column under another name: columns={{"more": "{self._name}"}}, and name'
            ' that of the labels: {"label": ...}'
        )

    def decide(self, classes: Sequence[str] | None) -> Labelling:
        """Return what the labels are.

        Args:
            classes: Names by id that the user gave.

        Raises:
            DataRefused: Some are numbers and some are not.
            UsageError: A name or an id is none of ``classes``.
        """
        stated = self._table.classes.get(self._name)
        given = stated if classes is None else classes
        names = None if given is None else check_classes(given)
        kinds = [kind for kind in self._seen if kind != "numbers"]
        if "numbers" in self._seen:
            kinds = [*(kind for kind in kinds if kind != "ids"), "numbers"]
        if len(kinds) > 1 and (names is None or "vectors" in kinds):
            (one, first), (other, second) = (self._seen[kind] for kind in kinds[:2])
            raise DataRefused(
                f"{self._table.path}: {self._name} is {first!r:.60} in"
                f" {self._table.word} {one}, and {second!r:.60} in {other}: numbers and"
                " names in one column; leave unknown labels empty, or name all classes"
                " with classes=[...] (--classes)"
            )
        if kinds == ["numbers"]:
            return Labelling(kind="numbers", lacking=self._lacking)
        if kinds == ["vectors"]:
            length = len(self._seen["vectors"][1])
            return Labelling(kind="vectors", length=length, lacking=self._lacking)
        if kinds == ["ids"]:
            largest, row = self._largest
            if names is not None and largest >= len(names):
                raise UsageError(
                    f"{self._table.where(row)}: the class id {largest}, but"
                    f" {len(names)} classes: {names[:10]}"
                )
            return Labelling(
                kind="ids", classes=tuple(names or ()), lacking=self._lacking
            )
        return self._named(names)

    def _named(self, names: Sequence[str] | None) -> Labelling:
        names = sorted(self._names) if names is None else names
        unknown = sorted(set(self._names) - set(names))
        if unknown:
            raise UsageError(
                f"{self._table.where(self._names[unknown[0]])}: {self._name}"
                f" {unknown[0]!r} is none of the classes {list(names)[:20]}"
            )
        ids = {name: i for i, name in enumerate(names)}
        return Labelling(
            kind="names", classes=tuple(names), ids=ids, lacking=self._lacking
        )
