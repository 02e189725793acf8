"""Which of some arrays are images, labels, masks, and of which part of the set."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.sources.array_files import Arrays, Stored

__all__ = ["CLASSES", "Part", "find_parts"]

_NAMES = {
    "image": ("image", "images", "x", "data", "img", "imgs", "pixels", ""),
    "label": ("label", "labels", "y", "target", "targets", "class", "class_id", "cls"),
    "mask": ("mask", "masks", "segmentation", "seg"),
}
_BYTES = ("bytes", *_NAMES["image"])
_OFFSETS = frozenset({"off", "offset", "offsets"})
CLASSES = ("classes", "class_names", "label_names", "names")
"""Arrays of class names."""
_COLUMNS = frozenset({"image", "label", "mask", "layout"})
_WORD = "train|training|test|testing|val|valid|validation|dev|eval"
_PART = re.compile(rf"({_WORD})(?:[_-](.*))?|(.*)[_-]({_WORD})", re.IGNORECASE)
_CHANNELS = frozenset({1, 3, 4})
_LAYOUTS = {"nhwc": "hwc", "nchw": "chw"}


class Part(NamedTuple):
    """Arrays of one part of a set."""

    name: str
    """``train``, ``test``, ...; empty where the set has no parts."""

    image: str
    """Array of the images."""

    offsets: str | None
    """Array that says where each image begins in ``image``."""

    layout: str
    """Axes of an image: ``hw``, ``hwc``, ``chw``, or ``bytes``."""

    images: int
    """How many."""

    label: str | None
    """Array of the labels."""

    mask: str | None
    """Array of the masks."""

    extras: tuple[tuple[str, str], ...]
    """Name and array of what else is known of each image."""


def find_parts(
    arrays: Arrays, columns: Mapping[str, str]
) -> tuple[list[Part], list[str]]:
    """Return the parts of a set, and the arrays that have no place in it.

    Raises:
        UsageError: Which array is what cannot be told.
        DataRefused: An array is none of images, or is not as long as the others.
    """
    unknown = sorted(set(columns) - _COLUMNS)
    if unknown:
        raise UsageError(f"columns of arrays are {sorted(_COLUMNS)}, got {unknown}")
    grouped: dict[str, dict[str, str]] = {}
    for name in arrays.stored:
        part, base = _split(name)
        grouped.setdefault(part, {})[base] = name
    parts, left_out = [], []
    for part, names in grouped.items():
        chosen = _Chosen(arrays, names, columns)
        if part == "" and len(grouped) > 1 and not chosen.has_images():
            spare = [name for base, name in names.items() if base not in CLASSES]
            left_out += [f"{name} {arrays.stored[name]}" for name in spare]
            continue
        found, spare = chosen.part(part)
        parts.append(found)
        left_out += [f"{name} {arrays.stored[name]}" for name in spare]
    return parts, left_out


def _split(name: str) -> tuple[str, str]:
    """Return the part that an array belongs to, and its name within."""
    match = _PART.fullmatch(name)
    if match is None:
        return "", name
    part = match[1] or match[4]
    return part.lower(), match[2] or match[3] or ""


class _Chosen:
    """What each array of a part is."""

    def __init__(
        self, arrays: Arrays, names: Mapping[str, str], columns: Mapping[str, str]
    ) -> None:
        self._arrays, self._names, self._columns = arrays, names, columns

    def has_images(self) -> bool:
        """Return whether one of the arrays may hold images."""
        stored = [self._arrays.stored[name] for name in self._names.values()]
        return any(len(one.shape) >= 3 for one in stored) or bool(
            _OFFSETS & set(self._names)
        )

    def part(self, name: str) -> tuple[Part, list[str]]:
        """Return a part, and the names of arrays that are nothing in it."""
        image, offsets = self._image(name)
        stored = self._arrays.stored
        layout = "bytes"
        count = stored[image].shape[0] if stored[image].shape else 0
        if offsets is None:
            layout = _layout(image, stored[image], self._columns.get("layout"))
        else:
            count = _check_files(image, stored[image], offsets, stored[offsets])
        if not count:
            raise DataRefused(f"{image} is {stored[image]}: it has no image")
        label, mask = self._named("label"), self._named("mask")
        if label is not None:
            _check_label(label, stored[label], count)
        if mask is not None and len(stored[mask].shape) != 3:
            raise DataRefused(
                f"{mask} is {stored[mask]}; masks are class ids [N, H, W]"
            )
        for other in (label, mask):
            if other is not None and stored[other].shape[:1] != (count,):
                raise DataRefused(
                    f"{other} is {stored[other]}, and {image} has {count} images"
                )
        used = {image, offsets, label, mask}
        spare = {b: n for b, n in self._names.items() if n not in used}
        extras = {b: n for b, n in spare.items() if _is_extra(stored[n], count)}
        left = [n for b, n in spare.items() if b not in extras and b not in CLASSES]
        return Part(
            name, image, offsets, layout, count, label, mask, tuple(extras.items())
        ), left

    def _named(self, role: str) -> str | None:
        """Return the array that the user names, or whose name says what it is."""
        told = self._columns.get(role)
        if told is not None:
            found = [n for b, n in self._names.items() if told in {b, n}]
            if not found and told not in {_split(n)[1] for n in self._arrays.stored}:
                raise UsageError(
                    f"columns name the array {told!r} as {role}; there are"
                    f" {[*self._arrays.stored]}"
                )
            return found[0] if found else None
        found = [n for b, n in self._names.items() if b.lower() in _NAMES[role]]
        if len(found) > 1:
            raise UsageError(
                f"{found} could all be the {role}; say which:"
                f" columns={{{role!r}: {found[0]!r}}}"
            )
        return found[0] if found else None

    def _image(self, part: str) -> tuple[str, str | None]:
        offsets = next((n for b, n in self._names.items() if b in _OFFSETS), None)
        if offsets is not None:
            for base in (self._columns.get("image", ""), *_BYTES):
                if base in self._names:
                    return self._names[base], offsets
        if "image" in self._columns:
            found = self._named("image")
            if found is not None:
                return found, None
        shapes = {b: self._arrays.stored[n].shape for b, n in self._names.items()}
        several = [
            b for b, s in shapes.items() if len(s) > 2 and b not in _NAMES["mask"]
        ]
        named = [b for b in shapes if b.lower() in _NAMES["image"]]
        for bases in ([b for b in several if b in named], several, named):
            if len(bases) == 1:
                return self._names[bases[0]], None
            if bases:
                names = [self._names[base] for base in bases]
                raise UsageError(
                    f"{names} could all be the images; say which:"
                    f" columns={{'image': {names[0]!r}}}"
                )
        where = f"the part {part!r}" if part else "the file"
        raise DataRefused(
            f"{where} has no array of images, uint8 [N, H, W] or [N, H, W, C]; it has"
            f" {[f'{n} {self._arrays.stored[n]}' for n in self._names.values()]}"
        )


def _layout(name: str, stored: Stored, told: str | None) -> str:
    """Return the axes of each image.

    Raises:
        UsageError: They could be in more than one order.
        DataRefused: It is no array of images.
    """
    shape = stored.shape
    if stored.dtype != np.uint8:
        remedy = {
            "f": "of 0 to 1 make (x * 255).round().astype(np.uint8)",
            "b": "make x.astype(np.uint8) * 255",
        }.get(stored.dtype.kind, "make x.astype(np.uint8), scaled to 0 to 255")
        raise DataRefused(f"{name} is {stored}; images are uint8, 0 to 255: {remedy}")
    if told is not None and told not in _LAYOUTS:
        raise UsageError(f"layout must be {' or '.join(_LAYOUTS)}, got {told!r}")
    if len(shape) == 3 and 0 not in shape[1:] and shape[2] not in _CHANNELS:
        return "hw"
    if len(shape) == 4 and 0 not in shape[1:]:
        fits = [
            order
            for channels, order in ((shape[3], "nhwc"), (shape[1], "nchw"))
            if channels in _CHANNELS and told in {None, order}
        ]
        if len(fits) == 1:
            return _LAYOUTS[fits[0]]
        if fits:
            raise UsageError(
                f"{name} is {stored}, which could be [N, H, W, C] or [N, C, H, W]; say"
                " columns={'layout': 'nhwc'} or 'nchw'"
            )
    raise DataRefused(
        f"{name} is {stored}; images are [N, H, W], [N, H, W, C] or [N, C, H, W] with C"
        " of 1, 3 or 4; reshape the array, one image x to x[None]"
    )


def _check_files(image: str, files: Stored, offsets: str, at: Stored) -> int:
    if files.dtype != np.uint8 or len(files.shape) != 1:
        raise DataRefused(f"{image} is {files}; files end to end are uint8 [bytes]")
    if at.dtype.kind not in "iu" or len(at.shape) != 1 or at.shape[0] < 1:
        raise DataRefused(f"{offsets} is {at}; offsets are whole numbers [N + 1]")
    return at.shape[0] - 1


def _check_label(name: str, stored: Stored, count: int) -> None:
    numbers = stored.dtype.kind in "biuf" and len(stored.shape) in {1, 2}
    text = stored.dtype.kind in "US" and len(stored.shape) == 1
    if not (numbers or text) or stored.shape[1:] == (0,):
        raise DataRefused(
            f"{name} is {stored}; labels of {count} images are numbers or names [N], or"
            " vectors [N, K]"
        )


def _is_extra(stored: Stored, count: int) -> bool:
    flat = stored.shape in {(count,), (count, 1)}
    return flat and stored.dtype.kind in "biufUS"
