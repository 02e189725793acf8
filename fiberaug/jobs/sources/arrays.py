"""NumPy arrays: images as pixels, or as files end to end, beside their labels."""

import json
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.items import Item, Items, Raw, Source
from fiberaug.jobs.members import mask_member
from fiberaug.jobs.sources.array_files import Arrays, open_arrays
from fiberaug.jobs.sources.array_parts import CLASSES, Part, find_parts
from fiberaug.jobs.sources.folder import check_classes
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.sizes import counted

__all__ = ["list_arrays", "looks_like_arrays"]


@dataclass(frozen=True)
class _Reader:
    root: str = field(repr=False)
    content: str
    """What tells these files from others."""
    parts: tuple[Part, ...]

    def __call__(self, item: Item) -> Raw:
        arrays = open_arrays(self.root)
        name, _, row = item.place[:-1].rpartition("[")
        part, i = next(part for part in self.parts if part.image == name), int(row)
        members = {}
        if part.mask is not None:
            members["mask.png"] = mask_member(arrays[part.mask][i])
        label = None
        if part.label is not None and item.label is None:
            label = np.asarray(arrays[part.label][i]).tolist()
        notes = json.loads(item.notes) if item.notes else None
        return Raw(_image(arrays, part, i), notes, members, label=label)


def _image(arrays: Arrays, part: Part, i: int) -> bytes:
    if part.offsets is not None:
        begin, end = arrays[part.offsets][i : i + 2].tolist()
        return arrays[part.image][begin:end].tobytes()
    pixels = np.asarray(arrays[part.image][i])
    if part.layout == "chw":
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    pixels = np.ascontiguousarray(pixels)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        flipped = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA)
        return cv2.imencode(".png", flipped)[1].tobytes()
    return encode_image(pixels, "png")


def looks_like_arrays(src: Path) -> bool:
    """Return whether a path is an ``.npz``, an ``.npy``, or a folder of such alone."""
    if src.is_dir():
        names = [name for name in os.listdir(src) if name[0] != "."]
        return bool(names) and all(name.endswith(".npy") for name in names)
    return src.name.endswith((".npz", ".npy"))


def list_arrays(src: Path, options: SourceOptions) -> Source:
    """Return the images of NumPy arrays with their labels, in the arrays' order.

    Images are uint8 [N, H, W], [N, H, W, C] or [N, C, H, W] with C of 1, 3 or 4, and
    become PNG; or they are files end to end, uint8, beside an array of N + 1 offsets,
    and stay as they are. Arrays named ``train_x`` or ``x_train`` belong to the part
    ``train``, and so on. ``options.columns`` says which array is which, as
    ``{"image": "x", "label": "y", "mask": "m", "layout": "nhwc"}``.

    Raises:
        UsageError: It is no such file, or which array is what cannot be told.
        DataRefused: An array is damaged, holds Python objects, or does not fit.
        StoreError: It cannot be read.
    """
    arrays = open_arrays(str(src))
    parts, left_out = find_parts(arrays, options.columns)
    classes = check_classes(options.classes or _class_names(arrays, parts))
    items = Items.of(_items(arrays, parts, classes))
    found = ", ".join(f"{part.image} {arrays.stored[part.image]}" for part in parts)
    said = f"{counted(len(items), 'image')} in {found}"
    said += f", {len(classes)} classes" if classes else ""
    said += f"; left out: {', '.join(left_out)}" if left_out else ""
    return Source(
        kind="arrays",
        root=str(src),
        items=items,
        reader=_Reader(str(src), arrays.content, tuple(parts)),
        classes=tuple(classes),
        fields=_fields(arrays, parts),
        said=said,
    )


def _fields(arrays: Arrays, parts: Sequence[Part]) -> dict[str, str]:
    fields = {}
    labelled = [part.label for part in parts if part.label is not None]
    if labelled:
        vector = {_is_vector(arrays, name) for name in labelled}
        if len(vector) > 1:
            raise DataRefused(
                f"{labelled} are numbers and vectors; of one set all labels are alike"
            )
        fields["label" + "?" * (len(labelled) < len(parts))] = (
            "json:label" if vector == {True} else "cls"
        )
    masks = [part.mask for part in parts if part.mask is not None]
    if masks:
        fields["mask" + "?" * (len(masks) < len(parts))] = "mask.png"
    return fields


