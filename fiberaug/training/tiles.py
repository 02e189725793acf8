"""Images side by side on one picture, rows with names."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fiberaug.overlay import viewable

__all__ = ["Row", "columns_of", "lay_out"]

_Pixels = NDArray[np.uint8]

_SMALL, _LARGE = 64, 256  # px: longer sides that tiles have at least and at most
_WIDTH, _NAME = 1100, 130  # px: of a picture about, and of a name at most
_GAP, _HEAD = 4, 30
_PAPER, _INK, _EMPTY = (236, 236, 236), (35, 35, 35), (214, 214, 214)
_FONT, _TITLE = 13, 15


class Row(NamedTuple):
    """Images beside each other."""

    name: str
    """Stands left of them; empty: no name."""

    images: Sequence[_Pixels]
    """uint8 [H, W, C], 1 to 4 channels, of one size."""


def columns_of(size: tuple[int, int]) -> int:
    """Return how many images of (height, width) px fit beside each other, 4 to 10."""
    width = _tile(size)[1] + _GAP
    return max(4, min(10, (_WIDTH - _NAME) // width))


def lay_out(
    rows: Sequence[Row], *, size: tuple[int, int], columns: int, title: str
) -> Image.Image:
    """Return a picture of rows of images, RGB.

    Small images are enlarged by a whole number, pixel by pixel; large ones are made
    smaller. Where a row has fewer images than columns there are grey fields.

    Args:
        rows: Any number.
        size: (height, width) of the images, px.
        columns: Most images in a row.
        title: Stands above all.
    """
    height, width = _tile(size)
    font = ImageFont.load_default(_FONT)
    left = _GAP
    if any(row.name for row in rows):
        longest = max(font.getlength(row.name) for row in rows)
        left += min(int(longest), _NAME) + 2 * _GAP
    across, down = left + columns * (width + _GAP), _HEAD + len(rows) * (height + _GAP)
    sheet = Image.new("RGB", (max(across, 360), down), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, 6), title, _INK, ImageFont.load_default(_TITLE))
    for number, row in enumerate(rows):
        top = _HEAD + number * (height + _GAP)
        middle = (_GAP, top + height // 2)
        pen.text(middle, _short(row.name, font), _INK, font, anchor="lm")
        for place in range(columns):
            corner = left + place * (width + _GAP), top
            if place < len(row.images):
                tile = _fitted(viewable(row.images[place]), (height, width))
                sheet.paste(Image.fromarray(tile), corner)
            else:
                end = corner[0] + width - 1, corner[1] + height - 1
                pen.rectangle((corner, end), _EMPTY)
    return sheet


def _tile(size: tuple[int, int]) -> tuple[int, int]:
    """Return the size in which images of a size are shown."""
    longer = max(size)
    if longer > _LARGE:
        height, width = (max(1, round(side * _LARGE / longer)) for side in size)
        return height, width
    times = -(-_SMALL // longer)
    return size[0] * times, size[1] * times


def _fitted(image: _Pixels, size: tuple[int, int]) -> _Pixels:
    height, width = size
    how = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


def _short(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return a name that is no longer than its column."""
    if font.getlength(name) <= _NAME:
        return name
    while name and font.getlength(f"{name}…") > _NAME:
        name = name[:-1]
    return f"{name}…"
