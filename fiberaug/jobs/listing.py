"""The images of a folder: which files count, their classes and their keys."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fiberaug.errors import DataRefused, StoreError, UsageError
from fiberaug.shards.naming import escape_folder, escape_stem
from fiberaug.shards.writer import check_key

__all__ = ["EXTENSIONS", "Item", "check_classes", "list_folder"]

EXTENSIONS = frozenset(
    {"jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "ppm"}
)
_DRIVE = re.compile(r"^([A-Za-z]):")


class Item(NamedTuple):
    """One image file."""

    key: str
    path: str
    size: int
    label: int | None


def check_classes(classes: Sequence[str]) -> list[str]:
    """Return class names as they are stored.

    Raises:
        UsageError: A name stands twice, or is no text.
    """
    if isinstance(classes, str) or not all(isinstance(c, str) for c in classes):
        raise UsageError(f"classes must be a list of names, got {classes!r:.200}")
    names = [unicodedata.normalize("NFC", name) for name in classes]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UsageError(f"classes {twice} stand twice")
    return names


def list_folder(
    folder: Path, classes: Sequence[str] | None = None
) -> tuple[list[Item], list[str]]:
    """Return the images of a folder in sorted order, and the class names.

    The first folder below ``folder`` is the class; where no image has one, there are
    no labels. Hidden files and links that leave the folder are passed over.

    Raises:
        UsageError: There is no such folder, or one of its folders is no class.
        DataRefused: There is no image, or some lie beside the class folders.
        StoreError: A folder cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder")
    links: list[Path] = []
    found = list(_walk(folder.resolve(), links))
    if not found:
        passed = f"; {len(links)} links that leave it were passed over" if links else ""
        raise DataRefused(
            f"{folder} has no image: {', '.join(sorted(EXTENSIONS))}{passed}"
        )
    roots = {escape_folder(path.parts[0]) for path, _ in found if len(path.parts) > 1}
    stray = next((path for path, _ in found if len(path.parts) == 1), None)
    if stray is not None and roots:
        raise DataRefused(
            f"{stray} lies beside the class folders {sorted(roots)[:5]}; move it into"
            " one, or the folders elsewhere"
        )
    names = sorted(roots) if classes is None else check_classes(classes)
    unknown = sorted(roots - set(names))
    if unknown:
        raise UsageError(f"folders {unknown} are none of the classes {names}")
    ids = {name: i for i, name in enumerate(names)}
    items: list[Item] = []
    keys: set[str] = set()
    for path, size in found:
        folders = [escape_folder(part) for part in path.parts[:-1]]
        key = _DRIVE.sub(r"\1%3A", "/".join((*folders, escape_stem(path.stem))))
        unique, n = key, 1
        while unique in keys:  # a.jpg beside a.png
            n += 1
            unique = f"{key}-{n}"
        check_key(unique, {"jpg": b""})
        keys.add(unique)
        label = ids[folders[0]] if folders else None
        items.append(Item(unique, str(folder / path), size, label))
    return items, names


def _walk(root: Path, links: list[Path]) -> Iterator[tuple[Path, int]]:
    for folder, folders, files in os.walk(root, followlinks=False, onerror=_unreadable):
        links += [
            Path(folder) / name
            for name in folders
            if os.path.islink(os.path.join(folder, name))  # noqa: PTH114, PTH118  # speed
        ]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder) / name
            if name.startswith(".") or path.suffix[1:].lower() not in EXTENSIONS:
                continue
            if not path.is_file():  # a link that leads nowhere
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                links.append(path)
                continue
            yield path.relative_to(root), path.stat().st_size


def _unreadable(error: OSError) -> None:
    raise StoreError(f"cannot read {error.filename}: {error.strerror}") from error
