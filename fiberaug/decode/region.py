"""A part of a JPEG, decoded by the cheapest way that gives the pixels of the whole.

Where the file has restart markers, the part is cut out of its bytes; libjpeg-turbo
skips what is above, beside and below it; without the compiled module OpenCV decodes
what is left. A reduced image is scaled within the DCT by whole factors, which all of
these do alike.
"""

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode import turbo
from fiberaug.decode.buffers import image_buffer
from fiberaug.decode.header import ImageHeader
from fiberaug.decode.opencv import decode_reduced
from fiberaug.decode.orientation import upright, window_stored
from fiberaug.decode.refusing import Refusing
from fiberaug.decode.seekable import cut_jpeg

__all__ = ["FACTORS", "decode_jpeg", "decode_part"]

FACTORS = (8, 4, 2, 1)
"""By how much a JPEG can be reduced while it is decoded."""

_Window = tuple[int, int, int, int]


def decode_jpeg(
    data: bytes | memoryview, header: ImageHeader, factor: int = 1
) -> NDArray[np.uint8]:
    """Return a whole JPEG, RGB [ceil(H / factor), ceil(W / factor), 3], upright.

    Args:
        data: The file.
        header: Its header.
        factor: 1, 2, 4 or 8.

    Raises:
        SampleBroken: It cannot be decoded.
    """
    width, height = -(-header.width // factor), -(-header.height // factor)
    sides = header.width, header.height
    with Refusing("the JPEG cannot be decoded"):
        pixels = _by_turbo(data, sides, (0, 0, width, height), factor)
        if pixels is None:  # OpenCV alone says what is broken
            pixels = decode_reduced(data, header, factor)
        return upright(pixels, header.orientation)


def decode_part(
    data: bytes | memoryview,
    header: ImageHeader,
    window: _Window,
    *,
    factor: int = 1,
    ends: NDArray[np.int64] | None = None,
    only_cut: bool = False,
) -> NDArray[np.uint8] | None:
    """Return a window of a JPEG, RGB [h, w, 3]; None: the whole is to be decoded.

    The pixels are those of the whole, decoded and cut. Damage outside of the window is
    not noticed.

    Args:
        data: The file.
        header: Its header.
        window: (x_min, y_min, x_max, y_max), px of the upright reduced image.
        factor: 1, 2, 4 or 8.
        ends: Where the segments between restart markers end; None: they are looked for.
        only_cut: Only where the window is cut out of the bytes of a file that has all
            of its markers.

    Raises:
        SampleBroken: What was cut out cannot be decoded.
    """
    width, height = -(-header.width // factor), -(-header.height // factor)
    sides = header._replace(width=width, height=height).upright
    x0, y0, x1, y1 = window_stored(window, header.orientation, *sides)
    if (x0, y0, x1, y1) == (0, 0, width, height):
        return None
    full = x0 * factor, y0 * factor, x1 * factor, y1 * factor
    inside = *full[:2], min(header.width, full[2]), min(header.height, full[3])
    pixels: NDArray[np.uint8] | None = None
    with Refusing("the JPEG cannot be decoded"):
        cut = cut_jpeg(data, inside, ends=ends)
        if cut is not None:
            left, top = cut.x // factor, cut.y // factor
            place = x0 - left, y0 - top, x1 - left, y1 - top
            pixels = _by_turbo(cut.data, (cut.width, cut.height), place, factor)
            if pixels is None:
                whole = decode_reduced(cut.data, header, factor)
                pixels = whole[place[1] : place[3], place[0] : place[2]]
        elif not only_cut:
            sides = header.width, header.height
            pixels = _by_turbo(data, sides, (x0, y0, x1, y1), factor)
    if pixels is None:
        return None
    return np.ascontiguousarray(upright(pixels, header.orientation))


def _by_turbo(
    data: bytes | memoryview,
    sides: tuple[int, int],
    window: _Window,
    factor: int,
) -> NDArray[np.uint8] | None:
    """Return a window in memory that is used again; None: not by this library."""
    if not turbo.available():
        return None
    out = image_buffer((window[3] - window[1], window[2] - window[0], 3))
    return turbo.decode_window(data, *sides, window, scale=factor, out=out)
