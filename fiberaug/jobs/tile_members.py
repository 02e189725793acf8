"""The members of a photo to those of its tiles."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.cutting import boxes_within, outline_within
from fiberaug.decode.annotations import Frame
from fiberaug.decode.arrays import decode_npz
from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image, decode_mask
from fiberaug.decode.text import parse_metadata
from fiberaug.errors import SampleBroken
from fiberaug.jobs.encoding import ENCODINGS, encode_image
from fiberaug.jobs.framing import Placing
from fiberaug.jobs.members import mask_member
from fiberaug.jobs.preparing import masks_member
from fiberaug.marking import mark, read_mark
from fiberaug.tiling import Tile, Tiling

__all__ = ["TileMembers", "cut_members", "tile_key"]

_LIMITS = ImageLimits()


class TileMembers(NamedTuple):
    """One tile, as it is written."""

    number: int
    members: dict[str, bytes]
    """By extension; without the JSON."""

    notes: dict[str, Any]
    """Content of the JSON member."""

    empty: bool
    """Whether it holds no object."""

    doubts: tuple[str, ...] = ()
    """What of the photo could not be cut; told with its first tile."""


def tile_key(key: str, number: int) -> str:
    """Return the key of a tile of a photo."""
    return f"{key}-t{number:03d}"


def cut_members(
    key: str,
    members: Mapping[str, bytes],
    tiling: Tiling,
    *,
    encoding: str = "keep",
    quality: int = 90,
    seekable: bool = False,
) -> Iterator[TileMembers]:
    """Yield the tiles of a photo, row by row, with annotations of their own pixels.

    Args:
        key: Of the photo: its tiles are of one group.
        members: Of the photo; the image is the first.
        tiling: How it is cut.
        encoding: Of the tiles; ``keep`` is PNG, which loses nothing.
        quality: Of JPEG and WebP.
        seekable: Write restart markers into JPEGs.

    Raises:
        SampleBroken: The photo or its annotations cannot be read.
        LimitExceeded: It is too large.
    """
    extension, data = next(iter(members.items()))
    pixels, header = decode_image(data, limits=_LIMITS, color="keep", depth="keep")
    found = parse_metadata(members).get("json", {})
    placing = Placing(
        header, stored=Frame.of(header, found).turn != 1, size=header.upright
    )
    notes = placing.notes(found)
    planes, stacks = _masks(members, placing)
    others = {
        name: content
        for name, content in members.items()
        if name not in {extension, "json", *planes, *stacks}
    }
    width, height = header.upright
    source_type = read_mark(data)
    for number in range(tiling.count(width, height)):
        tile = tiling.tile(number, width, height)
        window = tile.window
        cut = np.s_[window.y_min : window.y_max, window.x_min : window.x_max]
        name, file = _encoded(pixels[cut], encoding, quality, seekable=seekable)
        file = file if source_type is None else mark(file, source_type)
        done = {name: file, **others}
        done |= {name: mask_member(mask[cut]) for name, mask in planes.items()}
        own, rows = _notes(notes, tile, tiling.visibility)
        seen = False
        for name, masks in stacks.items():
            linked = rows if len(masks) == len(notes.get("objects", ())) else None
            part, kept = _stack(masks, cut, tiling.visibility, linked)
            labels = own.get("mask_labels")
            if (
                linked is None
                and isinstance(labels, list)
                and len(labels) == len(masks)
            ):
                own["mask_labels"] = [labels[row] for row in kept]
            done[name], seen = masks_member(part), seen or bool(len(part))
        own.setdefault("group", key)
        seen = seen or bool(own.get("objects") or own.get("keypoints"))
        told = () if number else tuple(_uncut(notes, tiling, header.upright))
        yield TileMembers(number, done, own, empty=not seen, doubts=told)


def _uncut(
    notes: Mapping[str, Any], tiling: Tiling, size: tuple[int, int]
) -> Iterator[str]:
    """Say what no tile holds as it is."""
    windows = [tiling.tile(i, *size).window for i in range(tiling.count(*size))]
    for i, one in enumerate(notes.get("objects", ())):
        if "segmentation" in one and not isinstance(one["segmentation"], list):
            yield (
                f"the outline of object {i} is no list of polygons (an RLE?) and"
                " cannot be cut into tiles: it was left out; masks=True (--masks)"
                " keeps what it covers"
            )
        if "bbox" not in one:
            continue
        x0, y0, x1, y1 = np.clip(one["bbox"], 0, [*size, *size]).tolist()
        if not any(
            w.x_min <= x0 and w.y_min <= y0 and x1 <= w.x_max and y1 <= w.y_max
            for w in windows
        ):
            yield (
                f"box {i} {one['bbox']} is whole in no tile: an overlap of"
                f" {math.ceil(max(x1 - x0, y1 - y0))} px would hold it"
            )


def _masks(
    members: Mapping[str, bytes], placing: Placing
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Return masks [H, W] and stacks of masks [N, H, W] by extension, upright."""
    planes, stacks = {}, {}
    for name, data in members.items():
        if name.split(".", maxsplit=1)[0] not in {"mask", "masks", "seg"}:
            continue
        if not name.endswith(".npz"):
            planes[name] = placing.mask(decode_mask(data, limits=_LIMITS))
            continue
        masks = decode_npz(data)["masks"]
        size = placing.size[::-1]
        stacks[name] = (
            np.stack([placing.mask(mask) for mask in masks])
            if len(masks)
            else np.zeros((0, *size), np.uint8)
        )
    return planes, stacks


