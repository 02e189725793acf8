"""Annotations whose frame nothing tells: found before anything is written."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fiberaug.bars import ProgressBar
from fiberaug.decode.header import ImageLimits, read_header
from fiberaug.decode.image import decode_image, decode_mask
from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.framing import FRAMES, FrameUnknown
from fiberaug.jobs.items import Item, Source
from fiberaug.jobs.preparing import Options, Prepared, prepare
from fiberaug.overlay import draw_annotations

__all__ = ["check_frames"]

_HEAD = 2**17  # bytes of a file in which its EXIF lies
_SIDE_PX = 640
_PLACED = {
    f"{name}{mark}"
    for name in ("bboxes", "keypoints", "polygons", "mask", "masks")
    for mark in ("", "?")
}


def check_frames(
    source: Source,
    options: Options,
    picture: Path,
    again: Callable[[str], Source],
    *,
    progress: bool,
) -> None:
    """Refuse a source in which nothing tells the frame of an image's annotations.

    The first such photo is drawn with its annotations both ways.

    Args:
        source: The source.
        options: How its samples are prepared.
        picture: File for the drawing.
        again: Lists the source once more, for a frame.
        progress: Show a bar on a terminal.

    Raises:
        UsageError: There is such an image.
    """
    if not _PLACED & set(source.fields) or options.frame is not None:
        return
    items = ProgressBar(
        source.items, unit="img", desc="orientations", leave=False,
        disable=None if progress else True,
    )  # fmt: skip
    for item in items:
        if _is_turned(source, item) and _is_unknown(source, item, options):
            raise UsageError(_told(source, item, options, picture, again))


def _is_turned(source: Source, item: Item) -> bool:
    try:
        with Path(source.root, item.place).open("rb") as file:
            return read_header(file.read(_HEAD)).orientation != 1
    except (DataRefused, OSError, ValueError):
        return False  # the conversion will say what is wrong with it


def _is_unknown(source: Source, item: Item, options: Options) -> bool:
    try:
        prepare(source.reader(item), item, options)
    except FrameUnknown:
        return True
    except (DataRefused, OSError):
        return False
    return False


def _told(
    source: Source,
    item: Item,
    options: Options,
    picture: Path,
    again: Callable[[str], Source],
) -> str:
    """Draw the photo both ways and return what the user is told."""
    tiles = []
    for frame in FRAMES:
        reader = again(frame).reader
        try:
            prepared = prepare(reader(item), item, replace(options, frame=frame))
        except DataRefused as error:
            tiles.append(
                _captioned(np.zeros((64, 400, 3), np.uint8), f"{frame}: {error}")
            )
            continue
        tiles.append(_captioned(_drawn(prepared, source), frame))
    picture.parent.mkdir(parents=True, exist_ok=True)
    _beside(tiles).save(picture)
    return (
        f"{Path(source.root, item.place)} is turned by its EXIF orientation, and"
        " nothing tells whether its annotations are for the stored or the upright"
        f" pixels; look at {picture}, which has it both ways, and say annotation_frame="
        '"stored" or "upright" (--annotation-frame)'
    )


def _drawn(prepared: Prepared, source: Source) -> np.ndarray:
    """Return the photo with its annotations, uint8 [H, W, 3]."""
    members = dict(prepared.members)
    image, _ = decode_image(next(iter(members.values())), limits=ImageLimits())
    notes = json.loads(members.get("json", b"{}"))
    boxes = [one["bbox"] for one in notes.get("objects", ()) if "bbox" in one]
    labels = [one.get("label", -1) for one in notes.get("objects", ()) if "bbox" in one]
    mask = members.get("mask.png")
    fields = {
        "image": image,
        "bboxes": np.array(boxes, np.float32).reshape(-1, 4),
        "bbox_labels": np.array(labels, np.int64),
        "keypoints": np.array(notes.get("keypoints", ()), np.float32).reshape(-1, 2),
        "mask": None if mask is None else decode_mask(mask, limits=ImageLimits()),
    }
    return draw_annotations(fields, source.classes)


def _captioned(pixels: np.ndarray, text: str) -> Image.Image:
    photo = Image.fromarray(pixels)
    photo.thumbnail((_SIDE_PX, _SIDE_PX))
    tile = Image.new("RGB", (photo.width, photo.height + 28), "white")
    tile.paste(photo, (0, 28))
    words = f"annotation_frame={text}"
    ImageDraw.Draw(tile).text((6, 4), words, "black", ImageFont.load_default(16))
    return tile


def _beside(tiles: list[Image.Image]) -> Image.Image:
    width = sum(tile.width for tile in tiles) + 12 * (len(tiles) - 1)
    sheet = Image.new("RGB", (width, max(tile.height for tile in tiles)), "white")
    left = 0
    for tile in tiles:
        sheet.paste(tile, (left, 0))
        left += tile.width + 12
    return sheet
