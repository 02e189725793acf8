"""An image that is decoded when pixels are asked for, and only as far as they are."""

import time
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.channels import to_color
from fiberaug.decode.header import ImageHeader
from fiberaug.decode.region import FACTORS, decode_jpeg, decode_part

__all__ = ["PendingImage"]

_Window = tuple[int, int, int, int]
_NOTHING = np.zeros((), np.uint8)


class _Held(NamedTuple):
    """Pixels that are there already."""

    factor: int
    window: _Window
    pixels: NDArray[np.uint8]


class PendingImage:
    """A JPEG as upright pixels, as far as somebody asks for them.

    Which samples are broken must not depend on what is asked for, so parts are decoded
    only of files of which it is known that the whole can be decoded.

    Args:
        data: The file.
        header: Its header, of an image within the limits.
        sound: The whole file can be decoded.
        fast: It may be reduced while it is decoded, where it is resized afterwards.
        gray: As luma, C = 1, in place of RGB, C = 3.
        ends: Where the segments between restart markers end; None: not known.
    """

    def __init__(
        self,
        data: bytes | memoryview,
        header: ImageHeader,
        *,
        sound: bool,
        fast: bool = False,
        gray: bool = False,
        ends: NDArray[np.int64] | None = None,
    ) -> None:
        self._data, self._header, self._fast, self._ends = data, header, fast, ends
        self._gray = gray
        self.sound = sound
        """Whether the whole file can be decoded, as far as is known now."""
        self.seconds = 0.0
        """Spent on decoding."""
        width, height = header.upright
        self.standin: NDArray[np.uint8] = np.ndarray(
            (height, width, 1 if gray else 3), np.uint8, _NOTHING, strides=(0, 0, 0)
        )
        """An array [H, W, C] of the image's shape, which holds nothing."""
        self._held: _Held | None = None

    def whole(self, fit: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Return the image, uint8 [H, W, C]; with ``fast`` reduced, see :meth:`window`.

        Raises:
            SampleBroken: It cannot be decoded.
        """
        width, height = self._header.upright
        return self.window((0, 0, width, height), fit)

    def window(
        self, box: _Window, fit: tuple[int, int] | None = None
    ) -> NDArray[np.uint8]:
        """Return the pixels of a window, uint8 [h, w, C].

        Args:
            box: (x_min, y_min, x_max, y_max), px of the upright image, within it.
            fit: (height, width) in px to which it is about to be resized. With
                ``fast`` it comes reduced by the largest of 8, 4, 2 and 1 that leaves
                as many pixels, its sides moved by up to half a reduced pixel.

        Raises:
            SampleBroken: It cannot be decoded.
        """
        factor = self._factor(box, fit)
        width, height = (-(-side // factor) for side in self._header.upright)
        if factor > 1:
            box = _reduced(box, factor, width, height)
        held = self._held
        if held is None or held.factor != factor or not _within(box, held.window):
            held = self._decode(box, factor, (0, 0, width, height))
        x, y = held.window[:2]
        return held.pixels[box[1] - y : box[3] - y, box[0] - x : box[2] - x]

    def hold(self, boxes: Iterable[_Window | None]) -> None:
        """Decode once what several are going to ask for; None: the whole image.

        Raises:
            SampleBroken: It cannot be decoded.
        """
        if self._fast:  # each may ask for another scale
            return
        whole = 0, 0, *self._header.upright
        found = [whole if box is None else box for box in boxes]
        x0, y0 = (min(box[side] for box in found) for side in (0, 1))
        x1, y1 = (max(box[side] for box in found) for side in (2, 3))
        self._held = self._decode((x0, y0, x1, y1), 1, whole)

    def _decode(self, box: _Window, factor: int, whole: _Window) -> _Held:
        started = time.perf_counter()
        pixels: NDArray[np.uint8] | None = None
        if self.sound:
            pixels = decode_part(
                self._data, self._header, box, factor=factor, ends=self._ends
            )
        if pixels is None:
            box = whole
            pixels = decode_jpeg(self._data, self._header, factor)
            self.sound = True
        if self._gray:
            pixels = to_color(pixels, "gray")
        if box == whole:
            self._held = _Held(factor, box, pixels)
        self.seconds += time.perf_counter() - started
        return _Held(factor, box, pixels)

    def _factor(self, box: _Window, fit: tuple[int, int] | None) -> int:
        if not self._fast or fit is None:
            return 1
        height, width = box[3] - box[1], box[2] - box[0]
        fits = (f for f in FACTORS if height >= f * fit[0] and width >= f * fit[1])
        return next(fits, 1)


def _reduced(box: _Window, factor: int, width: int, height: int) -> _Window:
    """Return a window of the reduced image, of a pixel at least."""
    x0, y0 = (
        min(round(box[0] / factor), width - 1),
        min(round(box[1] / factor), height - 1),
    )
    x1, y1 = min(round(box[2] / factor), width), min(round(box[3] / factor), height)
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def _within(box: _Window, other: _Window) -> bool:
    return (
        box[0] >= other[0]
        and box[1] >= other[1]
        and box[2] <= other[2]
        and box[3] <= other[3]
    )
