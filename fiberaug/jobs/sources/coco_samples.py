"""Images of COCO files as items, each with all that the files say of it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from io import RawIOBase
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import DataRefused, StoreError
from fiberaug.jobs.items import Item
from fiberaug.jobs.sources.coco_annotations import Annotations, Id
from fiberaug.jobs.sources.coco_file import place
from fiberaug.jobs.sources.coco_images import Images
from fiberaug.jobs.sources.coco_reader import packed_notes
from fiberaug.jobs.sources.files import Keys

__all__ = ["coco_items"]


class _File(NamedTuple):
    """An annotation file, open, with its annotations by image."""

    said: Annotations
    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    text: RawIOBase

    def bytes(self, begin: int, end: int) -> bytes:
        self.text.seek(begin)
        return self.text.read(end - begin) or b""


def coco_items(
    files: Sequence[Annotations],
    folders: Sequence[str],
    places: Images,
    labels: Mapping[Id, int],
) -> Iterator[Item]:
    """Yield a sample for each image, in the order of the files.

    Images that several files name by one path are one sample.

    Args:
        files: The files.
        folders: What the names of each are relative to.
        places: Finds the images.
        labels: Class by the category's id.

    Raises:
        DataRefused: An image stands twice in a file, or an annotation's is unknown.
        StoreError: A file cannot be read.
    """
    samples = _samples(files, folders, places)
    keys = Keys()
    with ExitStack() as stack:
        opened = []
        for file in files:
            try:
                text = stack.enter_context(open(file.path, "rb", buffering=0))
            except OSError as error:
                raise StoreError(
                    f"cannot read {file.path}: {error.strerror}"
                ) from error
            opened.append(_File(file, *file.by_image(), text))
        for path, (size, rows) in samples.items():
            below = path
            while below.startswith(os.pardir + os.sep):  # the user allows it
                below = below[3:]
            notes = _notes([(opened[number], row) for number, row in rows], labels)
            yield Item(keys(below), path, size, None, notes)


def _samples(
    files: Sequence[Annotations], folders: Sequence[str], places: Images
) -> dict[str, tuple[int, list[tuple[int, int]]]]:
    """Return size, and number of the file and place in it, by path."""
    samples: dict[str, tuple[int, list[tuple[int, int]]]] = {}
    for number, (file, folder) in enumerate(zip(files, folders, strict=True)):
        for row, image in enumerate(file.images):
            path, size = places(folder, image.name, file.path)
            rows = samples.setdefault(path, (size, []))[1]
            if rows and rows[-1][0] == number:
                raise DataRefused(
                    f"{place(file.path, image.begin)}: file name {image.name!r:.200}"
                    " stands twice in images; make it one, with all annotations"
                )
            rows.append((number, row))
    return samples


def _notes(rows: Sequence[tuple[_File, int]], labels: Mapping[Id, int]) -> bytes:
    images, objects, ids, captions = [], [], [], []
    for file, row in rows:
        said = file.said
        image = said.images[row]
        images.append(file.bytes(image.begin, image.end))
        for at in file.order[file.starts[row] : file.starts[row + 1]].tolist():
            text = file.bytes(said.begins[at], said.ends[at])
            category = said.category_ids[at]
            if category is None:
                captions.append(text)
            else:
                objects.append(text)
                ids.append(labels[category])
    return packed_notes(images, objects, ids, captions)
