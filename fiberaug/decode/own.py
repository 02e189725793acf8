"""The user's own decoders: what they may return, and what becomes of their errors."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.refusing import Refusing
from fiberaug.errors import SampleBroken

__all__ = ["call_own", "own_image"]

_DTYPES = ("uint8", "uint16", "float32")


def call_own(
    decoder: Callable[[bytes], Any], data: bytes | memoryview, extension: str
) -> Any:  # noqa: ANN401  # a field can be anything
    """Return what a user's decoder makes of a member.

    Raises:
        SampleBroken: It returns None or raises anything, which is named and chained.
    """
    with Refusing(f"the decoder of .{extension} fails"):
        value = decoder(bytes(data))
    if value is None:
        raise SampleBroken(f"the decoder of .{extension} returns None", stage="decode")
    return value


def own_image(
    decoder: Callable[[bytes], Any], data: bytes | memoryview, extension: str
) -> NDArray[Any]:
    """Return a user's image, [H, W, C] of uint8, uint16 or float32, as it came.

    An array [H, W] becomes [H, W, 1]. Options of decoding and EXIF are the user's.

    Raises:
        SampleBroken: The decoder fails, or returns anything else.
    """
    pixels = call_own(decoder, data, extension)
    if isinstance(pixels, np.ndarray) and pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if (
        not isinstance(pixels, np.ndarray)
        or pixels.ndim != 3
        or pixels.dtype.name not in _DTYPES
        or not pixels.size
    ):
        raise SampleBroken(
            f"the decoder of .{extension} must return an array [H, W, C], got"
            f" {type(pixels).__name__} {getattr(pixels, 'shape', '')}"
            f" {getattr(pixels, 'dtype', '')}".rstrip()
            + f"; its numbers are {', '.join(_DTYPES)}",
            stage="decode",
        )
    return pixels
