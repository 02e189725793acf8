"""A part of a JPEG that has restart markers, cut out of its bytes before it is decoded.

Restart markers cut the entropy-coded data of a JPEG into segments that are coded apart
from each other. So the segments around a window, behind the file's own header with a
new width and height, are a JPEG of their own, and any decoder makes the same pixels of
it: upsampling of colour looks a pixel or two beyond a block, and a margin of a whole
block is cut out with the window.

Files with several scans, such as progressive ones, without restart markers, or with
segments that end within a row, are not cut.

Source: ITU-T T.81, sections A.2, B.2 and E.1.
"""

import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.header import ImageHeader
from fiberaug.decode.opencv import decode_rgb
from fiberaug.decode.orientation import points_upright, upright

__all__ = ["Cut", "cut_jpeg", "decode_window"]

_MARGIN = 16  # px
_BASELINE = (0xC0, 0xC1)
_OTHER_FRAMES = frozenset({*range(0xC2, 0xD0)} - {0xC4, 0xC8, 0xCC})
_INVERSE = {6: 8, 8: 6}  # of an orientation, where it is not its own

_Window = tuple[int, int, int, int]


class Cut(NamedTuple):
    """A JPEG that holds a window of another."""

    data: bytes
    """The file."""

    x: int
    """Where it begins in the whole, px of the stored frame."""

    y: int


class _Layout(NamedTuple):
    """How a JPEG is cut into segments."""

    frame: int
    """Offset of height and width."""

    start: int
    """Offset of the first segment."""

    width: int
    height: int
    block_width: int
    """Of a segment, px."""

    block_height: int
    columns: int
    """Segments in a row."""

    rows: int


def decode_window(
    data: bytes | memoryview, header: ImageHeader, window: _Window
) -> NDArray[np.uint8] | None:
    """Return a window of a JPEG, RGB [h, w, 3], upright; None where it cannot be cut.

    The pixels are those of the whole image, decoded and cut.

    Args:
        data: The file.
        header: Its header.
        window: (x_min, y_min, x_max, y_max), px of the upright image, within it.

    Raises:
        SampleBroken: The segments cannot be decoded.
    """
    if header.format != "jpeg":
        return None
    x0, y0, x1, y1 = _stored(header, window)
    cut = cut_jpeg(data, (x0, y0, x1, y1))
    if cut is None:
        return None
    pixels = decode_rgb(cut.data, header)
    part = pixels[y0 - cut.y : y1 - cut.y, x0 - cut.x : x1 - cut.x]
    return np.ascontiguousarray(upright(part, header.orientation))


def _stored(header: ImageHeader, window: _Window) -> _Window:
    """Return a window of the upright image in the stored frame."""
    turn = _INVERSE.get(header.orientation, header.orientation)
    corners = np.asarray(window, np.float32).reshape(2, 2)
    ends = points_upright(corners, turn, *header.upright)
    low, high = ends.min(axis=0), ends.max(axis=0)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def cut_jpeg(data: bytes | memoryview, window: _Window) -> Cut | None:
    """Return a JPEG that holds a window of another and a margin; None: it is not cut.

    Args:
        data: The file.
        window: (x_min, y_min, x_max, y_max), px of the stored frame.
    """
    layout = _layout(data)
    if layout is None:
        return None
    x0, y0, x1, y1 = window
    left = max(0, x0 - _MARGIN) // layout.block_width
    right = min(layout.columns, -(-(x1 + _MARGIN) // layout.block_width))
    top = max(0, y0 - _MARGIN) // layout.block_height
    low = min(layout.rows, -(-(y1 + _MARGIN) // layout.block_height))
    if (left, top) == (0, 0) and (right, low) == (layout.columns, layout.rows):
        return None  # it would be the whole
    ends = _ends(data, layout.start)
    if len(ends) != layout.rows * layout.columns:
        return None  # cut off, or markers are missing: the decoder shall say so
    starts = [layout.start, *(end + 2 for end in ends[:-1])]
    x, y = left * layout.block_width, top * layout.block_height
    width = min(layout.width, right * layout.block_width) - x
    height = min(layout.height, low * layout.block_height) - y
    head = bytearray(data[: layout.start])
    struct.pack_into(">HH", head, layout.frame, height, width)
    parts: list[bytes | bytearray | memoryview] = [head]
    view = memoryview(data)
    for row in range(top, low):
        for column in range(left, right):
            if len(parts) > 1:
                parts.append(bytes((0xFF, 0xD0 + (len(parts) // 2 - 1) % 8)))
            number = row * layout.columns + column
            parts.append(view[starts[number] : ends[number]])
    parts.append(b"\xff\xd9")
    return Cut(b"".join(parts), x, y)


def _layout(data: bytes | memoryview) -> _Layout | None:
    """Return how a JPEG is cut into segments; None where it is not, or is no such."""
    try:
        frame, scan, interval = _headers(data)
        whole = frame and interval and data[scan + 4] == data[frame + 9]
        sizes = _frame(data, frame) if whole else None  # else a scan of some channels
        start = scan + 2 + struct.unpack_from(">H", data, scan + 2)[0]
    except (IndexError, struct.error):
        return None
    if sizes is None:
        return None
    width, height, unit_width, unit_height = sizes
    across, down = -(-width // unit_width), -(-height // unit_height)
    if across % interval and interval % across:
        return None
    columns, tall = max(1, across // interval), max(1, interval // across)
    return _Layout(
        frame + 5, start, width, height,
        across // columns * unit_width, tall * unit_height, columns, -(-down // tall),
    )  # fmt: skip


def _headers(data: bytes | memoryview) -> tuple[int, int, int]:
    """Return offsets of the baseline frame and of the first scan, and the interval.

    The frame is 0 where there is none, or another kind.
    """
    at, interval, frame = 2, 0, 0
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _BASELINE:
            frame = at
        elif marker in _OTHER_FRAMES:
            return 0, at, 0
        elif marker == 0xDD:
            (interval,) = struct.unpack_from(">H", data, at + 4)
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return frame if data[at] == 0xFF else 0, at, interval


def _frame(data: bytes | memoryview, at: int) -> tuple[int, int, int, int] | None:
    """Return width and height of an image and of its smallest coded unit, px."""
    depth, height, width, channels = struct.unpack_from(">BHHB", data, at + 4)
    factors = [data[at + 11 + 3 * channel] for channel in range(channels)]
    if depth != 8 or not width or not height or not factors:
        return None
    if channels == 1:  # a unit is one block, whatever the factors say
        return width, height, 8, 8
    across, down = max(f >> 4 for f in factors), max(f & 15 for f in factors)
    return (width, height, 8 * across, 8 * down) if across and down else None


def _ends(data: bytes | memoryview, start: int) -> list[int]:
    """Return where the segments end; nothing where one is not followed by the next."""
    coded: NDArray[Any] = np.frombuffer(data, np.uint8, offset=start)
    found = np.flatnonzero(coded[:-1] == 0xFF)
    kinds = coded[found + 1]
    marked = (kinds >= 0xD0) & (kinds <= 0xD9)
    found, kinds = found[marked], kinds[marked]
    last = np.flatnonzero(kinds == 0xD9)
    if not len(last):
        return []
    found, kinds = found[: last[0] + 1], kinds[: last[0]]
    if (kinds != 0xD0 + np.arange(len(kinds)) % 8).any():
        return []
    ends: list[int] = (found + start).tolist()
    return ends
