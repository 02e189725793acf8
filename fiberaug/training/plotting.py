"""Plots of curves without a plotting library: panels with axes, bands and lines."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fiberaug.training.axes import Axis, named

__all__ = ["Curve", "Panel", "draw_panels"]

_Points = NDArray[np.float64]
_Colour = tuple[int, int, int]
_Frame = tuple[int, int, int, int]

_FINE = 2  # curves are drawn larger and made smaller: smooth lines
_WIDTH, _WIDE, _HIGH = 1000, 260, 170  # px: picture, first panel's and others' height
_LEFT, _RIGHT, _HEAD, _FOOT, _TOP = 62, 18, 30, 26, 34
_PAPER, _INK, _FAINT, _RULE = (255, 255, 255), (35, 35, 35), (110, 110, 110), (228,) * 3
# Okabe and Ito: told apart also by who does not see all colours.
_COLOURS: tuple[_Colour, ...] = (
    (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233),
    (230, 159, 0),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """A line through points, and a band about it; all arrays are float64 [N]."""

    name: str
    """For the legend."""

    x: _Points
    """Ascending."""

    y: _Points
    """Values; the line is broken where one is no number."""

    low: _Points
    """Lower border of the band."""

    high: _Points
    """Upper border of the band."""

    last: float
    """The last value, for the legend."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """Curves on the same axes."""

    title: str
    """Stands above them."""

    curves: Sequence[Curve]
    """Any number."""

    log: bool | None = None
    """Whether values are in powers of ten. None: where that shows more."""


def draw_panels(panels: Sequence[Panel], *, title: str, end: float) -> Image.Image:
    """Return a picture of panels, RGB: the first one wide, the others in pairs.

    Args:
        panels: Any number.
        title: Stands above all.
        end: The largest x, above 0; the smallest is 0.
    """
    rows = [panels[:1], *(panels[i : i + 2] for i in range(1, len(panels), 2))]
    heights = [_WIDE, *([_HIGH] * (len(rows) - 1))]
    sheet = Image.new("RGB", (_WIDTH, _TOP + sum(heights) + 10), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_LEFT, 10), title, _INK, ImageFont.load_default(16))
    top = _TOP
    for row, height in zip(rows, heights, strict=True):
        wide = _WIDTH // (1 if top == _TOP else 2)
        for place, panel in enumerate(row):
            left = place * wide
            frame = (
                left + _LEFT, top + _HEAD, left + wide - _RIGHT, top + height - _FOOT,
            )  # fmt: skip
            _draw_panel(sheet, panel, frame, end)
        top += height
    return sheet


def _draw_panel(sheet: Image.Image, panel: Panel, frame: _Frame, end: float) -> None:
    left, top, right, bottom = frame
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    across = Axis(low=0.0, high=end or 1.0)
    up = _upright(panel)
    for value in up.ticks(6 if bottom - top > 150 else 4):
        y = bottom - float(up.place(np.asarray(value))) * (bottom - top)
        pen.line([(left, y), (right, y)], _RULE)
        pen.text((left - 6, y), named(value), _FAINT, font, anchor="rm")
    for value in across.ticks(5):
        x = left + float(across.place(np.asarray(value))) * (right - left)
        pen.line([(x, bottom), (x, bottom + 4)], _FAINT)
        pen.text((x, bottom + 6), named(value), _FAINT, font, anchor="mt")
    _draw_lines(sheet, panel, frame, (across, up))
    pen.line([(left, top), (left, bottom), (right, bottom)], _FAINT)
    pen.text((left, top - 8), panel.title, _INK, ImageFont.load_default(14), "ls")
    _draw_legend(pen, panel, frame)


def _upright(panel: Panel) -> Axis:
    """Return the axis of values; single strays may leave it, a tenth of them."""
    if not panel.curves:
        return Axis(low=0.0, high=1.0)
    lines = np.concatenate([curve.y for curve in panel.curves])
    bands = [(curve.low, curve.high) for curve in panel.curves]
    finite = lines[np.isfinite(lines)]
    if len(finite) < 20:
        return Axis.around(lines, log=panel.log)
    low, high = np.percentile(finite, (1, 99))
    beyond = (high - low) / 2 or abs(high)
    kept = finite[(finite >= low - beyond) & (finite <= high + beyond)]
    inner = [
        np.nanpercentile(band, share)
        for pair in bands
        for band, share in zip(pair, (10, 90), strict=True)
        if np.isfinite(band).any()
    ]
    return Axis.around(np.concatenate([kept, inner]), log=panel.log)


def _draw_lines(
    sheet: Image.Image, panel: Panel, frame: _Frame, axes: tuple[Axis, Axis]
) -> None:
    left, top, right, bottom = frame
    size = (right - left, bottom - top)
    fine = sheet.crop(frame).resize([side * _FINE for side in size])
    pen = ImageDraw.Draw(fine)
    placed = [(c, _runs(c, axes, fine.size)) for c in panel.curves]
    for number, (_, runs) in enumerate(placed):
        pale = _pale(_COLOURS[number % len(_COLOURS)])
        for _, low, high in runs:
            if len(low) > 1:
                pen.polygon([*low, *high[::-1]], pale)
    for number, (curve, runs) in enumerate(placed):
        colour = _COLOURS[number % len(_COLOURS)]
        for line, _, _ in runs:
            pen.line(line, colour, 2 * _FINE, joint="curve")
            for x, y in line if len(curve.x) <= 60 else ():
                pen.ellipse((x - 5, y - 5, x + 5, y + 5), colour)
    sheet.paste(fine.resize(size, Image.Resampling.BOX), (left, top))


_Run = list[tuple[float, float]]


def _runs(
    curve: Curve, axes: tuple[Axis, Axis], size: tuple[int, int]
) -> list[tuple[_Run, _Run, _Run]]:
    """Return line, lower and upper border in px, in parts without a gap."""
    width, height = size
    x = axes[0].place(curve.x) * width
    whole = np.isfinite(curve.y)
    edges = np.flatnonzero(np.diff(np.r_[False, whole, False].astype(np.int8)))
    placed = [
        np.clip((1 - axes[1].place(values)) * height, -height, 2 * height)
        for values in (curve.y, curve.low, curve.high)
    ]
    found = []
    for begin, stop in zip(edges[::2], edges[1::2], strict=True):
        line, low, high = (
            list(zip(x[begin:stop].tolist(), y[begin:stop].tolist(), strict=True))
            for y in placed
        )
        found.append((line, low, high))
    return found


def _draw_legend(pen: ImageDraw.ImageDraw, panel: Panel, frame: _Frame) -> None:
    """Write names and last values above the frame, from the right to the left."""
    font = ImageFont.load_default(12)
    several = len(panel.curves) > 1
    words = [
        f"{c.name} {c.last:.3g}" if several else f"{c.last:.4g}" for c in panel.curves
    ]
    title = ImageFont.load_default(14).getlength(panel.title)
    if sum(font.getlength(one) + 24 for one in words) > frame[2] - frame[0] - title:
        words = [c.name for c in panel.curves]
    at, y = frame[2], frame[1] - 12
    for number in range(len(words) - 1, -1, -1):
        at -= int(font.getlength(words[number])) + 24
        pen.line([(at, y), (at + 14, y)], _COLOURS[number % len(_COLOURS)], 3)
        pen.text((at + 18, y), words[number], _INK, font, anchor="lm")


def _pale(colour: _Colour) -> _Colour:
    red, green, blue = (round(255 - (255 - value) * 0.22) for value in colour)
    return red, green, blue