def _is_vector(arrays: Arrays, name: str) -> bool:
    shape = arrays.stored[name].shape
    return len(shape) == 2 and shape[1] > 1


def _items(
    arrays: Arrays, parts: Sequence[Part], classes: Sequence[str]
) -> Iterator[Item]:
    for part in parts:
        labels = _labels(arrays, part, classes)
        digits = max(6, len(str(part.images - 1)))
        prefix = f"{part.name}/" if part.name else ""
        sizes = _sizes(arrays, part)
        extras = {name: _values(arrays, at) for name, at in part.extras}
        for i in range(part.images):
            notes = {"part": part.name} if part.name else {}
            notes |= {name: values[i] for name, values in extras.items()}
            text = json.dumps(notes, ensure_ascii=False).encode() if notes else b""
            label = None if labels is None else int(labels[i])
            place = f"{part.image}[{i}]"
            yield Item(f"{prefix}{i:0{digits}d}", place, int(sizes[i]), label, text)


def _sizes(arrays: Arrays, part: Part) -> NDArray[np.int64]:
    if part.offsets is None:
        one = int(np.prod(arrays.stored[part.image].shape[1:]))
        return np.full(part.images, one, np.int64)
    offsets, size = arrays[part.offsets], arrays.stored[part.image].shape[0]
    steps = np.diff(offsets.astype(np.int64))
    if offsets[0] != 0 or offsets[-1] != size or (steps < 0).any():
        raise DataRefused(
            f"{part.offsets!r} runs from {offsets[0]} to {offsets[-1]}; offsets rise"
            f" from 0 to the {size} bytes of {part.image!r}"
        )
    return np.asarray(steps, np.int64)


def _labels(
    arrays: Arrays, part: Part, classes: Sequence[str]
) -> NDArray[np.int64] | None:
    """Return class ids; None where there are none: labels are numbers or vectors."""
    if part.label is None:
        return None
    values = arrays[part.label]
    if values.dtype.kind in "US":
        ids = {name: i for i, name in enumerate(classes)}
        texts = _texts(arrays, part.label)
        unknown = sorted(set(texts) - set(ids))
        if unknown:
            raise UsageError(f"labels {unknown[:5]} are none of the classes {classes}")
        return np.array([ids[text] for text in texts], np.int64)
    if not np.isfinite(values).all():
        i = int(np.argmin(np.isfinite(values.reshape(part.images, -1)).all(1)))
        raise DataRefused(
            f"{part.label}[{i}] is {values[i]}; labels are finite numbers"
        )
    if _is_vector(arrays, part.label) or values.dtype.kind == "f":
        return None
    values = values.reshape(-1)
    most = len(classes) - 1 if classes else 2**63 - 1
    wrong = values > most if not classes else (values > most) | (values < 0)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise DataRefused(
            f"{part.label}[{i}] is {values[i]}; class ids are from 0 to {most}"
        )
    return np.asarray(values, np.int64)


def _values(arrays: Arrays, name: str) -> list[Any]:
    """Return the values of rows as JSON holds them: NaN as null."""
    values = arrays[name].reshape(-1)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    if values.dtype.kind == "f" and np.isinf(values).any():
        i = int(np.argmax(np.isinf(values)))
        raise DataRefused(f"{name}[{i}] is {values[i]}, which JSON cannot hold")
    found: list[Any] = values.tolist()
    if values.dtype.kind == "f":
        found = [None if value != value else value for value in found]  # noqa: PLR0124
    return found


def _class_names(arrays: Arrays, parts: Sequence[Part]) -> list[str]:
    """Return class names: of an array of such, or the labels' own text."""
    for name in CLASSES:
        stored = arrays.stored.get(name)
        if stored is not None and stored.dtype.kind in "US" and len(stored.shape) == 1:
            return _texts(arrays, name)
    texts = set[str]()
    for part in parts:
        if part.label is not None and arrays.stored[part.label].dtype.kind in "US":
            texts |= set(_texts(arrays, part.label))
    return sorted(texts)


def _texts(arrays: Arrays, name: str) -> list[str]:
    return [unicodedata.normalize("NFC", text) for text in _values(arrays, name)]
