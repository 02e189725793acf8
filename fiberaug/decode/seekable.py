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
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.restarts import Layout, find_ends, read_layout

__all__ = ["Cut", "cut_jpeg"]

_MARGIN = 16  # px
_END = 0xD9  # of an image
_CYCLE = (0xD0 + np.arange(4096) % 8).astype(np.uint8)

_Window = tuple[int, int, int, int]


class Cut(NamedTuple):
    """A JPEG that holds a window of another."""

    data: memoryview
    """The file."""

    x: int
    """Where it begins in the whole, px of the stored frame."""

    y: int
    width: int
    """Of the stored frame, px."""

    height: int


def cut_jpeg(
    data: bytes | memoryview,
    window: _Window,
    *,
    ends: NDArray[np.int64] | None = None,
) -> Cut | None:
    """Return a JPEG that holds a window of another and a margin; None: it is not cut.

    Args:
        data: The file.
        window: (x_min, y_min, x_max, y_max), px of the stored frame.
        ends: Where its segments end, as :meth:`ShardIndex.segment_ends
            <fiberaug.shards.index.ShardIndex.segment_ends>` gives it. None, or ends
            that are not those of the file: the bytes are searched for them.
    """
    layout = read_layout(data)
    if layout is None:
        return None
    x0, y0, x1, y1 = window
    left = max(0, x0 - _MARGIN) // layout.block_width
    right = min(layout.columns, -(-(x1 + _MARGIN) // layout.block_width))
    top = max(0, y0 - _MARGIN) // layout.block_height
    low = min(layout.rows, -(-(y1 + _MARGIN) // layout.block_height))
    if (left, top) == (0, 0) and (right, low) == (layout.columns, layout.rows):
        return None  # it would be the whole
    part = (left, top, right, low)
    joined = None if ends is None else _joined(data, layout, ends, part)
    if joined is None:
        ends = find_ends(data, layout)
        joined = None if ends is None else _joined(data, layout, ends, part)
    if joined is None:
        return None  # cut off, or markers are missing: the decoder shall say so
    x, y = left * layout.block_width, top * layout.block_height
    width = min(layout.width, right * layout.block_width) - x
    height = min(layout.height, low * layout.block_height) - y
    struct.pack_into(">HH", joined, layout.frame, height, width)
    return Cut(memoryview(joined), x, y, width, height)


def _joined(
    data: bytes | memoryview,
    layout: Layout,
    ends: NDArray[np.int64],
    part: _Window,
) -> bytearray | None:
    """Return the header and the segments of some rows and columns, numbered anew.

    None where the ends are not those of the file.
    """
    left, top, right, low = part
    rows, columns, start = layout.rows, layout.columns, layout.start
    if len(ends) != rows * columns or start + int(ends[-1]) + 2 > len(data):
        return None
    first, last = top * columns + left, (low - 1) * columns + right
    if right - left == columns:  # all of it in one piece
        used = ends[None, first:last]
        begins = ends[first - 1 : first] + 2 if first else np.zeros(1, np.int64)
    else:
        used = ends.reshape(rows, columns)[top:low, left:right]
        begins = ends[np.arange(first, last, columns) - 1] + 2
        begins[0] = begins[0] if first else 0
    coded = np.frombuffer(data, np.uint8, offset=start)
    if not _are_marked(coded, used, part, layout):
        return None
    inner = begins if first else begins[1:]
    if (coded[inner - 2] != 0xFF).any():
        return None
    stops = used[:, -1] + 2  # behind the marker
    view = memoryview(data)
    parts = [view[:start]]
    parts += [
        view[start + begin : start + stop]
        for begin, stop in zip(begins.tolist(), stops.tolist(), strict=True)
    ]
    joined = bytearray().join(parts)
    moved = start + np.cumsum(stops - begins) - stops
    marks = (used + (moved[:, None] + 1)).ravel()
    numbered = np.frombuffer(joined, np.uint8)
    numbered[marks] = _numbers(0, len(marks))
    numbered[-1] = _END
    return joined


def _are_marked(
    coded: NDArray[np.uint8], ends: NDArray[np.int64], part: _Window, layout: Layout
) -> bool:
    """Return whether the marker that a segment must have follows each."""
    left, top, right, low = part
    columns = layout.columns
    if right - left == columns:
        numbers = _numbers(top * columns, ends.size)
    else:
        row = np.arange(left, right) + (top * columns) % 8
        turns = np.arange(low - top)[:, None] * (columns % 8)
        numbers = _CYCLE[(row + turns) % 8].ravel()
    if (right, low) == (columns, layout.rows):
        numbers = numbers.copy()
        numbers[-1] = _END
    at = ends.ravel()
    return bool(
        (coded[at] == 0xFF).all() and coded[at + 1].tobytes() == numbers.tobytes()
    )


def _numbers(first: int, count: int) -> NDArray[np.uint8]:
    """Return the second bytes of markers that follow each other."""
    turn = first % 8
    if turn + count > len(_CYCLE):
        return (0xD0 + np.arange(turn, turn + count) % 8).astype(np.uint8)
    return _CYCLE[turn : turn + count]
