"""Images with their masks: in two folders side by side, or all in one."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fiberaug.errors import DataRefused, SampleBroken
from fiberaug.jobs.items import Item, Items, Raw, Source
from fiberaug.jobs.preparing import masks_member
from fiberaug.jobs.sources.files import Keys, read_file
from fiberaug.jobs.sources.folder import check_classes
from fiberaug.jobs.sources.mask_files import (
    are_binary,
    object_mask,
    read_mask,
    stored_mask,
)
from fiberaug.jobs.sources.mask_layout import (
    Layout,
    Mask,
    find_layout,
    looks_like_masks,
    masks_by_stem,
    stem_of,
)
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.sizes import counted

__all__ = ["list_masks", "looks_like_masks"]


@dataclass(frozen=True)
class _Reader:
    root: str = field(repr=False)
    binary: bool

    def __call__(self, item: Item) -> Raw:
        union, instances, problem = json.loads(item.notes)
        if problem:
            raise SampleBroken(problem)
        members, sizes = {}, {}
        if union is not None:
            members["mask.png"], sizes[union] = stored_mask(
                read_mask(self.root, union), union, binary=self.binary
            )
        masks = [object_mask(read_mask(self.root, p), p) for p in instances]
        sizes |= {
            place: (mask.shape[1], mask.shape[0])
            for place, mask in zip(instances, masks, strict=True)
        }
        (first, size), *others = sizes.items()
        for place, other in others:
            if other != size:
                raise SampleBroken(
                    f"the mask {place} is {other[0]}x{other[1]} px, {first} is"
                    f" {size[0]}x{size[1]}; masks of one image have one size"
                )
        if masks:
            members["masks.npz"] = masks_member(np.stack(masks))
        return read_file(self.root, item)._replace(members=members, stated=size)


def list_masks(folder: Path, options: SourceOptions) -> Source:
    """Return the images of a folder in sorted order, with their masks.

    ``images/`` and ``masks/`` hold files of the same path but for the extension and a
    suffix such as ``_mask``; or both lie in one folder and masks have the suffix.
    ``a_mask_0.png``, ``a_mask_1.png``, ... are masks of the objects of ``a``, and
    ``a_mask_all.png`` is that of the image. Where the first masks have 0 and 255 only,
    they are written as 0 and 1; others keep their class ids.

    Raises:
        UsageError: There is no such folder, or several that could be the images.
        DataRefused: There is no image or no mask.
        StoreError: A folder cannot be read.
    """
    layout = find_layout(folder, options)
    if not layout.images or not layout.masks:
        raise DataRefused(
            f"{folder} has {counted(len(layout.images), 'image')} and"
            f" {counted(len(layout.masks), 'mask')}; expected images/ and masks/ with"
            " files of the same names, or masks beside the images named like"
            " NAME_mask.png"
        )
    classes = check_classes(options.classes or ())
    masks = masks_by_stem(layout)
    each = [one for group in masks.values() for one in group]
    unions = sorted(one.place for one in each if one.number is None)
    binary = are_binary(_readable(str(folder), unions))
    items = Items.of(_items(layout, masks))
    with_union = {stem for stem, own in masks.items() if any(_is_union(m) for m in own)}
    objects = {stem for stem, own in masks.items() if not all(map(_is_union, own))}
    fields = {}
    if with_union:
        fields["mask" + "?" * bool(objects - with_union)] = "mask.png"
    if objects:
        fields["masks" + "?" * bool(with_union - objects)] = "masks.npz"
    values = "0 and 255, written as 0 and 1" if binary else "class ids, kept"
    said = [counted(len(layout.images), "image")]
    said += [f"{counted(len(unions), 'mask')} of {values}"] * bool(unions)
    count = len(each) - len(unions)
    said += [f"{counted(count, 'mask')} of single objects"] * bool(count)
    return Source(
        kind="masks", root=str(folder), items=items,
        reader=_Reader(str(folder), binary), classes=tuple(classes), fields=fields,
        said=", ".join(said),
    )  # fmt: skip


def _readable(root: str, places: Iterable[str]) -> Iterator[bytes]:
    for place in places:
        with suppress(SampleBroken):  # the reader says it of its sample
            yield read_mask(root, place)


def _is_union(mask: Mask) -> bool:
    return mask.number is None


def _items(layout: Layout, masks: dict[str, list[Mask]]) -> Iterator[Item]:
    keys = Keys()
    taken: dict[str, list[str]] = {}
    for image in layout.images:
        taken.setdefault(stem_of(image.path, layout.image_root), []).append(image.path)
    for image in layout.images:
        stem = stem_of(image.path, layout.image_root)
        own = masks.get(stem, [])
        unions = sorted(one.place for one in own if _is_union(one))
        objects = sorted((m.number, m.place) for m in own if m.number is not None)
        problem = "" if own else "the image has no mask"
        if len(unions) > 1:
            problem = f"the image has two masks, {unions[0]} and {unions[1]}"
        others = [path for path in taken[stem] if path != image.path]
        if own and others:
            problem = f"its mask is also that of {others[0]}, of the same name"
        notes = [next(iter(unions), None), [place for _, place in objects], problem]
        yield Item(
            keys(os.path.relpath(image.path, layout.image_root or ".")),
            image.path, image.size + sum(one.size for one in own),
            notes=json.dumps(notes).encode(),
        )  # fmt: skip
    for stem in sorted(masks.keys() - taken.keys()):
        for one in masks[stem]:
            where = os.path.join(layout.image_root, stem)
            notes = [None, [], f"the mask {one.place} has no image {where}.*"]
            key = keys(os.path.relpath(one.place, layout.mask_root or "."))
            yield Item(key, one.place, one.size, notes=json.dumps(notes).encode())
