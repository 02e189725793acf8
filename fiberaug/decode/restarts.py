"""How restart markers cut a JPEG into segments, and how they should.

Source: ITU-T T.81, sections A.2, B.2 and E.1.
"""

import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Layout",
    "best_interval",
    "find_ends",
    "read_layout",
    "segment_lengths",
    "unit_interval",
    "units_across",
]

_SEQUENTIAL = (0xC0, 0xC1)
_HUFFMAN = (*_SEQUENTIAL, 0xC2)
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_LONGEST = 0xFFFF  # bytes of a segment that an index holds
# Measured: docs/seekable.md. Shorter segments cost more bytes than they save time.
_LARGE = 10**6  # px; smaller images have one segment a row
_SEGMENTS = 4  # a row of larger ones, about


class Layout(NamedTuple):
    """How a JPEG is cut into segments."""

    frame: int
    """Offset of height and width."""

    start: int
    """Offset of the first segment."""

    width: int
    """Of the image, px."""

    height: int
    block_width: int
    """Of a segment, px."""

    block_height: int
    columns: int
    """Segments in a row."""

    rows: int


class _Frame(NamedTuple):
    kind: int
    """Second byte of its marker."""

    width: int
    height: int
    channels: int
    unit_width: int
    """Of the smallest coded unit (MCU), px."""

    unit_height: int

    @property
    def across(self) -> int:
        """Units in a row."""
        return -(-self.width // self.unit_width)

    @property
    def down(self) -> int:
        """Rows of units."""
        return -(-self.height // self.unit_height)


def read_layout(data: bytes | memoryview) -> Layout | None:
    """Return how a JPEG is cut into segments; None where it is not, or is no such."""
    try:
        at, scan, interval = _headers(data)
        whole = at and interval and data[scan + 4] == data[at + 9]
        frame = _frame(data, at) if whole else None  # else a scan of some channels
        start = scan + 2 + struct.unpack_from(">H", data, scan + 2)[0]
    except (IndexError, struct.error):
        return None
    if frame is None or frame.kind not in _SEQUENTIAL:
        return None
    across = frame.across
    if across % interval and interval % across:
        return None
    columns, tall = max(1, across // interval), max(1, interval // across)
    return Layout(
        at + 5, start, frame.width, frame.height, across // columns * frame.unit_width,
        tall * frame.unit_height, columns, -(-frame.down // tall),
    )  # fmt: skip


def unit_interval(data: bytes | memoryview) -> int | None:
    """Return the restart interval, in coded units, that a JPEG should have.

    None where it is none that Huffman coding of 8 bits made.
    """
    frame = _frame_of(data)
    if frame is None:
        return None
    return best_interval(frame.across, frame.width * frame.height)


def units_across(data: bytes | memoryview) -> int | None:
    """Return the coded units (MCUs) in a row of a JPEG; None as above."""
    frame = _frame_of(data)
    return None if frame is None else frame.across


def best_interval(across: int, pixels: int) -> int:
    """Return the restart interval for an image, in coded units; it divides a row.

    Args:
        across: Coded units in a row.
        pixels: Of the image.

    >>> best_interval(32, 200_000), best_interval(256, 12_000_000)
    (32, 64)
    >>> best_interval(251, 12_000_000)  # a prime number
    251
    """
    wanted = _SEGMENTS if pixels >= _LARGE else 1
    divisors = (n for n in range(1, across + 1) if across % n == 0)
    return across // min(divisors, key=lambda n: (abs(n - wanted), n))


def _frame_of(data: bytes | memoryview) -> _Frame | None:
    try:
        at, _, _ = _headers(data)
        frame = _frame(data, at) if at else None
    except (IndexError, struct.error):
        return None
    return frame if frame is not None and frame.kind in _HUFFMAN else None


def _headers(data: bytes | memoryview) -> tuple[int, int, int]:
    """Return offsets of the frame and of the first scan, and the interval.

    The frame is 0 where there is none.
    """
    at, interval, frame = 2, 0, 0
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _FRAMES:
            frame = at
        elif marker == 0xDD:
            (interval,) = struct.unpack_from(">H", data, at + 4)
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return frame if data[at] == 0xFF else 0, at, interval


def _frame(data: bytes | memoryview, at: int) -> _Frame | None:
    """Return what a frame header says; None where it is of another kind."""
    depth, height, width, channels = struct.unpack_from(">BHHB", data, at + 4)
    factors = [data[at + 11 + 3 * channel] for channel in range(channels)]
    if depth != 8 or not width or not height or not factors:
        return None
    across, down = max(f >> 4 for f in factors), max(f & 15 for f in factors)
    if channels == 1:  # a unit is one block, whatever the factors say
        across = down = 1
    if not across or not down:
        return None
    return _Frame(data[at + 1], width, height, channels, 8 * across, 8 * down)


def find_ends(data: bytes | memoryview, layout: Layout) -> NDArray[np.int64] | None:
    """Return where the segments end, counted from the first one's first byte.

    None where a segment is missing or not followed by the next, or where any other
    marker stands between them: at one a decoder stops for all segments that follow.
    """
    coded: NDArray[Any] = np.frombuffer(data, np.uint8, offset=layout.start)
    found = np.flatnonzero(coded[:-1] == 0xFF)
    kinds = coded[found + 1]
    marked = kinds != 0  # a zero makes the byte before it one of the code
    found, kinds = found[marked], kinds[marked]
    last = np.flatnonzero(kinds == 0xD9)
    if not len(last):
        return None
    found, kinds = found[: last[0] + 1], kinds[: last[0]]
    if len(found) != layout.rows * layout.columns:
        return None
    if (kinds != 0xD0 + np.arange(len(kinds)) % 8).any():
        return None
    ends: NDArray[np.int64] = found.astype(np.int64, copy=False)
    return ends


def segment_lengths(data: bytes | memoryview) -> bytes:
    """Return the bytes of each segment, little-endian uint16, as an index keeps them.

    Nothing where the file cannot be cut, or a segment is longer than 65,535 bytes.
    """
    layout = read_layout(data)
    ends = None if layout is None else find_ends(data, layout)
    if ends is None:
        return b""
    lengths = np.diff(ends, prepend=-2) - 2
    if (lengths > _LONGEST).any():
        return b""
    return lengths.astype("<u2").tobytes()
