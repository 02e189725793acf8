"""Samples of a shard on their way into another: kept, or led after their image."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fiberaug.decode.annotations import Frame
from fiberaug.decode.header import ImageHeader, read_header
from fiberaug.decode.refusing import Refusing
from fiberaug.decode.text import parse_json, parse_metadata
from fiberaug.errors import SampleBroken
from fiberaug.jobs.framing import Placing
from fiberaug.jobs.items import Raw

__all__ = ["keep"]

# Placing moves them.
_OF_OBJECTS = frozenset({"bbox", "polygons", "keypoints", "segmentation"})
_OF_IMAGES = frozenset({"keypoints"})
# Provenance tells of the image as it was made, whatever becomes of it.
_APART = frozenset({"objects", "provenance"})
_PLACES = re.compile(
    r"bbox|boxes|polygon|segmentation|keypoint|landmark|contour", re.IGNORECASE
)
_MASKS = frozenset({"mask", "masks", "seg"})
_PIXELS = frozenset({
    "jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "ppm", "npy", "npz",
})  # fmt: skip
_PlaceMask = Callable[[str, bytes, Placing], bytes]


def keep(
    raw: Raw,
    extension: str,
    data: bytes,
    added: Mapping[str, Any],
    *,
    place_mask: _PlaceMask,
) -> tuple[dict[str, bytes], list[str]]:
    """Return the members of a sample of a shard, and what had to be left out of them.

    They are the same bytes. Only where the image gets another size or is turned, boxes,
    polygons, keypoints and masks follow it.

    Args:
        raw: The sample.
        extension: Of the image that is written.
        data: The image that is written.
        added: What the JSON member has to say, too.
        place_mask: (extension, member, placing) -> the mask where it belongs.

    Raises:
        SampleBroken: A member would have to follow the image, and cannot.
    """
    own, *others = raw.kept
    members, left_out = dict(raw.kept), list[str]()
    if data is not raw.image:
        name = ".".join([*own.split(".")[:-1], extension])
        if name in others:
            raise SampleBroken(
                f"its image .{own} would become .{name}, which it has already; choose"
                " another encode"
            )
        members = {name: data, **{other: raw.kept[other] for other in others}}
        left_out = _follow(members, others, raw.image, data, place_mask)
    if added:
        notes = parse_json(members.get("json", b"{}"))
        if not isinstance(notes, Mapping):
            raise SampleBroken(f"its JSON is no object that could hold {[*added]}")
        members["json"] = _json({**notes, **added})
    return members, left_out


def _follow(
    members: dict[str, bytes],
    others: list[str],
    before: bytes,
    after: bytes,
    place_mask: _PlaceMask,
) -> list[str]:
    """Bring the members beside an image to where its pixels are; return what cannot."""
    header, size = read_header(before), read_header(after).upright
    if header.orientation == 1 and size == header.upright:
        return []
    # The frame as whoever reads the shard finds it.
    found = parse_metadata({other: members[other] for other in others}).values()
    metadata = next((notes for notes in found if isinstance(notes, Mapping)), {})
    stored = Frame.of(header, metadata).turn != 1
    placing = Placing(header, stored=stored, size=size)
    for name in others:
        first, last = name.partition(".")[0], name.rpartition(".")[2]
        with Refusing(f".{name} cannot follow the image"):
            if last == "json":
                members[name] = _placed_json(name, members[name], placing, header, size)
            elif last in _PIXELS and first in _MASKS:
                members[name] = place_mask(name, members[name], placing)
            elif last in _PIXELS:
                raise _stuck(name, "its pixels may be those of the image")
    return placing.left_out


def _placed_json(
    name: str,
    data: bytes,
    placing: Placing,
    header: ImageHeader,
    size: tuple[int, int],
) -> bytes:
    notes = parse_json(data)
    other = next(_elsewhere(notes), None)
    if other is not None:
        raise _stuck(name, f"coordinates may stand at {other!r}")
    if not isinstance(notes, Mapping):
        return data
    placed = placing.notes(notes)
    stated = notes.get("width"), notes.get("height")
    located = notes.get("objects") or notes.get("keypoints")
    if located or stated in {(header.width, header.height), header.upright}:
        placed |= {"width": size[0], "height": size[1]}
    if placed.get("frame") == "stored":
        placed["frame"] = "upright"
    return data if placed == notes else _json(placed)


def _elsewhere(notes: object) -> Iterator[str]:
    """Yield the keys of JSON that may hold coordinates which nothing moves."""
    if isinstance(notes, Mapping):
        yield from _unmoved(
            {k: v for k, v in notes.items() if k not in _APART}, _OF_IMAGES
        )
        yield from _unmoved(notes.get("objects"), _OF_OBJECTS)
    else:
        yield from _unmoved(notes, frozenset())


def _unmoved(notes: object, moved: frozenset[str]) -> Iterator[str]:
    if isinstance(notes, list):
        for one in notes:
            yield from _unmoved(one, moved)
    if isinstance(notes, Mapping):
        for key, value in notes.items():
            if key in moved:
                continue
            if value and isinstance(value, list | Mapping) and _PLACES.search(key):
                yield key
            yield from _unmoved(value, frozenset())


def _stuck(name: str, why: str) -> SampleBroken:
    return SampleBroken(
        f"the image gets another size or is turned, and .{name} cannot follow it:"
        f" {why}; convert without resize and encode, or without this member"
    )


def _json(notes: Mapping[str, Any]) -> bytes:
    return json.dumps(notes, ensure_ascii=False, allow_nan=False).encode()
