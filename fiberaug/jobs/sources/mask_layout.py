"""How images and their masks lie in folders, by their names alone."""

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from fiberaug.errors import UsageError
from fiberaug.jobs.sources.files import EXTENSIONS, Found, walk
from fiberaug.jobs.sources.options import SourceOptions

__all__ = [
    "Layout", "Mask", "find_layout", "looks_like_masks", "masks_by_stem", "stem_of",
]  # fmt: skip

_IMAGES = ("images", "image", "imgs", "img", "jpegimages")
_MASKS = ("masks", "mask", "labels", "gt", "annotations", "segmentationclass")
_NAME = re.compile(
    r"(.+)[_-]mask[_-](all|[0-9]{1,9})|(.+)(?:[_-]mask|_seg|_gt|_labelIds)",
    re.IGNORECASE | re.DOTALL,
)


class Mask(NamedTuple):
    """A file that is a mask."""

    place: str
    size: int
    number: int | None
    """Of the object; None: the mask of the whole image."""


@dataclass(frozen=True)
class Layout:
    """Files of a set, paths below its folder."""

    images: list[Found]
    masks: list[Found]
    image_root: str = ""
    """Folder of the images; empty where all lie in one."""
    mask_root: str = ""
    """Folder of the masks; empty where all lie in one."""


def looks_like_masks(src: Path) -> bool:
    """Return whether a folder has images with masks, by its names alone."""
    if not src.is_dir():
        return False
    if all(_named(src, names) for names in (_IMAGES, _MASKS)):
        return True
    names = [Found(entry.name, 0) for entry in os.scandir(src) if entry.is_file()]
    kept = [n for n in names if os.path.splitext(n.path)[1][1:].lower() in EXTENSIONS]
    layout = _in_one(kept)
    stems = {stem_of(image.path) for image in layout.images}
    return any(_parsed(stem_of(m.path))[0] in stems for m in layout.masks)


def find_layout(folder: Path, options: SourceOptions) -> Layout:
    """Return the images and the masks of a set.

    Raises:
        UsageError: There is no such folder, or several that could be one of the two.
        StoreError: A folder cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder")
    given = options.images and os.path.normpath(options.images)
    images = [given] if given else _named(folder, _IMAGES)
    masks = [name for name in _named(folder, _MASKS) if name not in images]
    if not given and not (images and masks):
        return _in_one(list(walk(folder, [])))
    if len(images) > 1 or len(masks) != 1:
        raise UsageError(
            f"{folder} has {images} for images and {masks} for masks: each is one"
            " folder; move the others elsewhere, or name that of the images with"
            ' images="..." (--images)'
        )
    found = [
        [Found(os.path.join(name, f.path), f.size) for f in walk(folder / name, [])]
        for name in (images[0], masks[0])
    ]
    return Layout(found[0], found[1], images[0], masks[0])


def _named(folder: Path, names: Sequence[str]) -> list[str]:
    """Return the folders of one of the names that have an image file."""
    there = [e.name for e in os.scandir(folder) if e.name.lower() in names]
    return [
        name
        for name in sorted(there)
        if os.path.isdir(folder / name) and any(islice(walk(folder / name, []), 1))
    ]


def _in_one(files: Iterable[Found]) -> Layout:
    """Tell masks from images by their names."""
    parsed = [(file, stem_of(file.path)) for file in files]
    stems = {stem for _, stem in parsed}
    bases = {_parsed(stem)[0] for _, stem in parsed}
    layout = Layout([], [])
    for file, stem in parsed:
        base, _ = _parsed(stem)
        # gas_mask.jpg is an image where there is no gas.jpg, but gas_mask_mask.png
        is_mask = base is not None and (base in stems or stem not in bases)
        (layout.masks if is_mask else layout.images).append(file)
    return layout


def stem_of(path: str, root: str = "") -> str:
    """Return what an image and its mask share: the path without extension, NFC."""
    stem = os.path.splitext(os.path.relpath(path, root) if root else path)[0]
    return unicodedata.normalize("NFC", stem)


def _parsed(stem: str) -> tuple[str | None, int | None]:
    """Return the stem of the image and the number of the object that a name tells."""
    match = _NAME.fullmatch(stem)
    if match is None or not os.path.basename(base := match[1] or match[3]):
        return None, None
    numbered = match[2] is not None and match[2].lower() != "all"
    return base, int(match[2]) if numbered else None


def masks_by_stem(layout: Layout) -> dict[str, list[Mask]]:
    """Return the masks of each image, by its stem."""
    stems = {stem_of(image.path, layout.image_root) for image in layout.images}
    masks: dict[str, list[Mask]] = {}
    for file in layout.masks:
        stem = stem_of(file.path, layout.mask_root)
        base, number = None, None
        if stem not in stems or not layout.mask_root:
            base, number = _parsed(stem)
        one = Mask(file.path, file.size, number)
        masks.setdefault(base or stem, []).append(one)
    return masks
