"""Class ids and names of a Hugging Face data set's labels and objects."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.sources.folder import check_classes
from fiberaug.jobs.sources.hf_columns import (
    Columns,
    inner_of,
    is_class,
    item_of,
    kind_of,
)

__all__ = ["Naming", "name_labels", "name_objects"]


class Naming(NamedTuple):
    """How the values of a column are class ids."""

    kind: str = "none"
    """``class``, ``number``, ``vector``, or ``none``."""
    names: Sequence[str] = ()
    """Class names by id."""
    ids: Mapping[Any, int] = {}
    """Id of each value; empty: they are ids."""
    gaps: bool = False
    """Some rows have none."""
    negative: bool = True
    """Whether -1 is a class, and not the mark of a row without one."""

    def of(self, rows: Any, column: str | None) -> list[int | None]:  # noqa: ANN401  # datasets.Dataset
        """Return the class id of each row; None where it has none, or no class."""
        if self.kind != "class" or column is None:
            return [None] * len(rows)
        return [self.id(value) for value in rows.data.column(column).to_pylist()]

    def id(self, value: Any) -> int | None:  # noqa: ANN401  # of any column
        """Return the class id of a value."""
        if value is None or (value == -1 and not self.negative):
            return None
        return self.ids.get(value, None) if self.ids else int(value)


def name_labels(
    tables: Sequence[Any], columns: Columns, told: Sequence[str] | None
) -> Naming:
    """Return how the label column is read.

    Args:
        tables: The parts, as ``datasets.Dataset``.
        columns: What the columns are.
        told: Class names that the user gives.

    Raises:
        UsageError: A class is none of those that the user gives.
        DataRefused: An id is beyond the names of the data set.
    """
    name = columns.label
    if name is None:
        return Naming()
    feature = tables[0].features[name]
    columns_of = [rows.data.column(name) for rows in tables]
    if item_of(feature) is not None:
        return _vectors(columns_of)
    nulls = any(column.null_count for column in columns_of)
    if kind_of(feature) == "float":
        return Naming("number", gaps=nulls or _has_nan(columns_of))
    there = {v for column in columns_of for v in column.unique().to_pylist()}
    names, ids = _named(feature, there, told)
    marked = is_class(feature) and -1 in there
    return Naming("class", names, ids, nulls or marked, not is_class(feature))


def _has_nan(columns: Iterable[Any]) -> bool:
    import pyarrow.compute as pc  # noqa: PLC0415  # comes with datasets

    return any(pc.any(pc.is_nan(column)).as_py() for column in columns)


def _vectors(columns: Sequence[Any]) -> Naming:
    """Return whether lists are vectors: all of one length."""
    import pyarrow.compute as pc  # noqa: PLC0415  # comes with datasets

    lengths = {
        length
        for column in columns
        for length in pc.list_value_length(column).unique().to_pylist()
    }
    gaps = None in lengths
    return Naming("vector", gaps=gaps) if len(lengths - {None}) == 1 else Naming()


def name_objects(
    tables: Sequence[Any], columns: Columns, told: Sequence[str] | None
) -> Naming:
    """Return how the classes of objects are read; see :func:`name_labels`.

    Raises:
        UsageError: A class is none of those that the user gives.
        DataRefused: An id is beyond the names of the data set.
    """
    if columns.objects is None or columns.categories is None:
        return Naming()
    feature = inner_of(tables[0].features[columns.objects])[columns.categories]
    there = set[Any]()
    for rows in tables:
        there |= _inside(rows.data.column(columns.objects), columns.categories)
    names, ids = _named(feature, there, told)
    return Naming("class", names, ids)


def _inside(column: Any, name: str) -> set[Any]:  # noqa: ANN401  # pyarrow.ChunkedArray
    """Return the values of objects: structs of lists, or lists of structs."""
    import pyarrow as pa  # noqa: PLC0415  # comes with datasets
    import pyarrow.compute as pc  # noqa: PLC0415  # same

    if pa.types.is_struct(column.type):
        values = pc.list_flatten(pc.struct_field(column, name))
    else:
        values = pc.struct_field(pc.list_flatten(column), name)
    return set(values.unique().to_pylist())


def _named(
    feature: Any,  # noqa: ANN401  # a feature of datasets
    there: set[Any],
    told: Sequence[str] | None,
) -> tuple[Sequence[str], dict[Any, int]]:
    """Return class names, and the id of each value; none where values are ids."""
    there = there - {None}
    if is_class(feature):
        own = check_classes(feature.names)
        texts: dict[Any, str] = dict(enumerate(own))
        beyond = sorted(there - {-1} - set(texts))
        if beyond:
            raise DataRefused(
                f"class id {beyond[0]} is beyond the {len(own)} names of the data set"
            )
    elif kind_of(feature) == "string":
        texts = {value: unicodedata.normalize("NFC", value) for value in there}
        own = sorted(set(texts.values()))
    else:
        names = [] if told is None else check_classes(told)
        beyond = sorted(
            v for v in there if told is not None and not 0 <= v < len(names)
        )
        if beyond:
            raise UsageError(
                f"class id {beyond[0]} has no name; classes are {len(names)}: {names}"
            )
        return names, {}
    names = own if told is None else check_classes(told)
    unknown = sorted({texts[v] for v in there if v in texts} - set(names))
    if unknown:
        raise UsageError(f"classes {unknown[:10]} are none of the classes {names}")
    ids = {value: names.index(text) for value, text in texts.items() if text in names}
    return names, {} if all(value == i for value, i in ids.items()) else ids
