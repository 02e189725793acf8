"""Pixels from Pillow: masks, rare formats, and what OpenCV gets wrong."""

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.header import PILLOW_FORMATS, ImageHeader
from fiberaug.decode.opencv import decode_native
from fiberaug.decode.refusing import Refusing
from fiberaug.errors import SampleBroken

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["decode_raw", "decode_upright"]

_HEAD = 4096  # bytes of a PPM in which its header ends
_COMMENT = re.compile(rb"#[^\r\n]*")
_BITS, _PHOTOMETRIC, _EXTRA, _FORMAT = 258, 262, 338, 339  # tags of a TIFF
_SIGNED, _ASSOCIATED = 2, 1


class _Loaded(NamedTuple):
    """An image that Pillow has decoded."""

    image: "Image"
    mode: str
    tags: Mapping[int, Any]


def decode_raw(data: bytes | memoryview) -> tuple[NDArray[Any], str]:
    """Return the pixels as Pillow has them, palettes as indices, and Pillow's mode.

    The frame is the stored one, of a TIFF the upright one.

    Raises:
        SampleBroken: Pillow cannot decode the file.
    """
    with _opened(data) as found:
        return np.array(found.image), found.mode


def decode_upright(
    data: bytes | memoryview, header: ImageHeader, depth: str
) -> NDArray[Any]:
    """Return pixels [H, W, C] as the file has them: gray, RGB, or these with alpha.

    Of whole numbers and floats all dtypes come out. The frame is the stored one, of a
    TIFF the upright one.

    Args:
        data: The file: BMP, GIF, PPM or TIFF; of an animation the first frame.
        header: Its header.
        depth: ``uint8`` or ``keep``: where only one of 8 and 16 bits can be read.

    Raises:
        SampleBroken: The file cannot be decoded.
    """
    with _opened(data) as found:
        if header.format == "tiff":
            pixels = _tiff(data, header, found, depth)
        elif header.format == "ppm":
            pixels = _ppm(data, header, found)
        else:
            pixels = _eight_bits(found.image, colour=header.format == "gif")
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


@contextmanager
def _opened(data: bytes | memoryview) -> Iterator[_Loaded]:
    from PIL import Image  # noqa: PLC0415  # masks and rare formats only

    with (
        Refusing("the image cannot be decoded"),
        Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as image,
    ):
        mode, tags = image.mode, dict(getattr(image, "tag_v2", {}))
        image.load()
        yield _Loaded(image, mode, tags)


def _eight_bits(image: "Image", *, colour: bool = False) -> NDArray[Any]:
    """Return gray, RGB or these with alpha; a palette is looked up."""
    clear = "transparency" in image.info
    if image.mode == "1" and not colour:
        image = image.convert("L")
    elif image.mode in {"P", "PA"} or (colour and image.mode in {"1", "L"}):
        image = image.convert("RGBA" if clear or image.mode == "PA" else "RGB")
    elif image.mode not in {"L", "LA", "RGB", "RGBA"}:
        image = image.convert("RGB")  # CMYK, YCbCr, LAB
    return np.array(image)


def _tiff(
    data: bytes | memoryview, header: ImageHeader, found: _Loaded, depth: str
) -> NDArray[Any]:
    image, mode, tags = found
    bits = max(tags.get(_BITS, (1,)))
    if mode[0] in "IF" or tags.get(_FORMAT, (1,))[0] == _SIGNED:
        return _numbers(found, bits)
    if bits > 8 and depth == "keep" and mode in {"RGB", "RGBA"}:
        if mode == "RGBA" and _ASSOCIATED in tags.get(_EXTRA, ()):
            raise SampleBroken(
                f"the TIFF has {bits}-bit colours multiplied by their alpha: they are"
                " read with decode={'depth': 'uint8'} only",
                stage="decode",
            )
        return decode_native(data, header, len(mode))
    if mode == "YCbCr":  # Pillow takes every file's matrix for that of BT.601
        return decode_native(data, header, 3)
    return _eight_bits(image)


def _numbers(found: _Loaded, bits: int) -> NDArray[Any]:
    """Return the one channel of a TIFF that holds more than plain 8-bit gray."""
    image, mode, tags = found
    if mode.startswith("I;16"):
        deep: NDArray[Any] = np.array(image).astype(np.uint16)
        if bits == 12:
            deep = deep << 4 | deep >> 8
        return ~deep if tags.get(_PHOTOMETRIC) == 0 else deep  # 0: white is zero
    if mode == "I" and tags.get(_FORMAT, (1,))[0] == 1:
        return np.array(image).view(np.uint32)  # Pillow has only signed ones
    if mode in {"I", "F"}:
        return np.array(image)
    return np.array(image).view(np.int8)


def _ppm(data: bytes | memoryview, header: ImageHeader, found: _Loaded) -> NDArray[Any]:
    if found.mode == "F":
        return np.array(found.image)
    if found.mode == "I":
        return np.array(found.image).astype(np.uint16)
    if found.mode == "RGB":
        words = _COMMENT.sub(b"", bytes(data[:_HEAD])).split(None, 4)
        most = int(words[3])
        if most > 255:  # Pillow checks them, and gives 8 bits
            deep = np.minimum(decode_native(data, header), most).astype(np.uint32)
            scaled = (deep * 65_535 + most // 2) // most
            return np.asarray(scaled, np.uint16)
    return _eight_bits(found.image)
