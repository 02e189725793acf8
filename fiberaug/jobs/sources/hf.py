"""A Hugging Face data set, as ``save_to_disk`` of its library writes it."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.items import Item, Items, Raw, Source
from fiberaug.jobs.sources.files import inside
from fiberaug.jobs.sources.hf_classes import Naming, name_labels, name_objects
from fiberaug.jobs.sources.hf_columns import Columns, find_columns, is_class
from fiberaug.jobs.sources.hf_files import Part, find_parts, is_saved, open_rows
from fiberaug.jobs.sources.hf_rows import read_row
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.shards.naming import escape_folder
from fiberaug.sizes import counted

__all__ = ["list_hf", "looks_like_hf"]


@dataclass(frozen=True)
class _Reader:
    root: str = field(repr=False)
    content: tuple[str, ...]
    """Fingerprints of the parts."""
    columns: Columns
    ids: tuple[tuple[Any, int], ...]
    """Class ids of objects by what the column has."""

    def __call__(self, item: Item) -> Raw:
        part, _, row = item.place[:-1].rpartition("[")
        rows = _open(self.root, part, self.columns)
        notes = json.loads(item.notes) if item.notes else {}
        return read_row(
            rows[int(row)], self.columns, dict(self.ids), root=self.root, notes=notes
        )


def _open(root: str, part: str, columns: Columns) -> Any:  # noqa: ANN401  # a library that only this source needs
    return open_rows(os.path.join(root, part), columns.files, tuple(columns.used))


def looks_like_hf(src: Path) -> bool:
    """Return whether a folder is what ``save_to_disk`` writes."""
    return is_saved(src)


def list_hf(src: Path, options: SourceOptions) -> Source:
    """Return the rows of a Hugging Face data set, or of all its splits, in their order.

    Image files stay as they are. ``options.columns`` says which column is ``image``,
    ``label``, ``mask``, ``caption`` and ``objects``, and what the objects' boxes are:
    ``{"bbox_format": "coco"}`` or ``"voc"``. Nothing is fetched.

    Raises:
        UsageError: It is no such folder, ``datasets`` is not installed, or which column
            is what cannot be told.
        DataRefused: It is damaged, leaves its folder, or has no image.
        StoreError: It cannot be read.
    """
    root, parts = str(src), find_parts(src)
    found = [open_rows(os.path.join(root, part.name), ()).features for part in parts]
    for part, features in zip(parts, found, strict=True):
        if features != found[0]:
            raise DataRefused(
                f"the splits {parts[0].name!r} and {part.name!r} have other columns;"
                " convert each alone"
            )
    columns = find_columns(found[0], options.columns)
    tables = [_open(root, part.name, columns) for part in parts]
    labels = name_labels(tables, columns, options.classes)
    if labels.kind == "none" and columns.label is not None:
        extras = (*columns.extras, columns.label)
        columns = columns._replace(label=None, extras=extras)
    objects = name_objects(
        tables, columns, options.classes if columns.label is None else None
    )
    items = Items.of(
        item
        for part, rows in zip(parts, tables, strict=True)
        for item in _items(root, part, rows, columns, labels, options)
    )
    named = {
        name: feature.names
        for name, feature in found[0].items()
        if name in columns.extras and is_class(feature)
    }
    if objects.names and labels.names:
        named[f"{columns.objects}.{columns.categories}"] = objects.names
    return Source(
        kind="hf",
        root=root,
        items=items,
        reader=_Reader(
            root,
            tuple(part.fingerprint for part in parts),
            columns,
            tuple(objects.ids.items()),
        ),
        classes=tuple(labels.names or objects.names),
        fields=_fields(columns, labels, tables),
        about={"names": named} if named else {},
        said=_said(parts, len(items), columns),
    )


def _items(
    root: str,
    part: Part,
    rows: Any,  # noqa: ANN401  # datasets.Dataset
    columns: Columns,
    labels: Naming,
    options: SourceOptions,
) -> Iterator[Item]:
    count = len(rows)
    sizes = [0] * count
    for name in columns.files:
        added = _sizes(rows, name, root, allow_outside=options.allow_outside)
        sizes = [size + more for size, more in zip(sizes, added, strict=True)]
    if columns.extras and count:  # about: what JSON takes of each row
        extra = rows.data.table.select([*columns.extras]).nbytes // count
        sizes = [size + extra for size in sizes]
    ids = labels.of(rows, columns.label)
    prefix = f"{escape_folder(part.name)}/" if part.name else ""
    notes = json.dumps({"part": part.name}).encode() if part.name else b""
    digits = max(6, len(str(count - 1)))
    for i in range(count):
        key = f"{prefix}{i:0{digits}d}"
        yield Item(key, f"{part.name}[{i}]", sizes[i], ids[i], notes)


def _sizes(rows: Any, column: str, root: str, *, allow_outside: bool) -> list[int]:  # noqa: ANN401  # as above
    """Return the sizes of image files: of their bytes, or of what lies at their path.

    Raises:
        UsageError: A path leaves the folder.
    """
    import pyarrow.compute as pc  # noqa: PLC0415  # comes with datasets

    values = rows.data.column(column)
    sizes = pc.binary_length(pc.struct_field(values, "bytes")).to_pylist()
    if None not in sizes:
        return list(sizes)
    paths = pc.struct_field(values, "path").to_pylist()
    for i, path in enumerate(paths):
        if sizes[i] is not None or not path:
            sizes[i] = sizes[i] or 0
            continue
        whole = os.path.join(root, path)
        if not allow_outside and not inside(root, whole):
            raise UsageError(
                f"row {i} of {column!r} has its image at {path}, outside of {root};"
                " allow_outside=True (--allow-outside) takes it"
            )
        try:
            sizes[i] = os.stat(whole).st_size
        except OSError:  # the reader says so
            sizes[i] = 0
    return list(sizes)


def _fields(
    columns: Columns,
    labels: Naming,
    tables: Sequence[Any],
) -> Mapping[str, str]:
    fields = {}
    if columns.label is not None:
        fields["label" + "?" * labels.gaps] = (
            "json:label" if labels.kind == "vector" else "cls"
        )
    for name, column, member in (
        ("mask", columns.mask, "mask.png"),
        ("caption", columns.caption, "txt"),
    ):
        if column is not None:
            gaps = any(rows.data.column(column).null_count for rows in tables)
            fields[name + "?" * gaps] = member
    if columns.objects is not None:
        fields["bboxes"] = "json:objects[].bbox"
        if columns.categories is not None:
            fields["bbox_labels"] = "json:objects[].label"
    return fields


def _said(parts: Sequence[Part], count: int, columns: Columns) -> str:
    used = columns._asdict()
    roles = ("image", "label", "mask", "caption", "objects")
    told = ", ".join(f"{role} <- {used[role]}" for role in roles if used[role])
    names = ", ".join(part.name for part in parts if part.name)
    text = f"{counted(count, 'row')}{' of ' + names if names else ''}: {told}"
    if columns.bbox_format:
        text += f" (boxes as {columns.bbox_format})"
    for what, listed in (
        ("in JSON", columns.extras),
        ("further images", columns.images),
        ("left out", columns.left_out),
    ):
        text += f"; {what}: {', '.join(listed)}" if listed else ""
    return text
