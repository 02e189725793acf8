"""What one COCO file says, with annotations kept as places in the file."""

import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import DataRefused
from fiberaug.jobs.sources.coco_file import CocoFile, Entry, place

__all__ = ["Annotations", "Id", "Image", "is_stated", "read_annotations"]

Id = int | str

_MOST_NESTED = 50  # levels of what dataset.json takes over


class Image(NamedTuple):
    """One entry of ``images``."""

    name: str
    """The file, as the entry has it."""

    sized: bool
    """Width and height stand there."""

    begin: int
    """Byte at which the entry begins."""

    end: int
    """Byte at which it ends."""


@dataclass
class Annotations:
    """One annotation file.

    Annotations are columns in the file's order: a million dicts would take gigabytes.
    """

    path: str

    images: list[Image] = field(default_factory=list)
    """In the file's order."""

    image_rows: dict[Id, int] = field(default_factory=dict)
    """Place in ``images`` by id."""

    categories: dict[Id, Mapping[str, Any]] = field(default_factory=dict)
    """By id, as they stand."""

    about: dict[str, Any] = field(default_factory=dict)
    """``info`` and ``licenses``."""

    image_ids: list[Id] = field(default_factory=list)
    category_ids: list[Id | None] = field(default_factory=list)
    """None: a caption."""

    ids: set[Id] = field(default_factory=set)
    begins: "array[int]" = field(default_factory=lambda: array("q"))
    ends: "array[int]" = field(default_factory=lambda: array("q"))

    objects: int = 0
    """Annotations that are no captions."""

    numbered: int = 0
    """Those of them with an id that fits in 64 bits."""

    pointed: int = 0
    """Those with keypoints."""

    outlined: int = 0
    """Those with a segmentation."""

    @property
    def captions(self) -> int:
        """Number of captions."""
        return len(self.image_ids) - self.objects

    def by_image(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return annotations by image, and where each image's begin: int64 [I + 1].

        Raises:
            DataRefused: The image of one is unknown.
        """
        rows = np.array(
            [self.image_rows.get(image, -1) for image in self.image_ids], np.int64
        )
        self._known(rows >= 0, self.image_ids, "image_id", "images")
        order = np.argsort(rows, kind="stable")
        return order, np.searchsorted(rows[order], np.arange(len(self.images) + 1))

    def check_categories(self) -> None:
        """Check that each object has a category.

        Raises:
            DataRefused: The category of one is unknown.
        """
        known = [c is None or c in self.categories for c in self.category_ids]
        self._known(np.array(known, bool), self.category_ids, "category_id",
                    "categories")  # fmt: skip

    def _known(
        self, known: NDArray[np.bool_], ids: Sequence[Any], key: str, where: str
    ) -> None:
        unknown = np.flatnonzero(~known)
        if len(unknown):
            first = int(unknown[0])
            raise DataRefused(
                f"{place(self.path, self.begins[first])}: {key} {ids[first]!r:.80} is"
                f" none of the {where}, as for {len(unknown)} of {len(known)}"
                f" annotations; add the entry to {where} or remove the annotations"
            )

    def take(self, entry: Entry) -> None:
        """Take in an entry of the file.

        Raises:
            DataRefused: Its ids are missing or stand twice, or it is no such entry.
        """
        if entry.key in {"images", "categories", "annotations"}:
            if not isinstance(entry.value, dict):
                raise self._refused(entry, "must be a list of objects")
            getattr(self, f"_{entry.key}")(entry, entry.value)
        elif entry.key == "info":
            self._check(entry)
            self.about["info"] = entry.value
        elif entry.key == "licenses":
            self._check(entry)
            self.about.setdefault("licenses", []).append(entry.value)

    def _images(self, entry: Entry, value: Mapping[str, Any]) -> None:
        image = self._id(entry, value.get("id"))
        name = value.get("file_name") or _name_in(value.get("coco_url"))
        if not isinstance(name, str) or not name:
            raise self._refused(entry, f"image {image!r:.80} has no file_name")
        if image in self.image_rows:
            raise self._refused(entry, f"the image id {image!r:.80} stands twice")
        self.image_rows[image] = len(self.images)
        sized = all(is_stated(value.get(side)) for side in ("width", "height"))
        self.images.append(Image(name, sized, entry.begin, entry.end))

    def _categories(self, entry: Entry, value: Mapping[str, Any]) -> None:
        name, category = value.get("name"), self._id(entry, value.get("id"))
        if not isinstance(name, str) or not name:
            raise self._refused(entry, f"category {category!r:.80} has no name")
        if category in self.categories:
            raise self._refused(entry, f"the category id {category!r} stands twice")
        self._check(entry)
        self.categories[category] = value

    def _check(self, entry: Entry) -> None:
        """Check that an entry can stand in ``dataset.json``."""
        try:
            text = json.dumps(entry.value, ensure_ascii=False, allow_nan=False)
            text.encode()
        except ValueError as error:  # NaN, or half of a character
            raise self._refused(entry, f"cannot be stored: {error}") from error
        if _depth(text) > _MOST_NESTED:
            raise self._refused(entry, f"is nested more than {_MOST_NESTED} deep")

    def _annotations(self, entry: Entry, value: Mapping[str, Any]) -> None:
        if "segments_info" in value:
            raise self._refused(
                entry,
                "panoptic annotations are not read; take the file of the instances,"
                " or move this one elsewhere",
            )
        caption = "caption" in value and "bbox" not in value
        self.image_ids.append(self._id(entry, value.get("image_id"), "image_id"))
        category = None
        if not caption:
            category = self._id(entry, value.get("category_id"), "category_id")
            own = value.get("id")
            self.objects += 1
            self.numbered += isinstance(own, int) and -(2**63) <= own < 2**63
            self.pointed += bool(value.get("keypoints"))
            self.outlined += bool(value.get("segmentation"))
        self.category_ids.append(category)
        if "id" in value:
            own = self._id(entry, value["id"])
            if own in self.ids:
                raise self._refused(
                    entry, f"the annotation id {own!r:.80} stands twice"
                )
            self.ids.add(own)
        self.begins.append(entry.begin)
        self.ends.append(entry.end)

    def _id(self, entry: Entry, value: object, key: str = "id") -> Id:
        if isinstance(value, str) or (type(value) is int):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)  # tables write 1.0
        raise self._refused(
            entry, f"{key} must be a whole number or text, got {value!r:.80}"
        )

    def _refused(self, entry: Entry, reason: str) -> DataRefused:
        return DataRefused(f"{place(self.path, entry.begin)}, {entry.key}: {reason}")


def _depth(text: str) -> int:
    """Return how deep lists and objects stand in each other, brackets in text too."""
    steps = np.cumsum([(c in "[{") - (c in "]}") for c in text if c in "[]{}"] or [0])
    return int(steps.max())


def _name_in(url: object) -> str | None:
    """Return folder and file of an image's address: LVIS has no file_name."""
    return "/".join(url.split("/")[-2:]) if isinstance(url, str) else None


def is_stated(side: object) -> bool:
    """Return whether a width or height stands there; tools write 0 for unknown."""
    return side is not None and side != 0


def read_annotations(path: str) -> Annotations:
    """Return what a COCO file says, its references checked.

    Raises:
        DataRefused: It is no such file, or ids are unknown or stand twice.
        StoreError: It cannot be read.
    """
    found = Annotations(path)
    with CocoFile(path) as file:
        for entry in file.entries():
            found.take(entry)
        keys = file.keys
    if "images" not in keys:
        raise DataRefused(
            f"{path} has no images: its keys are {keys[:10]}; COCO annotations are an"
            " object with images, annotations and categories"
        )
    found.check_categories()
    found.ids.clear()  # they were there to see which stand twice
    return found
