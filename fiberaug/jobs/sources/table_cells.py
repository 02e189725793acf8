"""Files in the cells of a Parquet file, read row group by row group."""

import os
from bisect import bisect_right
from functools import lru_cache
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import Any

from fiberaug.errors import DataRefused, SampleBroken, StoreError, UsageError

__all__ = ["chunk_of", "open_parquet", "read_cell", "row_ends"]

_KEPT = 2**27  # bytes of a row group that is kept in memory
_GROUPS = 4  # row groups that are kept


def open_parquet(path: Path) -> Any:  # noqa: ANN401  # PyArrow has no types
    """Return a Parquet file.

    Raises:
        UsageError: PyArrow is not installed.
        DataRefused: It is no Parquet file.
        StoreError: It cannot be read.
    """
    try:
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        raise UsageError(
            f"{path.name} needs PyArrow: pip install 'fiberaug[parquet]'"
        ) from error
    try:
        return parquet.ParquetFile(path)
    except ValueError as error:  # ArrowInvalid
        raise DataRefused(f"{path} is no Parquet file: {error}") from error
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(f"cannot read {path}: {reason}") from error


def row_ends(file: Any) -> list[int]:  # noqa: ANN401
    """Return the row at which each row group ends."""
    groups = range(file.metadata.num_row_groups)
    return list(accumulate(file.metadata.row_group(i).num_rows for i in groups))


def chunk_of(file: Any, group: int, leaf: str) -> Any:  # noqa: ANN401
    """Return what the footer says of a column in a row group."""
    found = file.metadata.row_group(group)
    for i in range(found.num_columns):
        if found.column(i).path_in_schema == leaf:
            return found.column(i)
    raise UsageError(f"there is no column {leaf!r}")


def read_cell(path: str, leaf: str, row: int) -> bytes:
    """Return the file in a cell.

    Of small row groups the last few are kept; a large one is read up to the row, and on
    from there.

    Raises:
        SampleBroken: The cell is empty.
    """
    state = os.stat(path)
    key = (path, state.st_size, state.st_mtime_ns, os.getpid())
    file, ends = _opened(*key)
    group = bisect_right(ends, row)
    at = row - (ends[group - 1] if group else 0)
    large = chunk_of(file, group, leaf).total_uncompressed_size > _KEPT
    cell = (_stream if large else _group)(*key, leaf, group)[at].as_py()
    if isinstance(cell, dict):
        cell = cell["bytes"]
    if not isinstance(cell, bytes):
        raise SampleBroken(f"row {row} of {path} has no bytes in {leaf}")
    return cell


@lru_cache(maxsize=8)
def _opened(path: str, *_state: int) -> tuple[Any, list[int]]:
    file = open_parquet(Path(path))
    return file, row_ends(file)


@lru_cache(maxsize=_GROUPS)
def _group(
    path: str, size: int, changed: int, process: int, leaf: str, group: int
) -> Any:  # noqa: ANN401
    file, _ = _opened(path, size, changed, process)
    return file.read_row_group(group, columns=[leaf], use_threads=False).column(0)


@lru_cache(maxsize=1)
def _stream(
    path: str, size: int, changed: int, process: int, leaf: str, group: int
) -> "_Stream":
    return _Stream(_opened(path, size, changed, process)[0], leaf, group)


class _Stream:
    """Cells of a row group that is too large to keep, read forwards."""

    def __init__(self, file: Any, leaf: str, group: int) -> None:  # noqa: ANN401
        self._source = file, leaf, group
        self._rewind()

    def _rewind(self) -> None:
        file, leaf, group = self._source
        self._begin, self._batch = 0, ()
        self._batches: Any = file.iter_batches(
            16, row_groups=[group], columns=[leaf], use_threads=False
        )

    def __getitem__(self, at: int) -> Any:  # noqa: ANN401
        if at < self._begin:
            self._rewind()
        while at >= self._begin + len(self._batch):
            self._begin += len(self._batch)
            self._batch = next(self._batches).column(0)
        return self._batch[at - self._begin]
