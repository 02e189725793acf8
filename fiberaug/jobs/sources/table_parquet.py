"""Rows of a Parquet file; the files in its cells are left unread."""

import json
import math
import os
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from datetime import date, time
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from fiberaug.errors import DataRefused
from fiberaug.jobs.sources.table_cells import chunk_of, open_parquet, row_ends
from fiberaug.jobs.sources.table_rows import Row, Table

__all__ = ["read_parquet"]

_BATCH = 4096  # rows that are read at once


def read_parquet(path: Path) -> Table:
    """Return the table in a Parquet file.

    Columns of bytes, or of ``{"bytes": ..., "path": ...}`` as Hugging Face writes
    images, are files; they are not read here.

    Raises:
        UsageError: PyArrow is not installed.
        DataRefused: It is no Parquet file.
    """
    file = open_parquet(path)
    files, leaves = _leaves(file)
    names = tuple(file.schema_arrow.names)
    paths = {name for name, leaf in leaves.items() if leaf != name}

    def rows(_text: Collection[int] = ()) -> Iterator[Row]:
        reading = open_parquet(path)
        number = 0
        for batch in reading.iter_batches(_BATCH, columns=[*leaves.values()]):
            columns = {
                name: _values(column, path, name, of_path=name in paths)
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            }
            none = [None] * len(batch)
            for cells in zip(*(columns.get(name, none) for name in names), strict=True):
                yield number, [*cells]
                number += 1

    def numbered(_text: Collection[int] = ()) -> Iterator[Row]:
        return ((row, [None] * len(names)) for row in range(file.metadata.num_rows))

    return Table(
        path=path, names=names, rows=rows if leaves else numbered, word="row",
        files=files, sizes=_Sizes(file), classes=_classes(file),
        stamp=_stamp(path) if files else "",
    )  # fmt: skip


def _leaves(file: Any) -> tuple[dict[str, str], dict[str, str]]:  # noqa: ANN401
    """Return the leaves of Parquet with the files, and those that are read as rows."""
    schema = file.schema_arrow
    files: dict[str, str] = {}
    leaves = {name: name for name in schema.names}
    for name, kind in zip(schema.names, schema.types, strict=True):
        if _is_binary(kind):
            files[name] = leaves.pop(name)
        elif _is_file(kind):
            files[name] = f"{name}.bytes"
            del leaves[name]
            if kind.get_field_index("path") >= 0:
                leaves[name] = f"{name}.path"
                if _is_null(file, files[name]):  # paths alone
                    del files[name]
    return files, leaves


def _is_binary(kind: Any) -> bool:  # noqa: ANN401
    return str(kind).startswith(("binary", "large_binary", "fixed_size_binary"))


def _is_file(kind: Any) -> bool:  # noqa: ANN401
    if not str(kind).startswith("struct<"):
        return False
    at = kind.get_field_index("bytes")
    return at >= 0 and _is_binary(kind.field(at).type)


def _is_null(file: Any, leaf: str) -> bool:  # noqa: ANN401
    """Return whether a column has nothing, as its statistics say it."""
    groups = range(file.metadata.num_row_groups)
    chunks = [chunk_of(file, group, leaf) for group in groups]
    return all(
        c.statistics is not None and c.statistics.null_count == c.num_values
        for c in chunks
    )


class _Sizes:
    """About the bytes of a file in a cell: the mean of its row group."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401
        self._file, self._ends = file, row_ends(file)

    def __call__(self, leaf: str, row: int) -> int:
        return self._mean(leaf, bisect_right(self._ends, row))

    @lru_cache  # noqa: B019  # lives as long as the listing
    def _mean(self, leaf: str, group: int) -> int:
        chunk = chunk_of(self._file, group, leaf)
        return int(chunk.total_uncompressed_size // max(chunk.num_values, 1))


def _classes(file: Any) -> dict[str, Sequence[str]]:  # noqa: ANN401
    """Return the class names that Hugging Face writes beside the schema."""
    try:
        text = (file.schema_arrow.metadata or {})[b"huggingface"]
        features = json.loads(text)["info"]["features"]
        return {
            name: [str(one) for one in feature["names"]]
            for name, feature in features.items()
            if feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _stamp(path: Path) -> str:
    """Return a hash of the footer: it has the place and size of everything."""
    with open(path, "rb") as file:
        file.seek(-8, os.SEEK_END)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-8 - length, os.SEEK_END)
        return blake2b(file.read(length), digest_size=16).hexdigest()


def _values(
    column: Any,  # noqa: ANN401
    path: Path,
    name: str,
    *,
    of_path: bool,
) -> list[Any]:
    values = column.to_pylist()
    if of_path:
        return [value and value["path"] for value in values]
    return [_plain(value, path, name) for value in values]


def _plain(value: Any, path: Path, name: str) -> Any:  # noqa: ANN401
    """Return a value as JSON has it; dates and decimals are text."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, list | tuple):
        return [_plain(one, path, name) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one, path, name) for key, one in value.items()}
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise DataRefused(
        f"{path}: column {name!r} has a {type(value).__name__}, which JSON cannot hold;"
        " write the table without it"
    )
