"""COCO annotations: boxes, outlines, keypoints and captions in JSON beside images."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.items import Items, Source
from fiberaug.jobs.sources.coco_annotations import Annotations, read_annotations
from fiberaug.jobs.sources.coco_classes import classes_of, keypoints_of
from fiberaug.jobs.sources.coco_file import looks_like_file
from fiberaug.jobs.sources.coco_images import Images, image_folder, root_of
from fiberaug.jobs.sources.coco_masks import check_outlines
from fiberaug.jobs.sources.coco_reader import CocoReader
from fiberaug.jobs.sources.coco_samples import coco_items
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.sizes import counted

__all__ = ["list_coco", "looks_like_coco"]

_PATTERNS = ("annotations/*.json", "*.json", "*/_annotations.coco.json")
_LOOKED_AT = 32  # files, to see what a folder is


def looks_like_coco(src: Path) -> bool:
    """Return whether there are COCO annotations: a JSON file, or a folder with some.

    Raises:
        StoreError: A file cannot be read.
    """
    if src.is_file():
        return src.suffix.lower() == ".json" and looks_like_file(str(src))
    return any(map(looks_like_file, _json_files(str(src))[:_LOOKED_AT]))


def _json_files(folder: str) -> list[str]:
    found = {
        path
        for pattern in _PATTERNS
        for path in glob.glob(os.path.join(glob.escape(folder), pattern))
        if os.path.isfile(path)
    }
    return sorted(found)


def list_coco(src: Path, options: SourceOptions) -> Source:
    """Return the images of COCO annotation files, with all that is said of them.

    Files of the same images become one sample an image; those of further splits are
    added. Class ids are the places of the categories sorted by id.

    Args:
        src: One JSON file, or a folder with ``annotations/*.json``, ``*.json`` or
            ``*/_annotations.coco.json``.
        options: ``images``, ``classes``, ``masks`` and ``allow_outside`` are known.

    Raises:
        UsageError: There are no annotations, no images, or an option does not fit.
        DataRefused: A file is cut, or its ids do not fit each other.
        StoreError: A file cannot be read.
    """
    if options.masks:
        check_outlines()
    paths, passed = _annotation_files(src)
    home = os.path.abspath(src)
    root = home if os.path.isdir(home) else root_of(home)
    files = [read_annotations(path) for path in paths]
    folders = [
        image_folder(file.path, root, options.images, file.images) for file in files
    ]
    root = root if options.images is None else os.path.abspath(options.images)
    classes = classes_of(files, options.classes)
    places = Images(root, outside=options.allow_outside)
    items = Items.of(coco_items(files, folders, places, classes.labels))
    if not items:
        raise DataRefused(f"{', '.join(paths)}: there is no image in images")
    total = _Total.of(files)
    masks = options.masks and total.located
    if masks:
        _check_masks(files, total)
    points, named = keypoints_of(classes.categories)
    about = _about(files)
    if total.located:
        about["categories"] = [dict(category) for category in classes.categories]
    if total.pointed:
        about["keypoints"] = named
    return Source(
        kind="coco",
        root=root,
        items=items,
        reader=CocoReader(
            root=root, boxes=total.located, points=points if total.pointed else None,
            masks=masks,
        ),
        classes=classes.names if total.located else (),
        fields=_fields(total, masks=masks),
        about=about,
        said=_said(len(items), files, total, classes.names, passed),
    )  # fmt: skip


class _Total(NamedTuple):
    """Annotations of all files."""

    objects: int
    captions: int
    numbered: int
    pointed: int
    outlined: int

    @classmethod
    def of(cls, files: Sequence[Annotations]) -> "_Total":
        return cls(
            *(sum(getattr(file, name) for file in files) for name in cls._fields)
        )

    @property
    def located(self) -> bool:
        """Samples have objects, if none; captions alone are of the image."""
        return bool(self.objects or not self.captions)


def _fields(total: _Total, *, masks: bool) -> dict[str, str]:
    fields = {}
    if total.located:
        fields["bboxes"] = "json:objects[].bbox"
        fields["bbox_labels"] = "json:objects[].label"
        if total.numbered == total.objects:
            fields["bbox_ids?"] = "json:objects[].id"
    if masks:
        fields["masks"] = "masks.npz"
        fields["mask_labels"] = "json:objects[].label"
    if total.pointed:
        fields["keypoints?"] = "json:keypoints"
        fields["keypoint_labels?"] = "json:keypoint_labels"
    if total.captions:
        fields["caption?"] = "json:caption"
    return fields


def _annotation_files(src: Path) -> tuple[list[str], list[str]]:
    """Return annotation files, and JSON files that are none."""
    if src.is_file():
        return [os.path.abspath(src)], []
    if not src.is_dir():
        raise UsageError(f"{src} is no file and no folder")
    there = _json_files(os.path.abspath(src))
    taken = [path for path in there if looks_like_file(path)]
    if not taken:
        others = f"; {', '.join(there[:5])} is none" if there else ""
        raise UsageError(
            f"{src} has no COCO annotations in {', '.join(_PATTERNS)}{others}"
        )
    return taken, [os.path.basename(path) for path in there if path not in taken]


def _check_masks(files: Sequence[Annotations], total: _Total) -> None:
    """Refuse masks where no object can have one."""
    for file in files:
        unsized = [image.name for image in file.images if not image.sized]
        if unsized:
            raise UsageError(
                f"{file.path}: masks need width and height of each image;"
                f" {len(unsized)} of {len(file.images)} lack them, the first"
                f" {unsized[0]!r:.200}"
            )
    if total.objects and not total.outlined:
        raise UsageError(
            f"masks need outlines; none of {total.objects} objects has a segmentation"
        )


def _about(files: Sequence[Annotations]) -> dict[str, Any]:
    """Return ``info`` and ``licenses`` of the first file that has each."""
    about: dict[str, Any] = {}
    for file in files:
        about = {**file.about, **about}
    return about


def _said(
    images: int,
    files: Sequence[Annotations],
    total: _Total,
    classes: Sequence[str],
    passed: Sequence[str],
) -> str:
    parts = [f"{counted(images, 'image')} of {counted(len(files), 'file')}"]
    if total.located:
        parts.append(
            f"{counted(total.objects, 'annotation')} of classes 0 to {len(classes) - 1}"
            " in the order of the category ids"
        )
    if total.captions:
        parts.append(counted(total.captions, "caption"))
    text = ", ".join(parts)
    if passed:
        text += f"; passed over, as no COCO: {', '.join(passed[:5])}"
        text += f" and {len(passed) - 5} more" if len(passed) > 5 else ""
    return text
