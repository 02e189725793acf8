"""What one sample becomes in each format: its files, and the line for the whole set."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fiberaug.errors import SampleBroken
from fiberaug.jobs.export_sample import ReadSample
from fiberaug.jobs.formats.annotated import Annotated
from fiberaug.jobs.formats.coco import entries
from fiberaug.jobs.formats.coco_masks import masked
from fiberaug.jobs.formats.voc import to_xml
from fiberaug.jobs.formats.yolo import label_file, to_lines
from fiberaug.jobs.members import mask_member

__all__ = ["FORMATS", "Style", "Styled"]

FORMATS = {"coco": "COCO", "voc": "Pascal VOC", "yolo": "YOLO", "folder": "folders"}
"""Formats and how they are called."""

# What the loader made of the source's own notes, or the format says otherwise.
_KNOWN = frozenset({"width", "height", "frame", "part", "keypoint_labels",
                    "keypoint_objects"})  # fmt: skip
_NUMBERED = re.compile(r"[_-]mask[_-](all|[0-9]+)$", re.IGNORECASE)


class Styled(NamedTuple):
    """A sample on its way into a format."""

    files: dict[str, bytes]
    """Content by path below the export."""

    line: dict[str, Any]
    """What the files of the whole set need to know of it."""

    one: Annotated
    """Its annotations as they were written."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """A format and how it is written; it can be pickled."""

    to: str
    """``coco``, ``voc``, ``yolo`` or ``folder``."""

    classes: Sequence[str]
    """Class names by id."""

    origin: int = 0
    """Of Pascal VOC's boxes."""

    kind: str = "boxes"
    """Of YOLO's lines."""

    shape: tuple[int, int] | None = None
    """``kpt_shape`` of YOLO's keypoints."""

    labelled: bool = False
    """Of ``folder``: photos have classes; else images and masks lie side by side."""

    masks: bool = False
    """Of ``folder``: the set has masks and no classes."""

    unnamed: int = 0
    """Class id of masks that have no label."""

    def folder_of(self, read: ReadSample) -> str | None:
        """Return the name of a photo's class where it is the name of its folder.

        Raises:
            SampleBroken: It has none.
        """
        if self.to != "folder" or not self.labelled:
            return None
        label = read.one.label
        if label is not None and label >= 0 and not self.classes:
            return str(label)
        if label is None or not 0 <= label < len(self.classes):
            raise SampleBroken(
                f"its label is {label!r}, and class folders need a class id from 0 to"
                f" {len(self.classes) - 1}"
            )
        return self.classes[label]

    def __call__(
        self, read: ReadSample, part: str, stem: str, lost: Counter[str]
    ) -> Styled:
        """Return the files of a sample.

        Args:
            read: The sample.
            part: Of the set; may be empty.
            stem: Path of the image below its folder, without the extension.
            lost: Counts what the format cannot hold, by name.

        Raises:
            SampleBroken: An annotation cannot be written.
        """
        file = f"{stem}.{read.extension}"
        read = read._replace(one=read.one._replace(file=file))
        how = {"coco": self._coco, "voc": self._voc, "yolo": self._yolo,
               "folder": self._folder}  # fmt: skip
        return how[self.to](read, part, stem, lost)

    def _coco(
        self, read: ReadSample, part: str, stem: str, lost: Counter[str]
    ) -> Styled:
        del stem
        one = read.one
        _count(lost, {"masks of class ids": read.mask or read.objects_mask,
                      "labels of photos": one.label is not None})  # fmt: skip
        if read.masks is not None:
            objects = masked(one.objects, read.masks, self.unnamed)
            one = one._replace(objects=objects)
        entries(one, 0, 1, classes=self.classes, lost=lost)  # refused now, or never
        line = one._replace(notes=dict(one.notes), objects=list(one.objects))._asdict()
        return Styled(
            {_joined("images", part, one.file): read.image}, {"one": line}, one
        )

    def _voc(
        self, read: ReadSample, part: str, stem: str, lost: Counter[str]
    ) -> Styled:
        del part  # its lists tell
        one = read.one
        self._count_notes(read, lost)
        _count(lost, {"masks of objects": _any(read.masks)})
        xml = to_xml(
            one, self.classes, origin=self.origin, segmented=read.mask is not None,
            lost=lost,
        )  # fmt: skip
        files = {
            f"JPEGImages/{one.file}": read.image, f"Annotations/{stem}.xml": xml,
        }  # fmt: skip
        for folder, mask in (
            ("SegmentationClass", read.mask),
            ("SegmentationObject", read.objects_mask),
        ):
            if mask is not None:
                files[f"{folder}/{stem}.png"] = mask
        return Styled(files, {"stem": stem}, one)

    def _yolo(
        self, read: ReadSample, part: str, stem: str, lost: Counter[str]
    ) -> Styled:
        del stem
        one = read.one
        self._count_notes(read, lost)
        _count(lost, {"masks of objects": _any(read.masks)})
        _count(lost, {"masks of class ids": read.mask or read.objects_mask})
        lines = to_lines(one, self.classes, kind=self.kind, shape=self.shape, lost=lost)
        image = _joined("images", part, one.file)
        return Styled({image: read.image, label_file(image): lines}, {}, one)

    def _folder(
        self, read: ReadSample, part: str, stem: str, lost: Counter[str]
    ) -> Styled:
        one = read.one
        self._count_notes(read, lost)
        _count(lost, {"masks of numbered objects": read.objects_mask})
        if one.objects:
            lost["objects"] += len(one.objects)
        if self.masks:
            if _NUMBERED.search(stem):
                raise SampleBroken(
                    f"the image {one.file} would be taken for a mask of an object;"
                    " rename it"
                )
            files = {_joined(part, "images", one.file): read.image}
            return Styled(files | _mask_files(read, part, stem), {}, one)
        _count(lost, {"masks of class ids": read.mask,
                      "masks of objects": _any(read.masks)})  # fmt: skip
        folder = self.folder_of(read) or ""
        image = _joined(part, folder, one.file)
        return Styled({image: read.image}, {}, one)

    def _count_notes(self, read: ReadSample, lost: Counter[str]) -> None:
        """Count what is said of an image and the format has no place for."""
        one = read.one
        if self.to != "folder" and one.label is not None:
            lost["labels of photos"] += 1
        for key, value in one.notes.items():
            if key in _KNOWN or key.startswith("_") or value in (None, "", [], {}):
                continue
            if key == "keypoints" and one.notes.get("keypoint_objects"):
                continue  # those of the objects, once more
            if key == "captions" and "caption" in one.notes:
                continue
            lost[f"{key} of images"] += 1


def _any(masks: Any) -> bool:  # noqa: ANN401  # an array or None
    return masks is not None and len(masks) > 0


def _count(lost: Counter[str], there: Mapping[str, object]) -> None:
    lost.update(name for name, found in there.items() if found)


def _joined(*parts: str) -> str:
    return "/".join(filter(None, parts))


def _mask_files(read: ReadSample, part: str, stem: str) -> dict[str, bytes]:
    files = {}
    if read.mask is not None:
        files[_joined(part, "masks", f"{stem}.png")] = read.mask
    for i, mask in enumerate(() if read.masks is None else read.masks):
        seen = mask * np.uint8(255) if mask.max(initial=0) <= 1 else mask
        files[_joined(part, "masks", f"{stem}_mask_{i}.png")] = mask_member(seen)
    return files
