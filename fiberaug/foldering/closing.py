"""The files that speak of a whole set: lists of VOC, ``data.yaml``, tables."""

import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from fiberaug.errors import StoreError
from fiberaug.foldering.annotating import Annotator
from fiberaug.jobs.formats.yolo import description
from fiberaug.jobs.sources.files import inside

__all__ = ["Said", "Written", "table_file", "voc_lists", "yolo_files"]

Said = Callable[[], Iterator[dict[str, Any]]]
"""Returns what is said of each picture, in order; it can be gone through again."""

Written = tuple[str, bytes | Iterable[bytes]]
"""Path below the output, and content."""

_LISTS = ("classes.txt", "obj.names")
_MOST_BYTES = 2**24  # of a list that is taken over
_BOX = ("x_min", "y_min", "x_max", "y_max")


def voc_lists(root: str, said: Said, copies: int) -> Iterator[Written]:
    """Yield the lists in ``ImageSets``, with a line for each picture that was written.

    Args:
        root: Folder of the source.
        said: What is said of each picture.
        copies: Copies of each photo.

    Raises:
        StoreError: One cannot be read.
    """
    paths = sorted(p for p in Path(root).rglob("ImageSets/**/*.txt") if p.is_file())
    if not paths:
        return
    there = {PurePath(one["file"]).stem for one in said()}
    numbers = [f"_{copy}" for copy in range(copies)] if copies > 1 else [""]
    for path in paths:
        if not inside(root, path):
            continue
        lines = []
        for line in _read(path).splitlines():
            name, blank, rest = line.partition(" ")
            lines += [
                f"{name}{number}{blank}{rest}\n"
                for number in numbers
                if PurePath(name).name + number in there
            ]
        yield str(path.relative_to(root)), "".join(lines).encode()


def yolo_files(annotator: Annotator, said: Said) -> Iterator[Written]:
    """Yield ``data.yaml`` of a YOLO set that has parts, or the list of its classes.

    A part is a folder where no other lies in it, else a file that lists its pictures.

    Args:
        annotator: What is known of the set.
        said: What is said of each picture.

    Raises:
        StoreError: A list cannot be read.
    """
    folders: dict[str, set[str]] = {}
    for one in said():
        folders.setdefault(one["part"], set()).add(str(PurePath(one["file"]).parent))
    if not any(folders):
        for folder in ("", "images", "labels"):
            for name in _LISTS:
                path = Path(annotator.root, folder, name)
                if path.is_file() and inside(annotator.root, path):
                    yield str(PurePath(folder, name)), _read(path).encode()
        return
    parts: dict[str, str] = {}
    for part, own in folders.items():
        common = PurePath(os.path.commonpath(own))
        others = {f for name, more in folders.items() if name != part for f in more}
        if any(PurePath(folder).is_relative_to(common) for folder in others):
            parts[part] = f"{part}.txt"
            files = (one["file"] for one in said() if one["part"] == part)
            yield parts[part], (f"./{file}\n".encode() for file in files)
        else:
            parts[part] = str(common)
    about = {**annotator.about, "flip_idx": annotator.about.get("flip")}
    yield "data.yaml", description(annotator.classes, parts, about)


def table_file(
    annotator: Annotator, table: str, names: tuple[str, ...], said: Said,
    *, boxes: bool, lost: Counter[str],
) -> Written:  # fmt: skip
    """Return the table of a set: a row a picture, or a row a box, as it was.

    Args:
        annotator: What is known of the set.
        table: Path of the source's table.
        names: Columns that are carried.
        said: What is said of each picture.
        boxes: There is a row for each box; the other columns are those of boxes.
        lost: Counts what the table cannot hold.
    """
    path = PurePath(table)
    known = path.is_relative_to(annotator.root)
    name = path.relative_to(annotator.root) if known else PurePath(path.name)
    there = set[str]()
    for one in said():
        there |= _own(one).keys()
        if one["label"] is not None or any("label" in o for o in one["objects"]):
            there.add("label")
    whole = [
        column for column in ("label", "caption", "mask", "group")
        if column in there and column not in names
    ]  # fmt: skip
    columns = ["image", *whole, *(_BOX if boxes else ()), *names]

    def rows() -> Iterator[bytes]:
        yield _line(columns)
        for one in said():
            for row in _rows(one, annotator.classes, names, boxes=boxes, lost=lost):
                yield _line([row.get(column, "") for column in columns])

    return str(name.with_suffix(".csv")), rows()


def _own(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said of a picture as a whole."""
    own = {**one["notes"], **({"mask": one["mask"]} if "mask" in one else {})}
    return {name: value for name, value in own.items() if value is not None}


def _rows(
    one: Mapping[str, Any],
    classes: tuple[str, ...],
    names: tuple[str, ...],
    *,
    boxes: bool,
    lost: Counter[str],
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a picture by column."""
    whole = {"image": one["file"], **_own(one)}
    label = one["label"] if one["label"] is not None else whole.pop("label", None)
    if isinstance(label, list) or (boxes and label is not None):
        lost["labels of whole images that are vectors, or beside boxes"] += 1
        label = None
    if label is not None:
        whole["label"] = _class(label, classes)
    if not boxes:
        yield whole
        return
    for thing in one["objects"]:
        row = {**whole, **dict(zip(_BOX, thing["bbox"], strict=True))}
        row |= {name: thing[name] for name in names if thing.get(name) is not None}
        if "label" in thing:
            row["label"] = _class(thing["label"], classes)
        yield row
    if not one["objects"]:
        yield whole


def _class(label: Any, classes: tuple[str, ...]) -> Any:  # noqa: ANN401  # JSON
    known = isinstance(label, int) and 0 <= label < len(classes)
    return classes[label] if known else label


def _line(cells: Iterable[Any]) -> bytes:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerow(cells)
    return file.getvalue().encode("utf-8", "surrogateescape")


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise StoreError(f"{path} has more than {_MOST_BYTES} bytes")
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"cannot read {path}: {error}") from error
