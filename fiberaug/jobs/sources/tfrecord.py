"""TFRecord files of ``tf.train.Example``, as TensorFlow's tools write them."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fiberaug.errors import (
    DataRefused,
    FiberAugError,
    SampleBroken,
    StoreError,
    UsageError,
)
from fiberaug.jobs.items import Item, Items, Raw, Source
from fiberaug.jobs.sources.files import inside
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.jobs.sources.tfrecord_classes import Labels, Naming, name_classes
from fiberaug.jobs.sources.tfrecord_columns import (
    BOX,
    Columns,
    Study,
    find_columns,
    label_pairs,
)
from fiberaug.jobs.sources.tfrecord_example import Values, parse_example
from fiberaug.jobs.sources.tfrecord_file import Record, read_record, records
from fiberaug.jobs.sources.tfrecord_sample import read_features
from fiberaug.shards.naming import escape_folder
from fiberaug.sizes import counted

__all__ = ["NAMES", "list_tfrecord", "looks_like_tfrecord"]

_PART = r"-[0-9]{5}-of-[0-9]{5}"
NAMES = rf".+\.(?:tfrecords?|tfrec)(?:{_PART})?(?:\.gz)?"
"""File names, as a regular expression."""


@dataclass(frozen=True)
class _Reader:
    root: str = field(repr=False)
    content: str
    """What tells these files from others."""
    columns: Columns
    label: str
    objects: Naming
    frame: str | None

    def __call__(self, item: Item) -> Raw:
        file, _, offset = item.place.rpartition("@")
        data = read_record(os.path.join(self.root, file), int(offset))
        return read_features(
            parse_example(data), self.columns, dict(self.objects.ids),
            label=self.label, frame=self.frame,
        )  # fmt: skip


def looks_like_tfrecord(src: Path) -> bool:
    """Return whether a path is a TFRecord file, or a folder with some, by its name."""
    if src.is_dir():
        return bool(_named(src, NAMES))
    return re.fullmatch(NAMES, src.name) is not None and src.is_file()


def list_tfrecord(src: Path, options: SourceOptions) -> Source:
    """Return the records of TFRecord files in their order; each file is read once.

    Images are files or raw uint8 pixels, which become PNG. Features that have the names
    of TensorFlow's object detection API become boxes. ``options.columns`` says which
    feature is ``image``, ``label``, ``label_text``, ``mask``, ``caption``, ``height``,
    ``width`` and ``channels``; ``{"normalized": "false"}`` that boxes are in px. What
    else is text or number stands in the JSON.

    Raises:
        UsageError: There is no such file, what reads it is not installed, or which
            feature is what cannot be told.
        DataRefused: A file is cut or compressed, or contradicts itself.
        StoreError: It cannot be read.
    """
    root, files = _files(src, allow_outside=options.allow_outside)
    study, seen = Study(), Labels(label_pairs(options.columns))
    items = Items.of(_items(root, files, study, seen))
    if not items:
        raise DataRefused(f"{src} has no record")
    if not study.records:
        raise DataRefused(
            f"{src}: none of {len(items)} records is a sound tf.train.Example"
        )
    columns = find_columns(study, options.columns)
    kind = study.label_kind(columns.label, columns.label_text)
    if kind == "none" and columns.label is not None:
        columns = columns._replace(
            label=None, label_text=None, extras=(*columns.extras, columns.label)
        )
    labels, gaps = Naming(), False
    if kind == "class":
        pair = next(
            one
            for one in label_pairs(options.columns)
            if {columns.label, columns.label_text} - {None} <= {*one}
        )
        items, labels, gaps = seen.resolved(items, pair, options.classes)
    elif kind != "none" and columns.label is not None:
        gaps = study.seen[columns.label].count < len(items)
    told = options.classes if kind != "class" else None
    objects = name_classes(seen.objects, told) if columns.named else Naming()
    about: dict[str, Any] = {}
    if own := labels.own or objects.own:
        about["class_ids"] = [*own]
    if labels.names and objects.names:
        about["names"] = {"bbox_labels": [*objects.names]}
    return Source(
        kind="tfrecord",
        root=root,
        items=items,
        reader=_Reader(root, seen.digest(), columns, kind, objects, options.frame),
        classes=labels.names or objects.names,
        fields=_fields(columns, kind, study, gaps=gaps),
        about=about,
        said=_said(files, len(items), columns, seen.broken),
    )


def _named(folder: Path, pattern: str) -> list[str]:
    return sorted(
        entry.name
        for entry in os.scandir(folder)
        if re.fullmatch(pattern, entry.name) and entry.is_file()
    )


def _files(src: Path, *, allow_outside: bool) -> tuple[str, list[str]]:
    """Return a folder, and the names of its TFRecord files."""
    if src.is_file():
        return str(src.parent), [src.name]
    if not src.is_dir():
        raise UsageError(f"{src} is no file or folder")
    # ImageNet's are named train-00000-of-01024, without a suffix.
    found = _named(src, NAMES) or _named(src, rf".+{_PART}")
    if not found:
        raise UsageError(
            f"{src} has no TFRecord file: *.tfrecord, *.tfrec,"
            " *.tfrecord-00000-of-00010"
        )
    for name in found:
        if not allow_outside and not inside(src, src / name):
            raise UsageError(
                f"{src / name} leads outside of {src}; allow_outside=True"
                " (--allow-outside) takes it"
            )
    return str(src), found


def _items(root: str, files: list[str], study: Study, seen: Labels) -> Iterator[Item]:
    for file in files:
        prefix = f"{escape_folder(file)}/" if len(files) > 1 else ""
        path = os.path.join(root, file)
        try:
            for i, record in enumerate(records(path)):
                features = _features(record)
                if features:
                    study.add(features)
                seen.add(features, record)
                yield Item(f"{prefix}{i:06d}", f"{file}@{record.offset}", record.size)
        except OSError as error:
            if isinstance(error, FiberAugError):
                raise
            raise StoreError(f"cannot read {path}: {error.strerror}") from error


def _features(record: Record) -> Mapping[str, Values]:
    """Return the features of a record; none where it is broken: its reader says why."""
    if record.data is None:
        return {}
    try:
        return parse_example(record.data)
    except SampleBroken:
        return {}


def _fields(columns: Columns, kind: str, study: Study, *, gaps: bool) -> dict[str, str]:
    fields = {}
    if kind != "none":
        fields["label" + "?" * gaps] = "json:label" if kind == "vector" else "cls"
    for name, column, member in (
        ("mask", columns.mask, "mask.png"),
        ("caption", columns.caption, "txt"),
    ):
        if column is not None:
            some = study.seen[column].count < study.records
            fields[name + "?" * some] = member
    if columns.boxes:
        fields["bboxes"] = "json:objects[].bbox"
        if columns.named:
            fields["bbox_labels"] = "json:objects[].label"
    return fields


def _said(files: list[str], count: int, columns: Columns, broken: int) -> str:
    used = columns._asdict()
    roles = ("image", "label", "mask", "caption")
    told = [f"{role} <- {used[role]}" for role in roles if used[role]]
    if columns.label is None and columns.label_text is not None:
        told.append(f"label <- {columns.label_text}")
    if columns.boxes:
        how = "shares of the sides" if columns.normalized else "px"
        told.append(f"bboxes <- {BOX[0].rpartition('/')[0]}/* ({how})")
    text = f"{counted(count, 'record')} of {counted(len(files), 'file')}:"
    text = f"{text} {', '.join(told)}"
    for what, listed in (
        ("in JSON", columns.extras + columns.of_objects),
        ("left out", columns.left_out),
    ):
        text += f"; {what}: {', '.join(listed)}" if listed else ""
    return text + (f"; {counted(broken, 'broken record')}" if broken else "")
