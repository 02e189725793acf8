"""The annotation files of a COCO set, each with the pictures of its own photos."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from fiberaug.foldering.annotating import Annotator
from fiberaug.foldering.closing import Said, Written
from fiberaug.jobs.formats.annotated import Annotated
from fiberaug.jobs.formats.coco import captions_of, chunks, entries
from fiberaug.jobs.sources.coco import looks_like_coco
from fiberaug.jobs.sources.coco_annotations import read_annotations
from fiberaug.jobs.sources.coco_images import Images, image_folder

__all__ = ["coco_files"]

_PATTERNS = ("annotations/*.json", "*.json", "*/_annotations.coco.json")
_LOOKED_AT = 32  # as listing does


class _Part(NamedTuple):
    """An annotation file that is written."""

    path: str
    """Below the output, as the source has it."""

    folder: str
    """That names of images are relative to, below the output."""

    captions: bool
    """It holds captions, not objects."""

    places: frozenset[str] | None
    """Photos that it is for; None: all."""


def coco_files(
    src: str | Path, annotator: Annotator, said: Said, *, copies: int, numbered: bool,
    lost: Counter[str],
) -> Iterator[Written]:  # fmt: skip
    """Yield the annotation files.

    Of one copy, images keep their ids, and annotations, where all have one. Of more,
    both are numbered from 1.

    Args:
        src: The folder or file of the source.
        annotator: What is known of the set.
        said: What is said of each picture, with ``source``, its photo.
        copies: Copies of each photo.
        numbered: All objects have ids.
        lost: Counts what the format cannot hold.

    Raises:
        StoreError: An annotation file of the source cannot be read.
    """
    categories = annotator.about.get("categories") or ()
    ids = [one.get("id", row + 1) for row, one in enumerate(categories)]
    own_ids = numbered and copies == 1

    def rows(part: _Part, *, images: bool) -> Iterator[dict[str, Any]]:
        """Yield the entries of images, or those of objects or captions."""
        number, last = 0, 0
        for one in said():
            if part.places is not None and one["source"] not in part.places:
                continue
            number += 1
            about = _annotated(one, part.folder)
            image_id = _image_id(one, number, copies)
            image, found = entries(
                about, image_id, None if own_ids else last + 1,
                classes=annotator.classes, category_ids=ids,
                lost=lost if images else None,
            )  # fmt: skip
            if part.captions:
                found = captions_of(about, image_id, last + 1)
            last += len(found)
            yield from [image] if images else found

    for part in _parts(Path(src), annotator.root):
        classes = () if part.captions else annotator.classes
        pairs = rows(part, images=True), rows(part, images=False)
        yield part.path, chunks(*pairs, classes, annotator.about)


def _image_id(one: Mapping[str, Any], number: int, copies: int) -> int | str:
    own = (one["notes"].get("image") or {}).get("id")
    return own if copies == 1 and own is not None else number


def _annotated(one: Mapping[str, Any], folder: str) -> Annotated:
    path = PurePath(one["file"])
    if folder != os.curdir and path.is_relative_to(folder):
        path = path.relative_to(folder)
    return Annotated(
        str(path), one["width"], one["height"], one["objects"], one["notes"]
    )


def _parts(src: Path, root: str) -> list[_Part]:
    """Return the annotation files, as the source has them."""
    paths = [src] if src.is_file() else _files(src)
    files = [read_annotations(str(path.absolute())) for path in paths]
    folders = [image_folder(file.path, root, None, file.images) for file in files]
    bases = [os.path.relpath(folder, root) for folder in folders]
    names = [_below(file.path, root) for file in files]
    if len(files) == 1:
        (file,), (name,), (base,) = files, names, bases
        alone = bool(file.captions and not file.objects)
        both = bool(file.captions and file.objects)
        more = [_Part(_captions_name(name), base, True, None)] * both  # noqa: FBT003  # a tuple's fields
        return [_Part(name, base, alone, None), *more]
    parts: list[_Part] = []
    taken: dict[bool, frozenset[str]] = {}
    find = Images(root, outside=False)
    for file, name, folder, base in zip(files, names, folders, bases, strict=True):
        captions = bool(file.captions and not file.objects)
        found = (find(folder, image.name, file.path).path for image in file.images)
        places = frozenset(found) - taken.get(captions, frozenset())
        taken[captions] = taken.get(captions, frozenset()) | places
        if places:
            parts.append(_Part(name, base, captions, places))
    return parts


def _captions_name(name: str) -> str:
    path = Path(name)
    return str(path.with_name(f"captions_{path.name}"))


def _files(folder: Path) -> list[Path]:
    found = {path for pattern in _PATTERNS for path in folder.glob(pattern)}
    there = sorted(path for path in found if path.is_file())
    return [path for path in there if looks_like_coco(path)]


def _below(path: str, root: str) -> str:
    below = os.path.relpath(path, root)
    return Path(path).name if below.startswith(os.pardir) else below
