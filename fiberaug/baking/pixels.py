"""Pixels of a pipeline to the bytes of an image that decodes to the very same."""

import io
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fiberaug.errors import UsageError
from fiberaug.jobs.encoding import seekable_options

__all__ = ["encode_ids", "encode_pixels", "form_of"]

_TO_BGR = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
# OpenCV's own choice: half the time of the next level, for a tenth more bytes.
_FAST = (
    cv2.IMWRITE_PNG_COMPRESSION, 1,
    cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE,
    cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB,
)  # fmt: skip
_WEBP_SIDE = 16_383
_UINT8, _UINT16 = np.dtype(np.uint8), np.dtype(np.uint16)
_CHANNELS = {_UINT8: (1, 2, 3, 4), _UINT16: (1, 3, 4)}


def form_of(pixels: NDArray[Any]) -> str:
    """Return dtype and channels of an image [H, W, C], such as ``uint8 3``."""
    return f"{pixels.dtype} {pixels.shape[2]}"


def encode_pixels(
    pixels: Any,  # noqa: ANN401  # whatever a pipeline made
    encode: str,
    *,
    quality: int = 90,
    seekable: bool = False,
) -> tuple[str, bytes]:
    """Return (extension, bytes) of an image.

    What lossless WebP cannot hold (16 bits, other than 3 channels, sides above 16,383
    px) becomes PNG.

    Args:
        pixels: uint8 or uint16 [H, W, C] with 1 to 4 channels, RGB(A).
        encode: ``png``, ``webp`` (without loss) or ``jpeg``.
        quality: Of JPEG, 1 to 100.
        seekable: Write restart markers into a JPEG.

    Raises:
        UsageError: No image file holds such pixels, or no JPEG does.
    """
    _check(pixels)
    height, width, channels = pixels.shape
    plain = pixels.dtype == _UINT8 and channels == 3
    if encode == "jpeg":
        if pixels.dtype != _UINT8 or channels not in {1, 3}:
            raise UsageError(
                f"JPEG holds uint8 with 1 or 3 channels, got {form_of(pixels)};"
                " encode as png"
            )
        more = seekable_options(pixels) if seekable else []
        options = (cv2.IMWRITE_JPEG_QUALITY, quality, *more)
        return "jpg", _opencv(".jpg", pixels, options)
    if encode == "webp" and plain and max(height, width) <= _WEBP_SIDE:
        return "webp", _pillow(pixels, "WEBP", lossless=True, quality=20, method=0)
    if channels == 2:
        return "png", _pillow(pixels, "PNG", compress_level=1)
    return "png", _opencv(".png", pixels, _FAST)


def _check(pixels: Any) -> None:  # noqa: ANN401
    array = isinstance(pixels, np.ndarray) and pixels.ndim == 3 and pixels.size > 0
    if array and pixels.dtype.kind == "f":
        raise UsageError(
            f"the image is {pixels.dtype} {list(pixels.shape)}, and shards hold whole"
            " numbers: take what makes floats (ToFloat, or Normalize before the end)"
            " out of the recipe, or bake its beginning (--prefix, prefix=True); a"
            " Normalize at the very end is done when the shards are read"
        )
    if not array or pixels.shape[2] not in _CHANNELS.get(pixels.dtype, ()):
        found = (
            f"{pixels.dtype} {list(pixels.shape)}"
            if isinstance(pixels, np.ndarray)
            else type(pixels).__name__
        )
        raise UsageError(
            "image files hold uint8 [H, W, C] of 1 to 4 channels, or uint16 of 1, 3 or"
            f" 4, got {found}; bake the part of the recipe before this (--prefix)"
        )


def _opencv(suffix: str, pixels: NDArray[Any], options: tuple[int, ...]) -> bytes:
    code = _TO_BGR.get(pixels.shape[2])
    flipped = pixels if code is None else cv2.cvtColor(pixels, code)
    done, data = cv2.imencode(suffix, flipped, options)
    if not done:
        raise UsageError(f"OpenCV cannot write {list(pixels.shape)} as {suffix}")
    return data.tobytes()


def _pillow(pixels: NDArray[Any], kind: str, **options: Any) -> bytes:  # noqa: ANN401  # of the format
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, kind, **options)
    return file.getvalue()


def encode_ids(mask: Any) -> bytes:  # noqa: ANN401  # whatever a pipeline made
    """Return class ids [H, W] as a PNG that decodes to the same dtype.

    Args:
        mask: uint8, or int32 of values from 0 to 65,535, which takes 16 bits.

    Raises:
        UsageError: It is anything else.
    """
    array = isinstance(mask, np.ndarray) and mask.ndim == 2 and mask.size > 0
    if array and mask.dtype == _UINT8:
        return _opencv(".png", mask[:, :, None], _FAST)
    if array and mask.dtype == np.int32:
        low, high = int(mask.min()), int(mask.max())
        if not 0 <= low <= high <= 65_535:
            raise UsageError(
                f"class ids of a mask are from 0 to 65535 in a shard, got {low} to"
                f" {high}; choose an ignore_index such as 255"
            )
        return _opencv(".png", mask.astype(np.uint16)[:, :, None], _FAST)
    found = (
        f"{mask.dtype} {list(mask.shape)}"
        if isinstance(mask, np.ndarray)
        else type(mask).__name__
    )
    raise UsageError(f"a mask is uint8 or int32 [H, W] in a shard, got {found}")
