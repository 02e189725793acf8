"""A folder of images whose first subfolders are the classes."""

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.items import Item, Items, Raw, Source
from fiberaug.jobs.sources.files import EXTENSIONS, Found, Keys, read_file, walk
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.shards.naming import escape_folder
from fiberaug.sizes import counted

__all__ = ["check_classes", "list_folder"]

_ANNOTATIONS = ("csv", "json", "txt", "xml", "yaml")


@dataclass(frozen=True)
class _Reader:
    root: str = field(repr=False)

    def __call__(self, item: Item) -> Raw:
        return read_file(self.root, item)


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


def list_folder(folder: Path, options: SourceOptions) -> Source:
    """Return the images of a folder in sorted order, with their classes.

    The first folder below ``folder`` is the class; where no image has one, there are
    no labels. Hidden files are passed over, and links that leave the folder or lead
    nowhere.

    Raises:
        UsageError: There is no such folder, or one of its folders is no class.
        DataRefused: There is no image, or some lie beside the class folders.
        StoreError: A folder cannot be read.
    """
    links: list[str] = []
    roots: dict[str, int] = {}  # in the order in which they come
    stray: list[str] = []
    keys = Keys()

    def item(file: Found) -> Item:
        first, below, _ = file.path.partition(os.sep)
        if not below:
            stray.append(file.path)
        label = roots.setdefault(escape_folder(first), len(roots)) if below else None
        return Item(keys(file.path), file.path, file.size, label)

    others = Counter[str]()
    items = Items.of(map(item, walk(folder, links, others=others)))
    passed = f"{counted(len(links), 'link')} out of it or to nothing"
    passed = f"; passed over: {passed}" if links else ""
    if not items:
        raise DataRefused(
            f"{folder} has no image: {', '.join(sorted(EXTENSIONS))}{passed}"
        )
    there = sorted(roots)
    if stray and there:
        raise DataRefused(
            f"{folder / stray[0]} lies beside the class folders {there[:5]}; move it"
            " into one, or the folders elsewhere"
        )
    names = there if options.classes is None else check_classes(options.classes)
    unknown = sorted(set(there) - set(names))
    if unknown:
        raise UsageError(f"folders {unknown} are none of the classes {names}")
    found = counted(len(items), "image")
    unread = [f"{others[s]} .{s}" for s in _ANNOTATIONS if others[s]]
    if unread:
        passed += f"; not read: {', '.join(unread)} (--from says what they are)"
    where = f" in {counted(len(there), 'class folder')}" if names else ", no class"
    return Source(
        kind="folder",
        root=str(folder),
        items=items.relabelled([names.index(name) for name in roots]),
        reader=_Reader(str(folder)),
        classes=tuple(names),
        fields={"label": "cls"} if names else {},
        said=found + where + passed,
    )
