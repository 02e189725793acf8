"""Rows of a table: CSV, TSV, JSON lines; each cell with the type that it has."""

import csv
import os
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from fiberaug.decode.text import parse_json
from fiberaug.errors import DataRefused, StoreError

__all__ = ["Row", "Table", "read_csv", "read_jsonl", "table_files"]

Row = tuple[int, Sequence[Any]]
"""Its number, for errors, and its cells; an empty one is None."""

_DELIMITERS = (",", ";", "\t")
_SNIFFED = 20  # rows that tell the delimiter
_WHOLE = re.compile("0|-?[1-9][0-9]{0,17}")  # 007 is a name
_NUMBER = re.compile(
    r"-?(?:(?:0|[1-9][0-9]{0,17})(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?"
)
_BOOL = re.compile("true|false", re.IGNORECASE)

_Rows = Callable[[Collection[int]], Iterator[Row]]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table, to be read row by row and as often as needed."""

    path: Path
    names: tuple[str, ...]
    """Of its columns."""

    rows: _Rows
    """Begins to read it; CSV keeps the text of some columns, by number."""

    word: str = "line"
    """What the number of a row counts."""

    files: Mapping[str, str] = field(default_factory=dict)
    """Columns that hold files: the leaf of Parquet with their bytes; the cell is the
    name of the file, or None."""

    sizes: Callable[[str, int], int] = lambda _leaf, _row: 0
    """About the bytes of such a file, by leaf and row."""

    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Class names that the table itself states, by column."""

    stamp: str = ""
    """Tells the content of the files that it holds from others'."""

    def where(self, number: int) -> str:
        """Return the place of a row, for errors."""
        return f"{self._name}, {self.word} {number}"

    @cached_property
    def _name(self) -> str:
        return self.path.name


def read_csv(path: Path) -> Table:
    """Return the table in a CSV or TSV file, its columns' types found out.

    A column is whole numbers, numbers, true and false, or else text; ``007`` is text.

    Raises:
        DataRefused: It is no CSV in UTF-8, or a row has too few or too many cells.
        StoreError: It cannot be read.
    """
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(path)
    with _opened(path) as file:
        header = next(_records(file, path, delimiter), (0, [""]))[1]
    spaced = len(header) > 1 and all(name.startswith(" ") for name in header[1:])
    names = _named(path, [name.strip() for name in header])

    def cells() -> Iterator[tuple[int, list[str]]]:
        with _opened(path) as file:
            records = _records(file, path, delimiter, spaced=spaced)
            next(records, None)
            for line, record in records:
                if len(record) != len(names):
                    raise DataRefused(
                        f"{path}, line {line}: {len(record)} cells, the header has"
                        f" {len(names)}; quote cells that have the delimiter"
                        f" {delimiter!r}"
                    )
                yield line, record

    kinds = _kinds(cells(), len(names))

    def rows(text: Collection[int] = ()) -> Iterator[Row]:
        types = [str if i in text else kind for i, kind in enumerate(kinds)]
        for line, record in cells():
            values = zip(types, record, strict=True)
            yield line, [kind(cell) if cell else None for kind, cell in values]

    return Table(path=path, names=names, rows=rows)


def read_jsonl(path: Path) -> Table:
    """Return the table in a file with a JSON object a line; values as they are.

    Raises:
        DataRefused: A line is no JSON object.
        StoreError: It cannot be read.
    """

    def records() -> Iterator[tuple[int, Mapping[str, Any]]]:
        with open(path, "rb") as file:
            for line, data in enumerate(file, 1):
                if not data.strip():
                    continue
                try:
                    record = parse_json(data)
                except DataRefused as error:
                    raise DataRefused(f"{path}, line {line}: {error.message}") from None
                if not isinstance(record, dict):
                    raise DataRefused(
                        f"{path}, line {line}: {record!r:.60} is no JSON object"
                    )
                yield line, record

    found: dict[str, None] = {}
    try:
        for _, record in records():
            found.update(dict.fromkeys(record))
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    names = tuple(found)

    def rows(_text: Collection[int] = ()) -> Iterator[Row]:
        for line, record in records():
            yield line, [record.get(name) for name in names]

    return Table(path=path, names=_named(path, names), rows=rows)


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise DataRefused(
            f"{path} is no UTF-8: {error.reason}; save it as CSV in UTF-8"
        ) from error
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error


def _records(
    file: Iterator[str], path: Path, delimiter: str, *, spaced: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Yield the records that are not blank, with the lines where they begin."""
    reader = csv.reader(file, delimiter=delimiter, strict=True, skipinitialspace=spaced)
    line = 1
    try:
        for record in reader:
            if record:
                yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataRefused(f"{path}, line {line}: {error}") from error


def _delimiter(path: Path) -> str:
    """Return the delimiter that gives the most columns, as many in each row."""
    best, chosen = (False, 1), ","
    for delimiter in _DELIMITERS:
        with _opened(path) as file:
            try:
                rows = [r for _, r in islice(_records(file, path, delimiter), _SNIFFED)]
            except DataRefused:  # with another it may be sound
                continue
        widths = {len(row) for row in rows}
        score = (len(widths) == 1 and widths != {1}, len(rows[0]) if rows else 0)
        if score > best:
            best, chosen = score, delimiter
    return chosen


def _named(path: Path, header: Sequence[str]) -> tuple[str, ...]:
    names = [
        unicodedata.normalize("NFC", name) or f"column_{i}"
        for i, name in enumerate(header, 1)
    ]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataRefused(f"{path}: columns {twice} stand twice; rename one of them")
    return tuple(names)


def _bool(cell: str) -> bool:
    return cell.lower() == "true"


_TYPES: Sequence[tuple[re.Pattern[str], Callable[[str], Any]]] = (
    (_BOOL, _bool), (_WHOLE, int), (_NUMBER, float), (re.compile(".*", re.DOTALL), str),
)  # fmt: skip
_FLOAT, _TEXT = 2, 3


def _kinds(
    rows: Iterator[tuple[int, list[str]]], width: int
) -> list[Callable[[str], Any]]:
    """Return what makes values of the cells of each column."""
    kinds = [-1] * width
    tests = [re.compile("(?!)").match] * width  # matches nothing
    for _, cells in rows:
        for i, cell in enumerate(cells):
            if not cell or tests[i](cell) is not None:
                continue
            wider = range(kinds[i] + 1, _TEXT) if kinds[i] else ()
            fits = (k for k in wider if _TYPES[k][0].fullmatch(cell))
            kinds[i] = next(fits, _TEXT)
            tests[i] = _TYPES[kinds[i]][0].fullmatch
    return [_TYPES[kind][1] for kind in kinds]


def table_files(folder: Path) -> list[str]:
    """Return the names of the tables in a folder, sorted."""
    suffixes = {".csv", ".tsv", ".parquet", ".jsonl"}
    return sorted(
        entry.name
        for entry in os.scandir(folder)
        if os.path.splitext(entry.name)[1].lower() in suffixes and entry.is_file()
    )
