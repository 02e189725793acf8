"""Boxes and masks drawn over a picture, for people to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = ["CABINET_INK", "ENDFACE_INK", "Ink", "annotate", "rgb"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ink:
    """How the labels of a data set are drawn; colours as ``#rrggbb``."""

    boxes: Mapping[str, str]
    """Colour of each class of boxes."""

    masks: Mapping[int, tuple[str, str, float]]
    """Name, colour and opacity of the mask ids that are drawn; with opacity 0 only the
    outline is drawn."""


ENDFACE_INK = Ink(
    boxes={"scratch": "#ffd43b", "dirt": "#ff922b", "chip": "#ff5da2"},
    masks={
        1: ("cladding", "#4dabf7", 0.0),
        2: ("core", "#51e08a", 0.0),
        3: ("defect", "#ff3b3b", 0.4),
    },
)
"""For end faces."""

CABINET_INK = Ink(
    boxes={
        "splice_tray": "#ffd43b",
        "connector": "#51e08a",
        "splitter": "#ff922b",
        "label": "#4dabf7",
    },
    masks={1: ("cable", "#e01cff", 0.45)},
)
"""For cabinets."""


def rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of ``#rrggbb``."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def annotate(
    image: NDArray[np.uint8],
    ink: Ink,
    *,
    size: tuple[int, int],
    mask: NDArray[np.integer] | None = None,
    boxes: NDArray[np.float32] | None = None,
    names: Sequence[str] = (),
) -> NDArray[np.uint8]:
    """Return the picture in another size, with its mask and boxes drawn over it.

    Args:
        image: RGB, uint8 [H, W, 3].
        ink: Colours.
        size: Width and height of the result, px.
        mask: Class ids [H, W].
        boxes: Boxes (x_min, y_min, x_max, y_max) [N, 4] in pixels of ``image``.
        names: Class of each box.
    """
    shrinks = size[0] < image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    canvas = np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)
    if mask is not None:
        _overlay(canvas, np.asarray(mask, np.uint8), ink)
    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    scale = np.tile(np.array(size) / image.shape[1::-1], 2)
    for box, name in zip(
        np.zeros((0, 4)) if boxes is None else boxes * scale, names, strict=True
    ):
        _outline(pen, box, ink.boxes[name])
    return np.asarray(picture, np.uint8)


def _overlay(canvas: NDArray[np.uint8], mask: NDArray[np.uint8], ink: Ink) -> None:
    size = canvas.shape[1::-1]
    for ident, (_, colour, opacity) in ink.masks.items():
        inside = np.asarray(mask == ident, np.uint8) * np.uint8(255)
        if not inside.any():
            continue
        cover = cv2.resize(inside, size, interpolation=cv2.INTER_LINEAR)
        if opacity:
            share = cover[:, :, None].astype(np.float32) * (opacity / 255.0)
            mixed = canvas * (1.0 - share) + np.array(rgb(colour), np.float32) * share
            canvas[:] = np.round(mixed).astype(np.uint8)
        whole = (cover > 127).astype(np.uint8)
        lines, _ = cv2.findContours(whole, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, lines, -1, rgb(colour), 1, cv2.LINE_AA)


def _outline(pen: ImageDraw.ImageDraw, box: NDArray[np.floating], colour: str) -> None:
    x0, y0, x1, y1 = (round(float(value)) for value in box)
    x1, y1 = max(x0 + 1, x1 - 1), max(y0 + 1, y1 - 1)
    pen.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline="#00000090", width=1)
    pen.rectangle((x0, y0, x1, y1), outline=colour, width=3)
