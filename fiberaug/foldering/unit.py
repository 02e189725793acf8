"""Some photos of a folder, augmented and written: the unit of work and of going on."""

import multiprocessing
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import albumentations as A
import cv2
from albumentations.augmentations.crops.transforms import CropSizeError

from fiberaug.errors import DataRefused, FiberAugError, UsageError
from fiberaug.foldering.annotating import Annotator, File
from fiberaug.foldering.carrying import PhotoMaker
from fiberaug.foldering.naming import Names
from fiberaug.foldering.own_file import load_processors
from fiberaug.foldering.photos import Photo
from fiberaug.foldering.pictures import encode_picture, is_lossless
from fiberaug.foldering.place import Place
from fiberaug.jobs.crew import check_wanted, count
from fiberaug.making import Made, Setup
from fiberaug.marking import mark
from fiberaug.record import RecordContext

__all__ = ["PHOTOS", "Unit", "Work", "Worker", "end_work"]

PHOTOS = 64
"""Photos of a unit."""

_MOST_NOTES = 10  # lines of why an operation failed
_workers: list["Worker"] = []  # of this process: one for the work that it is at


@dataclass(frozen=True, kw_only=True)
class Work:
    """All that writing units needs; it can be sent to another process."""

    out: str
    """Folder that is written."""

    setup: bytes
    """A pickled :class:`fiberaug.making.Setup`: unpickled once a process."""

    context: RecordContext
    """What all records share."""

    annotator: Annotator
    """Writes what goes with the photos."""

    copies: int
    encode: str
    quality: int
    on_error: str
    processors: str | None
    """File of the user's own operations."""

    def __call__(self, number: int, photos: Sequence[Photo]) -> None:
        """Write a unit, or find it written.

        Raises:
            DataRefused: A photo is broken and ``on_error`` is ``fail``.
            StoreError: A file cannot be written.
        """
        if not _workers or _workers[0].work != self:
            if multiprocessing.parent_process() is not None:
                cv2.setNumThreads(0)  # its threads do not live on after a fork
            _workers[:] = [Worker(self)]
        _workers[0].write(number, photos)


def end_work() -> None:
    """Let go of what this process holds for its work."""
    _workers.clear()


class Unit(NamedTuple):
    """What became of the photos of a unit."""

    files: dict[str, int]
    """Bytes by path below the output, of all files."""

    lines: list[dict[str, Any]]
    """A line of ``records.jsonl`` for each picture."""

    about: list[dict[str, Any]]
    """What a file of the whole set says of each picture."""

    errors: list[dict[str, Any]]
    """A line for each copy that could not be made."""

    lost: dict[str, int]
    """What could not be written, by name."""


class Worker:
    """Writes units in one process.

    Args:
        work: What is done.
    """

    def __init__(self, work: Work) -> None:
        if work.processors is not None:
            load_processors(work.processors)
        setup: Setup = pickle.loads(work.setup)  # noqa: S301  # made by this very job
        self.work, self._maker = work, PhotoMaker(setup)
        self._annotator = replace(work.annotator)
        self._place = Place(Path(work.out))
        colours = {
            name for name in dir(A)
            if isinstance(kind := getattr(A, name), type)
            and issubclass(kind, A.ImageOnlyTransform)
        }  # fmt: skip
        self._still = [name in colours for _, name in work.context.leaves]

    def write(self, number: int, photos: Sequence[Photo]) -> None:
        """Write a unit; see :class:`Work`."""
        known = self._place.note(number)
        if known is not None:
            wanted = len(photos) * self.work.copies
            count(wanted, 0, len(known["errors"]))
            return
        unit = Unit({}, [], [], [], {})
        self._annotator.lost.clear()
        for photo in photos:
            for copy in range(self.work.copies):
                check_wanted()
                self._write(photo, copy, unit)
        unit.lost.update(self._annotator.lost)
        self._place.finish_unit(number, unit._asdict())

    def _write(self, photo: Photo, copy: int, unit: Unit) -> None:
        try:
            files, line, about = self.make(photo, copy)
        except DataRefused as error:
            if self.work.on_error == "fail":
                raise
            place = self._maker.place(photo)
            unit.errors.append({"source": place, "copy": copy, "reason": str(error)})
            count(1, 0, 1)
            return
        for file in files:
            unit.files[file.path] = self._place.write(file.path, file.data)
        unit.lines.append(line)
        unit.about.append(about)
        count(1, len(files[0].data), 0)

    def make(
        self, photo: Photo, copy: int
    ) -> tuple[list[File], dict[str, Any], dict[str, Any]]:
        """Return the files of a copy, its line, and what the set says of it.

        The first file is the picture.

        Raises:
            DataRefused: The photo is broken, or its annotations are.
            UsageError: An operation fails on it, or makes no picture.
        """
        work = self.work
        made = self._made(photo, copy)
        carried = self._maker.carried
        names = Names.of(
            carried.item.place, copy, copies=work.copies, encode=work.encode,
            stem=photo.stem,
        )  # fmt: skip
        kind = carried.kind if work.encode == "keep" else names.image.rpartition(".")[2]
        picture = encode_picture(
            made.fields["image"], kind, quality=work.quality,
            lossless=work.encode == "keep" and is_lossless(kind, carried.data),
        )  # fmt: skip
        if carried.mark is not None:
            picture = mark(picture, carried.mark)
        ran = (number for number, _ in made.packed.operations)
        moved = not all(self._still[number] for number in ran)
        try:
            beside, about = self._annotator.files(
                carried, made.fields, names, moved=moved
            )
        except OSError as error:
            if isinstance(error, FiberAugError):
                raise
            raise DataRefused(
                f"cannot read {error.filename}: {error.strerror}"
            ) from error
        line = {
            "file": names.image, "source": names.place, "copy": copy,
            "record": work.context.unpack(made.packed).to_dict(),
        }  # fmt: skip
        return [File(names.image, picture), *beside], line, about

    def _made(self, photo: Photo, copy: int) -> Made:
        try:
            return self._maker.make(
                photo.shard, photo.at, 0, photo.position, visit=copy
            )
        except FiberAugError:
            raise
        except Exception as error:
            said = " ".join(str(error).split())[:300]
            notes = "; ".join(getattr(error, "__notes__", ())[:_MOST_NOTES])
            where = self._maker.place(photo)
            text = f"{where}: {type(error).__name__}: {said} ({notes})"
            if isinstance(error, CropSizeError):
                raise DataRefused(
                    f"{text}; PadIfNeeded in front would fit it"
                ) from error
            raise UsageError(text) from error