def _stack(
    masks: NDArray[Any],
    cut: tuple[slice, slice],
    visibility: float,
    linked: list[int] | None,
) -> tuple[NDArray[Any], list[int]]:
    part = masks[:, *cut]
    rows = linked
    if rows is None:
        whole = [np.count_nonzero(mask) for mask in masks]
        seen = [np.count_nonzero(mask) for mask in part]
        rows = [
            i
            for i, (a, b) in enumerate(zip(whole, seen, strict=True))
            if b and b >= visibility * a
        ]
    return part[rows], rows


def _encoded(
    pixels: NDArray[Any], encoding: str, quality: int, *, seekable: bool
) -> tuple[str, bytes]:
    channels = pixels.shape[2]
    encoding = "png" if encoding == "keep" else encoding
    if pixels.dtype == np.uint8 and channels in {1, 3}:
        plain = np.ascontiguousarray(pixels[:, :, 0] if channels == 1 else pixels)
        return ENCODINGS[encoding], encode_image(
            plain, encoding, quality=quality, seekable=seekable
        )
    if encoding != "png" or pixels.dtype not in (np.uint8, np.uint16):
        raise SampleBroken(
            f"its tiles are {pixels.dtype} with {channels} channels, which"
            f" {encoding.upper()} does not hold: --encode keep writes PNG",
            stage="encode",
        )
    order = {1: [0], 2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
    done, data = cv2.imencode(".png", np.ascontiguousarray(pixels[:, :, order]))
    if not done:
        raise SampleBroken(f"a tile {list(pixels.shape)} cannot be written as PNG")
    return "png", data.tobytes()


def _notes(
    notes: Mapping[str, Any], tile: Tile, visibility: float
) -> tuple[dict[str, Any], list[int]]:
    """Return what a tile's JSON says, and the rows of the objects that are in it."""
    window = tile.window
    width, height = window.x_max - window.x_min, window.y_max - window.y_min
    own = {name: value for name, value in notes.items() if name != "frame"}
    own |= {"width": width, "height": height, "tile": tile.to_dict()}
    rows: list[int] = []
    if "objects" in notes:
        found = [_object(one, tile, visibility) for one in notes["objects"]]
        rows = [row for row, one in enumerate(found) if one is not None]
        own["objects"] = [one for one in found if one is not None]
    points = notes.get("keypoints")
    if isinstance(points, list) and points:
        inside = [row for row, point in enumerate(points) if _holds(tile, point)]
        own["keypoints"] = [_moved(tile, points[row]) for row in inside]
        labels = notes.get("keypoint_labels")
        if isinstance(labels, list) and len(labels) == len(points):
            own["keypoint_labels"] = [labels[row] for row in inside]
    return own, rows


def _object(
    one: Mapping[str, Any], tile: Tile, visibility: float
) -> dict[str, Any] | None:
    """Return an object in a tile's pixels; None where it is not in the tile."""
    cut = dict(one)
    share = 1.0
    if "bbox" in one:
        box = np.asarray([one["bbox"]], np.float32)
        clipped, kept = boxes_within(box, tile.window, visibility)
        if not len(kept):
            return None
        cut["bbox"] = _numbers(clipped[0])
        areas = [(b[2:] - b[:2]).prod() for b in (box[0], clipped[0])]
        share = float(areas[1] / areas[0]) if areas[0] > 0 else 1.0
    outlines: list[NDArray[np.floating]] = []
    if "polygons" in one:
        outlines = _outlines(one["polygons"], tile)
        cut["polygons"] = [[_numbers(p) for p in outline] for outline in outlines]
    if isinstance(one.get("segmentation"), list):
        outlines = _outlines(one["segmentation"], tile)
        cut["segmentation"] = [_numbers(outline.ravel()) for outline in outlines]
    elif "segmentation" in one:  # runs of pixels
        del cut["segmentation"]
    outlined = "polygons" in one or "segmentation" in one
    if "bbox" not in one and outlined and not outlines:
        return None
    if "keypoints" in one:
        cut["keypoints"] = [_labelled(tile, point) for point in one["keypoints"]]
    if isinstance(one.get("area"), int | float) and share != 1:
        cut["area"] = round(float(one["area"]) * share, 4)
    return cut


def _outlines(given: Any, tile: Tile) -> list[NDArray[np.floating]]:  # noqa: ANN401  # JSON
    corners = (np.asarray(one, np.float32).reshape(-1, 2) for one in given)
    parts = (outline_within(one, tile.window) for one in corners)
    return [part for part in parts if len(part)]


def _holds(tile: Tile, point: Any) -> bool:  # noqa: ANN401  # JSON
    window = tile.window
    return all(
        low <= value < high or value == high == end
        for value, low, high, end in zip(
            point[:2], window[:2], window[2:], (tile.width, tile.height), strict=True
        )
    )


def _moved(tile: Tile, point: Any) -> list[Any]:  # noqa: ANN401  # JSON
    x, y = tile.window[:2]
    moved = np.asarray(point[:2], np.float32) - np.asarray([x, y], np.float32)
    return [*_numbers(moved), *point[2:]]


def _labelled(tile: Tile, point: Any) -> list[Any]:  # noqa: ANN401  # JSON
    """Return a point of an object: what is outside is not labelled, at 0, 0."""
    if len(point) > 2 and not (point[2] and _holds(tile, point)):
        return [0, 0, 0, *point[3:]]
    return _moved(tile, point)


def _numbers(array: NDArray[Any]) -> list[float]:
    """Return numbers that are read as the same float32, as short as they can be."""
    return [float(str(value)) for value in array.astype(np.float32).ravel()]
