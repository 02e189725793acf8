"""A table of figures that grows by a row a step, as a CSV file.

A table can be cut: what a training that was killed had written beyond its last state
is taken back, so that the file of a training that went on is that of an unbroken one.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fiberaug.errors import DataRefused, StoreError
from fiberaug.files import write_atomically

__all__ = ["Table", "read_table"]

_MOST_WAITING = 100  # rows kept before they are written


class Table:
    """Figures by name and by step in a file; the first column is ``step``.

    A figure that comes for the first time becomes a further column; rows without it
    are empty there.

    Args:
        path: The file; it is made with the first rows.
        first: Columns that are always there, ``step`` first, in order.
    """

    def __init__(self, path: Path, first: Sequence[str]) -> None:
        self.path = path
        self._first = tuple(first)
        self._columns = list(first)
        self._waiting: list[dict[str, str]] = []

    def add(self, row: Mapping[str, float]) -> None:
        """Add a row; it may wait in memory for some of those that follow.

        Raises:
            StoreError: The file cannot be written.
        """
        new = [name for name in row if name not in self._columns]
        if new:
            self.flush()
            self._columns += new
            if self.path.exists():
                self._write([dict(one) for one in read_table(self.path)])
        self._waiting.append({name: _text(value) for name, value in row.items()})
        if len(self._waiting) >= _MOST_WAITING:
            self.flush()

    def flush(self) -> None:
        """Write all rows that wait.

        Raises:
            StoreError: The file cannot be written.
        """
        if not self._waiting:
            return
        if not self.path.exists():
            self._write(self._waiting)
        else:
            try:
                with self.path.open("a", newline="", encoding="utf-8") as file:
                    file.write(_lines(self._columns, self._waiting, head=False))
            except OSError as error:
                raise StoreError(
                    f"cannot write {self.path}: {error.strerror or error}",
                    stage="write",
                ) from error
        self._waiting = []

    def cut(self, step: int) -> None:
        """Take back all rows after a step, and the columns that only they had.

        A last row that was written in part is taken back, too.

        Args:
            step: Number of the last step that stays; with 0 no row stays.

        Raises:
            DataRefused: The file is no table of steps.
            StoreError: The file cannot be written.
        """
        self._waiting = []
        self._columns = list(self._first)
        if not self.path.exists():
            return
        rows = [dict(row) for row in read_table(self.path) if int(row["step"]) <= step]
        known = dict.fromkeys(name for row in rows for name in row if row[name])
        self._columns += [name for name in known if name not in self._first]
        self._write(rows)

    def _write(self, rows: Sequence[Mapping[str, str]]) -> None:
        text = _lines(self._columns, rows, head=True)
        write_atomically(self.path, text.encode())


def read_table(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a table, texts by column; a last row in part is left out.

    Raises:
        DataRefused: The file is no table of steps.
    """
    with path.open(newline="", encoding="utf-8") as file:
        head = next(csv.reader([file.readline()]), [])
        if head[:1] != ["step"]:
            raise DataRefused(f"{path} is no table of a training: no column step first")
        for line in file:
            cells = next(csv.reader([line]), [])
            whole = line.endswith("\n") and len(cells) == len(head)
            if not whole or not cells[0].isdigit():
                return
            yield dict(zip(head, cells, strict=True))


def _lines(
    columns: Sequence[str], rows: Sequence[Mapping[str, str]], *, head: bool
) -> str:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(
        file, columns, restval="", extrasaction="ignore", lineterminator="\n"
    )
    if head:
        writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
