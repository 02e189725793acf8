"""Rows of one image to an item: all that its reader must know, in JSON."""

import json
from collections.abc import Sequence
from typing import Any

from fiberaug.jobs.items import Item
from fiberaug.jobs.sources.files import Keys
from fiberaug.jobs.sources.table_columns import BOXES, Columns
from fiberaug.jobs.sources.table_labels import number
from fiberaug.jobs.sources.table_places import Places
from fiberaug.jobs.sources.table_rows import Row, Table
from fiberaug.jobs.sources.table_study import Study, label_of

__all__ = ["Maker"]

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class Maker:
    """A function (rows of one image) -> item.

    What is wrong with the rows of one image is told in its notes: the others go on.

    Args:
        table: The table.
        columns: What its columns are.
        study: What all rows tell.
        image: Leaf of Parquet with the images, or None where they are files.
        mask: The same, of masks.
        places: Finds files.
    """

    def __init__(
        self,
        table: Table,
        columns: Columns,
        study: Study,
        *,
        image: str | None,
        mask: str | None,
        places: Places,
    ) -> None:
        self._table, self._columns, self._study = table, columns, study
        self._image, self._mask, self._places = image, mask, places
        self._keys = Keys()
        self._box = [columns.one(f) or 0 for f in BOXES.get(columns.boxes or "", ())]
        self._take = {name: label_of(columns, name) for name in study.labels}

    def __call__(self, rows: Sequence[Row]) -> Item:
        """Return the item of an image.

        Raises:
            UsageError: A file is a URL.
            SecurityRefused: A file lies outside.
            DataRefused: A file's name is no path.
        """
        row, cells = rows[0]
        where = self._table.where(row)
        place, size, name = f"{self._table.word} {row}", 0, ""
        text = cells[self._columns.one("image") or 0]
        if self._image is not None:
            size = self._table.sizes(self._image, row)
            name = str(text or f"row-{row:06d}").encode(errors="replace").decode()
        elif text not in {None, ""}:
            place, size = self._places(str(text), where)
            name = place.replace("../", "")
        label, notes = None, b""
        try:
            label, notes, more = self._told(rows, name)
            size += more
        except _Problem as problem:
            notes = json.dumps({"problem": str(problem)}).encode()
        key = self._keys(name or f"{self._table.path.stem}-{row:06d}")
        return Item(key, place, size, label, notes)

    def _told(self, rows: Sequence[Row], name: str) -> tuple[int | None, bytes, int]:
        """Return a class id, the notes, and the bytes of the mask."""
        row, cells = rows[0]
        if not name:
            raise _Problem(f"{self._table.where(row)} names no image")
        told: dict[str, Any] = {}
        if self._image is not None or self._mask is not None:
            told["row"] = row
        size = self._fields(rows, told)
        label = self._label(rows)
        if label is not None and not isinstance(label, int):
            told["label"] = label
        if self._columns.boxes:
            self._objects(rows, told)
        elif self._columns.carried:
            told["values"] = self._carried(cells)
        notes = _json(told, self._table.where(row)) if told else b""
        return label if isinstance(label, int) else None, notes, size

    def _common(self, rows: Sequence[Row], field: str) -> Any:  # noqa: ANN401  # a cell
        """Return what the rows of an image say of it."""
        at = self._columns.one(field)
        if at is None or (len(rows) == 1 and rows[0][1][at] is None):
            return None
        if len(rows) == 1:
            return rows[0][1][at]
        said = {json.dumps(c[at]): (row, c[at]) for row, c in rows if c[at] is not None}
        if len(said) > 1:
            (one, first), (other, second) = list(said.values())[:2]
            raise _Problem(
                f"{self._table.where(one)} and {other} are of one image, and differ in"
                f" its {field}: {first!r:.60} and {second!r:.60}"
            )
        return next(iter(said.values()))[1] if said else None

    def _fields(self, rows: Sequence[Row], told: dict[str, Any]) -> int:
        """Take in what the rows say of the image; return the bytes of its mask."""
        where = self._table.where(rows[0][0])
        caption = self._common(rows, "caption")
        if caption is not None:
            told["caption"] = str(caption)
        group = self._common(rows, "group")
        if group is not None:
            told["group"] = group
        sides = [self._common(rows, side) for side in ("width", "height")]
        if any(side is not None for side in sides):
            numbers = [number(side) for side in sides]
            told["size"] = [int(n) for n in numbers if n is not None and n == int(n)]
            if len(told["size"]) < 2:
                raise _Problem(f"{where}: the size {sides} is none in px")
        size = 0
        if self._mask is not None:
            told["mask"] = ""
            size = self._table.sizes(self._mask, rows[0][0])
        elif (mask := self._common(rows, "mask")) is not None:
            told["mask"], size = self._places(str(mask), where)
        return size

    def _label(self, rows: Sequence[Row]) -> int | float | list[float] | None:
        if "label" not in self._study.labels:
            return None
        labelling, take = self._study.labels["label"], self._take["label"]
        found = None
        for row, cells in rows:
            try:
                label = labelling(take(cells))
            except ValueError as error:
                raise _Problem(f"{self._table.where(row)}: {error}") from None
            if found is not None and label not in (None, found):
                raise _Problem(
                    f"{self._table.where(rows[0][0])} and {row} are of one image, and"
                    f" differ in its label: {take(rows[0][1])!r:.60} and"
                    f" {take(cells)!r:.60}"
                )
            found = label if found is None else found
        return found

    def _objects(self, rows: Sequence[Row], told: dict[str, Any]) -> None:
        told["objects"], others = [], []
        for row, cells in rows:
            box = self._corners(row, cells)
            if box is None:
                other = self._without_box(cells)
                others += [other] if other else []
                continue
            one = [box, *self._carried(cells)]
            if "bbox_label" in self._study.labels:
                one.insert(1, self._box_label(row, cells))
            told["objects"].append(one)
        if others:
            told["rows"] = others

    def _box_label(self, row: int, cells: Sequence[Any]) -> Any:  # noqa: ANN401
        try:
            label = self._study.labels["bbox_label"](self._take["bbox_label"](cells))
        except ValueError as error:
            raise _Problem(f"{self._table.where(row)}: {error}") from None
        if label is None:
            raise _Problem(f"{self._table.where(row)}: the box has no label")
        return label

    def _corners(self, row: int, cells: Sequence[Any]) -> list[float] | None:
        given = [cells[i] for i in self._box]
        if all(one is None or one == "" for one in given):
            return None
        found = [float(n) for one in given if (n := number(one)) is not None]
        if len(found) < 4:
            raise _Problem(f"{self._table.where(row)}: {given} is no box of 4 numbers")
        x, y, across, down = found
        sizes = self._columns.boxes == "sizes"
        return [x, y, x + across, y + down] if sizes else found

    def _carried(self, cells: Sequence[Any]) -> list[Any]:
        return [cells[i] for i in self._columns.carried.values()]

    def _without_box(self, cells: Sequence[Any]) -> dict[str, Any]:
        """Return what else a row without a box says."""
        columns = dict(self._columns.carried)
        for at in self._columns.fields.get("bbox_label", ()):
            columns[self._table.names[at]] = at
        return {name: cells[i] for name, i in columns.items() if cells[i] is not None}


class _Problem(Exception):
    """Something is wrong with the rows of one image."""


def _json(told: dict[str, Any], where: str) -> bytes:
    try:
        return _ENCODER.encode(told).encode()
    except ValueError as error:  # an infinite number, or half a surrogate pair
        raise _Problem(f"{where} cannot be stored as JSON: {error}") from None
