"""The files beside a picture: masks, boxes, captions, as their source has them."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_mask
from fiberaug.foldering.carrying import OBJECTS_MASK, Carried
from fiberaug.foldering.moving import moved_objects
from fiberaug.foldering.naming import Names
from fiberaug.foldering.pictures import encode_mask
from fiberaug.jobs.formats.annotated import Annotated
from fiberaug.jobs.formats.voc import to_xml
from fiberaug.jobs.formats.yolo import label_file, to_lines

__all__ = ["Annotator", "File"]

_LIMITS = ImageLimits()
_CLASS_MASKS, _OBJECT_MASKS = "SegmentationClass", "SegmentationObject"
_NOT_MOVED = "masks in SegmentationObject, which an operation of your own cannot move"


class File(NamedTuple):
    """A file to write."""

    path: str
    """Below the output."""

    data: bytes


@dataclass(frozen=True, kw_only=True)
class Annotator:
    """Writes what goes with the photos of one source."""

    kind: str
    """Of the source: ``folder``, ``voc``, ..."""

    root: str
    """Folder that places begin at."""

    classes: tuple[str, ...]
    """Names by id."""

    about: Mapping[str, Any]
    """What is known of the whole set."""

    binary: bool
    """Masks have 255 where the fields have 1."""

    lost: Counter[str] = field(default_factory=Counter, init=False, compare=False)
    """Counts what cannot be written, by name."""

    _originals: dict[str, bytes] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def files(
        self, carried: Carried, fields: Mapping[str, Any], names: Names, *, moved: bool
    ) -> tuple[list[File], dict[str, Any]]:
        """Return the files beside a picture, and what a file of the set says of it.

        Args:
            carried: The photo as it came.
            fields: Its fields after the pipeline.
            names: What its files are called.
            moved: An operation ran that moves more than colours.

        Raises:
            DataRefused: A mask or an annotation cannot be written.
            OSError: A mask cannot be read.
        """
        notes = dict(carried.notes)
        if "objects" in notes:
            objects = notes.pop("objects")
            if moved:
                objects = moved_objects(carried, fields, self.lost)
            notes["objects"] = [dict(one) for one in objects]
        if fields.get("caption") is not None:
            notes = _captioned(notes, fields["caption"])
        height, width = fields["image"].shape[:2]
        about = {
            "file": names.image, "width": width, "height": height,
            "objects": notes.pop("objects", []), "notes": notes,
            "label": carried.item.label,
        }  # fmt: skip
        told = json.loads(carried.item.notes) if carried.item.notes else {}
        return [*self._beside(told, fields, names, about)], about

    def _beside(
        self,
        told: Any,  # noqa: ANN401  # JSON of the listing
        fields: Mapping[str, Any],
        names: Names,
        about: dict[str, Any],
    ) -> Iterator[File]:
        if self.kind == "folder" and fields.get("caption") is not None:
            place = str(PurePath(names.place).with_suffix(".txt"))
            yield File(names.side(place), fields["caption"].encode())
        elif self.kind == "voc":
            yield from self._voc(told, fields, names, about)
        elif self.kind == "yolo":
            about["part"] = told.get("part", "")
            if "label" in told:
                yield self._labels(told["label"], names, about)
        elif self.kind == "masks":
            union, instances, _ = told
            yield from self._mask(union, fields.get("mask"), names)
            masks = fields.get("masks", ())
            for row, place in enumerate(instances):
                data = self._original(place)
                level = int(decode_mask(data, limits=_LIMITS).max(initial=0)) or 255
                mask = encode_mask(masks[row], place, data, levels=level)
                yield File(names.mask(place), mask)
        elif self.kind == "csv" and told.get("mask"):
            about["mask"] = names.mask(told["mask"])
            yield from self._mask(told["mask"], fields.get("mask"), names)

    def _voc(
        self,
        told: Mapping[str, Any],
        fields: Mapping[str, Any],
        names: Names,
        about: Mapping[str, Any],
    ) -> Iterator[File]:
        parts = PurePath(names.image).parts
        below = parts[parts.index("JPEGImages") + 1 :] if "JPEGImages" in parts else ()
        one = Annotated(
            "/".join(below or parts[-1:]), about["width"], about["height"],
            about["objects"], about["notes"],
        )  # fmt: skip
        segmented = any(_is_in(place, _CLASS_MASKS) for place in told["masks"])
        data = to_xml(one, self.classes, segmented=segmented, lost=self.lost)
        yield File(names.side(told["xml"]), data)
        for place in told["masks"]:
            if _is_in(place, _CLASS_MASKS):
                yield from self._mask(place, fields.get("mask"), names)
            elif fields.get(OBJECTS_MASK) is None:
                self.lost[_NOT_MOVED] += 1
            else:
                yield from self._mask(place, fields[OBJECTS_MASK], names)

    def _labels(self, place: str, names: Names, about: Mapping[str, Any]) -> File:
        """Return the label file of YOLO, as outlines where the photo has some."""
        shape = self.about.get("kpt_shape")
        kind = "keypoints" if shape else "boxes"
        data = self._original(place)
        if not shape and any(len(line.split()) > 6 for line in data.splitlines()):
            kind = "outlines"
        one = Annotated(names.image, about["width"], about["height"], about["objects"])
        lines = to_lines(
            one, self.classes, kind=kind, lost=self.lost,
            shape=(shape[0], shape[1]) if shape else None,
        )  # fmt: skip
        usual = place == label_file(names.place)
        beside = str(PurePath(names.image).with_suffix(".txt"))
        return File(label_file(names.image) if usual else beside, lines)

    def _mask(self, place: str | None, mask: Any, names: Names) -> Iterator[File]:  # noqa: ANN401
        if place is None or mask is None:
            return
        levels = 255 if self.binary else None
        data = encode_mask(
            np.asarray(mask), place, self._original(place), levels=levels
        )
        yield File(names.mask(place), data)

    def _original(self, place: str) -> bytes:
        """Return a file of the source; those of the last photo are kept for copies."""
        found = self._originals.get(place)
        if found is None:
            if len(self._originals) > 64:
                self._originals.clear()
            found = self._originals[place] = Path(self.root, place).read_bytes()
        return found


def _is_in(place: str, folder: str) -> bool:
    return PurePath(place).parent.name == folder


def _captioned(notes: dict[str, Any], caption: str) -> dict[str, Any]:
    """Return notes with a caption that may have been changed; it is the first."""
    found = {**notes, "caption": caption}
    if notes.get("captions"):
        found["captions"] = [caption, *notes["captions"][1:]]
    return found
