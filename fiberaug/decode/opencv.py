"""Pixels from OpenCV: what it decodes as the file has it, without a word on stderr."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.header import ImageHeader
from fiberaug.decode.refusing import Refusing
from fiberaug.errors import SampleBroken

__all__ = ["decode_native", "decode_reduced", "decode_rgb"]

_RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_REDUCED = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_LOG = cv2.utils.logging


def decode_rgb(data: bytes | memoryview, header: ImageHeader) -> NDArray[np.uint8]:
    """Return RGB pixels, uint8 [H, W, 3], in the stored frame.

    Raises:
        SampleBroken: OpenCV cannot decode the file.
    """
    return np.asarray(_decode(data, header, _RGB), np.uint8)


def decode_reduced(
    data: bytes | memoryview, header: ImageHeader, factor: int
) -> NDArray[np.uint8]:
    """Return RGB pixels of a JPEG that is reduced while it is decoded, stored frame.

    Args:
        data: The file.
        header: Its header.
        factor: 1, 2, 4 or 8; uint8 [ceil(H / factor), ceil(W / factor), 3].

    Raises:
        SampleBroken: OpenCV cannot decode the file.
    """
    if factor == 1:
        return decode_rgb(data, header)
    pixels = _decode(data, header, _REDUCED[factor] | cv2.IMREAD_IGNORE_ORIENTATION)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def decode_native(
    data: bytes | memoryview, header: ImageHeader, channels: int | None = None
) -> NDArray[Any]:
    """Return pixels [H, W, C] as the file has them, in RGB(A) order.

    The frame is the stored one, of a TIFF the upright one.

    Args:
        data: The file.
        header: Its header.
        channels: How many channels the file has; None takes OpenCV's word.

    Raises:
        SampleBroken: OpenCV cannot decode the file, or not with these channels.
    """
    pixels = _decode(data, header, cv2.IMREAD_UNCHANGED)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] >= 3:
        pixels = pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]]
    channels = pixels.shape[2] if channels is None else channels
    if channels == 2 and pixels.shape[2] == 4:  # gray and alpha come as BGRA
        return pixels[:, :, 2:]
    if channels > pixels.shape[2]:
        raise SampleBroken(
            f"the {header.format.upper()} has {channels} channels, OpenCV gives"
            f" {pixels.shape[2]}",
            stage="decode",
        )
    return pixels[:, :, :channels]


def _decode(data: bytes | memoryview, header: ImageHeader, flags: int) -> NDArray[Any]:
    name = header.format.upper()
    # What its log would say on stderr is raised as an error.
    level = _LOG.setLogLevel(_LOG.LOG_LEVEL_SILENT)
    try:
        with Refusing(f"OpenCV refuses the {name}"):
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    finally:
        # Of threads that overlap only the first one saw the user's level.
        if level != _LOG.LOG_LEVEL_SILENT:
            _LOG.setLogLevel(level)
    if pixels is None:
        raise SampleBroken(
            f"the {name} of {len(data)} bytes cannot be decoded: it is cut or damaged",
            stage="decode",
        )
    return np.asarray(pixels)
