"""One sample of a source to the members of a shard."""

import io
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from fiberaug.decode.arrays import decode_npz
from fiberaug.decode.header import ImageLimits, read_header
from fiberaug.decode.image import decode_mask
from fiberaug.decode.text import JSON_BYTES
from fiberaug.errors import LimitExceeded, SampleBroken
from fiberaug.jobs.color import to_srgb
from fiberaug.jobs.encoding import recode
from fiberaug.jobs.framing import Placing, is_stored
from fiberaug.jobs.items import Item, Raw
from fiberaug.jobs.keeping import keep
from fiberaug.jobs.members import mask_member
from fiberaug.jobs.splitting import group_rule
from fiberaug.tiling import Tiling

__all__ = ["Options", "Prepared", "json_member", "prepare"]

_LIMITS = ImageLimits()


@dataclass(frozen=True, kw_only=True)
class Options:
    """What becomes of a sample on its way into a shard."""

    encode: str = "keep"
    """``keep``, ``jpeg``, ``webp`` or ``png``."""

    resize: int | None = None
    """Length of the shorter side, px; smaller images stay as they are."""

    quality: int = 90
    """Of JPEG and WebP, 1 to 100."""

    srgb: bool = False
    """Bring images with an embedded colour profile to sRGB."""

    frame: str | None = None
    """Frame of annotations that do not say it: ``stored`` or ``upright``."""

    group_by: str | None = None
    """What tells the group of a key: see :func:`fiberaug.jobs.splitting.group_rule`."""

    on_error: str = "skip"
    """``skip`` lists a sample that cannot be read, ``fail`` ends the conversion."""

    seekable: bool = False
    """JPEGs get restart markers."""

    tiling: Tiling | None = None
    """How photos are cut into tiles; None: they are whole."""

    @property
    def of_photo(self) -> "Options":
        """What becomes of a photo before it is cut: nothing is lost twice."""
        if self.tiling is None:
            return self
        changed = self.resize is not None or self.srgb
        return replace(self, encode="png" if changed else "keep")


class Prepared(NamedTuple):
    """A sample as it is written."""

    members: dict[str, bytes]
    """By extension."""

    doubts: list[str]
    """What is odd about its annotations, which are kept all the same."""


def prepare(raw: Raw, item: Item, options: Options) -> Prepared:
    """Return the members of a sample: image, label, annotations, masks.

    Annotations are upright, and as large as the image that is written.

    Raises:
        SampleBroken: The image is none, or annotations do not fit it.
        FrameUnknown: Nothing tells the frame of the annotations.
    """
    image = raw.image
    if options.srgb:
        again = to_srgb(image, encoding=options.encode, quality=options.quality)
        image = image if again is None else again
    extension, data = recode(
        image, encoding=options.encode, resize=options.resize, quality=options.quality,
        seekable=options.seekable,
    )  # fmt: skip
    if raw.kept:
        added = _added(item, None, options)
        return Prepared(*keep(raw, extension, data, added, place_mask=_placed))
    members = {extension: data}
    label = raw.label if item.label is None else item.label
    if label is not None and not isinstance(label, list):
        members["cls"] = repr(label).encode()
    added = _added(item, label, options)
    doubts: list[str] = []
    placed = [name for name in raw.members if _is_mask(name)]
    if raw.notes is not None or placed:
        header = read_header(raw.image)
        size = read_header(data).upright
        stored = _located(raw, placed) and is_stored(raw, header, options.frame)
        placing = Placing(header, stored=stored, size=size)
        for name in placed:
            members[name] = _placed(name, raw.members[name], placing)
        if raw.notes is not None:
            notes = placing.notes(raw.notes)
            doubts += [*placing.left_out, *_doubts(notes, size)]
            if _located(raw, placed):
                notes = {**notes, "width": size[0], "height": size[1]}
            added = {**notes, **added}
    if added or raw.notes is not None:
        members["json"] = json_member(added)
    for name, member in raw.members.items():
        members.setdefault(name, member)
    return Prepared(members, doubts)


def _added(item: Item, label: object, options: Options) -> dict[str, Any]:
    """Return what stands in the JSON beside the source's own notes."""
    added: dict[str, Any] = {}
    if isinstance(label, list):
        added["label"] = label
    rule = group_rule(options.group_by)
    if rule is not None:
        added["group"] = rule(item.key)
    return added


def _is_mask(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in {"mask", "masks", "seg"}


def _located(raw: Raw, masks: Collection[str]) -> bool:
    """Return whether something of the sample has a place in its image."""
    notes = raw.notes or {}
    return bool(masks or notes.get("objects") or notes.get("keypoints"))


def _placed(name: str, data: bytes, placing: Placing) -> bytes:
    if not name.endswith(".npz"):
        mask = decode_mask(data, limits=_LIMITS)
        found = placing.mask(mask)
        return data if found is mask else mask_member(found)
    masks = decode_npz(data)["masks"]
    if not len(masks):
        return masks_member(np.zeros((0, *placing.size[::-1]), np.uint8))
    return masks_member(np.stack([placing.mask(mask) for mask in masks]))


def masks_member(masks: np.ndarray) -> bytes:
    """Return masks of objects, uint8 [N, H, W], as an ``.npz`` of the same bytes."""
    file = io.BytesIO()
    np.savez_compressed(file, masks=masks)
    return file.getvalue()


def json_member(notes: Mapping[str, Any]) -> bytes:
    """Return the JSON member of a sample.

    Raises:
        SampleBroken: It holds what JSON does not have.
        LimitExceeded: It is larger than readers take.
    """
    try:
        data = json.dumps(notes, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:  # NaN, or half of a character
        where = next(_unstorable(notes), "")
        raise SampleBroken(
            f"its annotations cannot be stored{where}: {error}"
        ) from error
    if len(data) > JSON_BYTES:
        raise LimitExceeded(
            f"its annotations are {len(data)} bytes of JSON, readers take"
            f" {JSON_BYTES}: drop outlines that nobody needs, or cut the image"
        )
    return data


def _unstorable(value: object, where: str = "") -> Iterator[str]:
    """Yield where a number that JSON lacks, or half a character, stands."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _unstorable(
                one, f"{where}.{key}" if where else f" at {key!s:.40}"
            )
    elif isinstance(value, list | tuple):
        for i, one in enumerate(value):
            yield from _unstorable(one, f"{where}[{i}]")
    else:
        try:
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except ValueError:
            yield where


def _doubts(notes: Mapping[str, Any], size: tuple[int, int]) -> Iterator[str]:
    """Say which boxes cannot be right."""
    width, height = size
    for i, one in enumerate(notes.get("objects", ())):
        if "bbox" not in one:
            continue
        x0, y0, x1, y1 = one["bbox"]
        if not (x0 < x1 and y0 < y1):
            yield f"box {i} {one['bbox']} has no area"
        elif x0 < 0 or y0 < 0 or x1 > width or y1 > height:
            yield f"box {i} {one['bbox']} reaches beyond {width}x{height} px"
