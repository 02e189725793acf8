"""A table of images: CSV, TSV, Parquet or JSON lines, a row an image or a box."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import SampleBroken, UsageError
from fiberaug.jobs.items import Items, Source
from fiberaug.jobs.packed import Packing
from fiberaug.jobs.sources.mask_files import MASKS_LOOKED_AT, are_binary, read_mask
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.jobs.sources.table_cells import read_cell
from fiberaug.jobs.sources.table_columns import Columns, find_columns
from fiberaug.jobs.sources.table_items import Maker
from fiberaug.jobs.sources.table_parquet import read_parquet
from fiberaug.jobs.sources.table_places import Places
from fiberaug.jobs.sources.table_reading import TableReader
from fiberaug.jobs.sources.table_rows import (
    Row,
    Table,
    read_csv,
    read_jsonl,
    table_files,
)
from fiberaug.jobs.sources.table_study import Study, study_table
from fiberaug.sizes import counted

__all__ = ["list_table", "looks_like_table"]

_READERS: Mapping[str, Callable[[Path], Table]] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
}


def looks_like_table(src: Path) -> bool:
    """Return whether a path is a table, or a folder with Hugging Face's metadata."""
    if src.is_dir():
        return any(name.startswith("metadata.") for name in table_files(src))
    return src.suffix.lower() in _READERS and src.is_file()


def list_table(src: Path, options: SourceOptions) -> Source:
    """Return the images of a table in its order, with what it says of them.

    ``options.columns`` names the columns of fields: ``image``, ``label`` (several with
    commas), ``caption``, ``mask``, ``group``, ``x_min``, ``y_min``, ``x_max``,
    ``y_max``, ``box_width``, ``box_height``, ``bbox_label``, ``width`` and ``height``
    of the image; ``"normalized": "true"`` says that boxes are fractions of it. Other
    fields are kept in the JSON under that name. Fields that it does not name are found
    by well-known names; all other columns are kept in the JSON as they are. With boxes,
    a row is an object.

    Raises:
        UsageError: There is no table, a column is not understood, or images are URLs.
        DataRefused: The table cannot be read, or contradicts itself.
        StoreError: The same, of the disk.
    """
    path = _table(src)
    table = _READERS[path.suffix.lower()](path)
    columns = find_columns(table.names, options.columns, table.files)
    study = study_table(table, columns, options.classes, masks=MASKS_LOOKED_AT)
    root = str(path.parent if options.images is None else options.images)
    places = Places(root, outside=options.allow_outside)
    image, mask = (_leaf(table, columns, field) for field in ("image", "mask"))
    maker = Maker(table, columns, study, image=image, mask=mask, places=places)
    items = Items.of(map(maker, _grouped(table, columns, study.owners)))

    def first_masks() -> Iterator[bytes]:
        for row, name in study.masks:
            with suppress(SampleBroken):  # the reader says it of its sample
                if mask is None:
                    yield read_mask(root, places(str(name), table.where(row))[0])
                else:
                    yield read_cell(str(path), mask, row)

    reader = TableReader(
        root=root, table=str(path), names=tuple(columns.carried),
        boxes=columns.boxes is not None, labelled="bbox_label" in study.labels,
        normalized=bool(columns.normalized), frame=options.frame, image=image,
        mask=mask, binary=are_binary(first_masks()), stamp=table.stamp,
    )  # fmt: skip
    classes = [one.classes for one in study.labels.values() if one.classes]
    return Source(
        kind="csv", root=root if image is None else str(path), items=items,
        reader=reader, classes=classes[0] if classes else (),
        fields=_fields(columns, study),
        said=_said(table, columns, study, len(items), binary=reader.binary),
    )  # fmt: skip


def _table(src: Path) -> Path:
    """Return the file of a table."""
    if not src.is_dir():
        if src.suffix.lower() not in _READERS:
            raise UsageError(f"{src} is no table: {', '.join(_READERS)}")
        return src
    there = table_files(src)
    metadata = [name for name in there if name.startswith("metadata.")]
    found = metadata or there
    if len(found) != 1:
        raise UsageError(
            f"{src} has {len(found)} tables: {', '.join(found[:10]) or 'none'}; name"
            f" the file of one ({', '.join(_READERS)})"
        )
    return src / found[0]


def _leaf(table: Table, columns: Columns, field: str) -> str | None:
    at = columns.one(field)
    return None if at is None else table.files.get(table.names[at])


def _grouped(
    table: Table, columns: Columns, owners: NDArray[np.int64] | None
) -> Iterator[list[Row]]:
    """Yield the rows of each image, in the order in which the images come."""
    rows = table.rows(columns.text)
    if owners is None:
        yield from ([row] for row in rows)
    elif (np.diff(owners) >= 0).all():
        for _, group in groupby(zip(owners, rows, strict=True), key=itemgetter(0)):
            yield [row for _, row in group]
    else:  # those of one image are not together
        packing = Packing()
        for row in rows:
            packing.append(json.dumps(row).encode())
        packed = packing.done()
        counts = np.bincount(owners)
        numbers = iter(np.argsort(owners, kind="stable"))
        for count in counts:
            yield [json.loads(packed[int(i)]) for i in islice(numbers, int(count))]


def _fields(columns: Columns, study: Study) -> dict[str, str]:
    vector = study.labels["label"].kind == "vectors" if "label" in study.labels else 0
    each = "json:objects[]." if columns.boxes else "json:"
    fields = {
        "label": "json:label" if vector else "cls",
        "mask": "mask.png",
        "caption": "txt",
    }
    found = {
        name + "?" * (name in study.lacking): source
        for name, source in fields.items()
        if name in columns.fields
    }
    if columns.boxes:
        found["bboxes"] = f"{each}bbox"
    if "bbox_label" in study.labels:
        found["bbox_labels"] = f"{each}label"
    return found | {name: f"{each}{name}" for name in columns.asked}


def _said(
    table: Table, columns: Columns, study: Study, images: int, *, binary: bool
) -> str:
    """Say which column was taken for what."""
    parts = [f"{counted(study.rows, 'row')}, {counted(images, 'image')}"]
    parts += [f"{study.boxes} box{'es' * (study.boxes != 1)}"] * bool(columns.boxes)
    for name, at in columns.fields.items():
        said = f"{name} <- {', '.join(table.names[i] for i in at)}"
        if name in study.labels:
            said += f" ({study.labels[name]})"
        if name == "mask":
            said += " (0 and 255, written as 0 and 1)" if binary else " (class ids)"
        parts.append(said)
    if columns.normalized:
        parts.append("boxes are fractions")
    if columns.carried:
        parts.append(f"carried as they are: {', '.join(columns.carried)}")
    used = set(columns.carried.values()).union(*columns.fields.values())
    left = [name for i, name in enumerate(table.names) if i not in used]
    if left:
        parts.append(f"not carried, as JSON has no bytes: {', '.join(left)}")
    return "; ".join(parts)
