"""What a whole table tells of its columns, before the first sample is made."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.sources.table_columns import BOXES, Columns
from fiberaug.jobs.sources.table_labels import Labelling, Labels, number
from fiberaug.jobs.sources.table_places import Owners, refuse_twice
from fiberaug.jobs.sources.table_rows import Table

__all__ = ["Study", "label_of", "study_table"]


@dataclass(frozen=True, kw_only=True)
class Study:
    """What the rows of a table have in common."""

    rows: int
    """Their number."""

    boxes: int
    """Rows that have one."""

    owners: NDArray[np.int64] | None
    """Number of the image of each row where several have one image; else None."""

    labels: dict[str, Labelling] = field(default_factory=dict)
    """Of ``label`` and ``bbox_label``."""

    lacking: frozenset[str] = frozenset()
    """Fields that are empty in some rows."""

    masks: Sequence[tuple[int, Any]] = ()
    """The first rows with a mask, and what stands there."""


def label_of(columns: Columns, name: str) -> Callable[[Sequence[Any]], Any]:
    """Return what takes the label out of the cells of a row."""
    found = columns.fields[name]
    if len(found) > 1:
        return lambda cells: [cells[i] for i in found]
    only = found[0]
    return lambda cells: cells[only]


def study_table(
    table: Table, columns: Columns, classes: Sequence[str] | None, *, masks: int
) -> Study:
    """Return what the rows of a table have in common, by reading all.

    Args:
        table: The table.
        columns: What its columns are.
        classes: Names by id that the user gave.
        masks: How many masks are to be found.

    Raises:
        DataRefused: There is no row, an image stands twice in a table without boxes, or
            boxes could be fractions.
        UsageError: A label is none of the classes.
    """
    image, mask = columns.one("image"), columns.one("mask")
    held = image is None or table.names[image] in table.files
    owners, numbers, boxes = Owners(), array("q"), _Boxes(columns)
    labels = {
        name: (Labels(table, _title(table, columns, name)), label_of(columns, name))
        for name in ("label", "bbox_label")
        if name in columns.fields
    }
    singles = {f: columns.one(f) for f in ("caption", "mask") if f in columns.fields}
    lacking, first = set[str](), list[tuple[int, Any]]()
    for row, cells in table.rows(columns.text):
        numbers.append(row)
        if not held:
            found = cells[image or 0]
            owners.add(str(found) if found else f"\0{row}")  # its own trouble
        has_box = boxes.add(cells)
        for name, (label, take) in labels.items():
            if name == "label" or has_box:
                label.add(row, take(cells))
        lacking |= {name for name, at in singles.items() if cells[at or 0] is None}
        if mask is not None and len(first) < masks and cells[mask] is not None:
            first.append((row, cells[mask]))
    if not numbers:
        raise DataRefused(f"{table.path} has no row")
    boxes.check(table)
    of_row = None if held else owners.done()
    if of_row is not None and columns.boxes is None:
        refuse_twice(table, of_row, np.asarray(numbers))
    decided = {name: label.decide(classes) for name, (label, _) in labels.items()}
    named = [one.classes for one in decided.values() if one.classes]
    if len(set(named)) > 1:
        raise UsageError(
            f"{table.path}: label and bbox_label have other classes; give all in one"
            " list: classes=[...] (--classes)"
        )
    wrong = decided.get("bbox_label")
    if wrong is not None and wrong.kind not in {"ids", "names"}:
        raise UsageError(
            f"{table.path}: labels of boxes are {wrong}; they must be class ids from 0"
            ' to 99999 or names; carry them as another field: columns={"score": ...}'
        )
    lacking |= {name for name, one in decided.items() if one.lacking}
    return Study(
        rows=len(numbers), boxes=boxes.count, labels=decided, masks=first,
        owners=of_row if columns.boxes else None, lacking=frozenset(lacking),
    )  # fmt: skip


def _title(table: Table, columns: Columns, name: str) -> str:
    return ",".join(table.names[i] for i in columns.fields[name])


class _Boxes:
    """Looks whether all boxes could be fractions."""

    def __init__(self, columns: Columns) -> None:
        four = BOXES[columns.boxes] if columns.boxes else ()
        self._columns = [columns.fields[name][0] for name in four]
        self._fractions = columns.normalized is None
        self.count = 0

    def add(self, cells: Sequence[Any]) -> bool:
        """Return whether a row has a box."""
        found = [cells[i] for i in self._columns]
        if all(one is None or one == "" for one in found):
            return False
        self.count += 1
        if self._fractions:
            values = [number(one) for one in found]
            self._fractions = all(v is None or 0 <= v <= 1 for v in values)
        return True

    def check(self, table: Table) -> None:
        """Refuse boxes that nobody can tell.

        Raises:
            DataRefused: All are in [0, 1].
        """
        if self.count and self._fractions:
            raise DataRefused(
                f"{table.path}: all boxes lie in [0, 1]: say whether they are fractions"
                ' of the image, columns={"normalized": "true"} (--column'
                ' normalized=true), or px, "false"'
            )
