"""Image bytes to pixels: one decoder, one error, limits before memory is taken."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.channels import to_color, to_depth
from fiberaug.decode.header import ImageHeader, ImageLimits, read_header
from fiberaug.decode.opencv import decode_native, decode_rgb
from fiberaug.decode.orientation import upright
from fiberaug.decode.pillow import decode_raw, decode_upright
from fiberaug.decode.png import still_png
from fiberaug.decode.refusing import Refusing
from fiberaug.decode.region import decode_jpeg
from fiberaug.errors import SampleBroken, StoreError

__all__ = ["decode_image", "decode_mask", "save_image"]

_RUN_LENGTHS = (b"\1\0\0\0", b"\2\0\0\0")  # compression of a BMP


def decode_image(
    data: bytes | memoryview,
    *,
    limits: ImageLimits,
    color: str = "rgb",
    depth: str = "uint8",
) -> tuple[NDArray[Any], ImageHeader]:
    """Return upright pixels [H, W, C], always of three axes, and the file's header.

    ==================  ===============  ==============  ===============================
    file                ``rgb``          ``gray``        ``keep``
    ==================  ===============  ==============  ===============================
    gray, 1 to 16 bits  gray repeated    gray            gray, C = 1
    gray and alpha      gray repeated    gray            gray and alpha, C = 2
    RGB                 RGB              luma            RGB, C = 3
    RGBA                RGB as stored    luma of RGB     RGBA, C = 4
    palette             RGB              luma            RGB, or RGBA with transparency
    CMYK, YCbCr, LAB    RGB, no profile  luma            RGB
    animation           first frame      first frame     first frame
    ==================  ===============  ==============  ===============================

    One bit is 0 and 255. Channels are in the order R, G, B, alpha. Alpha is dropped and
    not multiplied in.

    Args:
        data: JPEG, PNG, WebP, BMP, GIF, TIFF, PPM.
        limits: Refuses images that would take too much memory, by their header.
        color: ``rgb``, ``gray`` or ``keep``.
        depth: ``uint8``: of 16 bits the upper 8, floats are refused; ``keep``: uint8,
            uint16 or float32; signed and 32-bit whole numbers become float32 where it
            holds them exactly. CMYK is always uint8.

    Raises:
        SampleBroken: The bytes are no image, are cut, or have no pixels of that depth.
        LimitExceeded: The image is too large.
    """
    header = read_header(data)
    limits.check(header)
    with Refusing(f"the {header.format.upper()} cannot be decoded"):
        if (color, depth) == ("rgb", "uint8"):
            pixels = _rgb(data, header)
        else:
            native, turn = _native(data, header, depth)
            pixels = upright(to_color(to_depth(native, depth), color), turn)
    if pixels.shape[1::-1] != header.upright:
        raise SampleBroken(
            f"the image is {pixels.shape[1]}x{pixels.shape[0]} px, its header says"
            f" {header.upright[0]}x{header.upright[1]}",
            stage="decode",
        )
    return pixels, header


def _rgb(data: bytes | memoryview, header: ImageHeader) -> NDArray[Any]:
    """Return what nearly every set asks for, without a detour."""
    if header.format == "png":
        data = still_png(data).data
    elif not _is_of_opencv(data, header):
        native, turn = _native(data, header, "uint8")
        return upright(to_color(to_depth(native, "uint8"), "rgb"), turn)
    elif header.format == "jpeg":
        return decode_jpeg(data, header)
    return upright(decode_rgb(data, header), header.orientation)


def _native(
    data: bytes | memoryview, header: ImageHeader, depth: str
) -> tuple[NDArray[Any], int]:
    """Return pixels as the file has them, and the orientation that is left to apply."""
    if header.format == "png":
        still = still_png(data)
        pixels = decode_native(still.data, header, still.channels)
    elif _is_of_opencv(data, header):
        pixels = decode_native(data, header)
    else:
        pixels = decode_upright(data, header, depth)
    return pixels, 1 if header.format == "tiff" else header.orientation


def _is_of_opencv(data: bytes | memoryview, header: ImageHeader) -> bool:
    """Return whether OpenCV decodes the file, or else Pillow.

    In a BMP OpenCV takes 31 of 31 for 248 of 255, and Pillow reads run lengths past
    their errors.
    """
    if header.format == "bmp":
        return bytes(data[30:34]) in _RUN_LENGTHS and data[14] >= 40
    return header.format in {"jpeg", "webp"}


def decode_mask(data: bytes | memoryview, *, limits: ImageLimits) -> NDArray[Any]:
    """Return class ids [H, W] in the stored frame: uint8, or int32 for 16-bit files.

    A palette image gives its indices, a one-bit image 0 and 1. WebP has no gray: there
    three equal channels count as one.

    Raises:
        SampleBroken: The bytes are no image with one channel.
        LimitExceeded: The mask is too large.
    """
    header = read_header(data)
    limits.check(header)
    with Refusing(f"the {header.format.upper()} cannot be decoded"):
        whole = still_png(data).data if header.format == "png" else data
        mask, mode = decode_raw(whole)
    if header.format == "webp" and mode == "RGB" and not np.ptp(mask, axis=2).any():
        mask = mask[:, :, 0]
    if mask.ndim != 2 or mask.dtype.kind not in "bui":
        raise SampleBroken(
            f"a mask has one channel of class ids, this one is {mode} with shape"
            f" {mask.shape}",
            stage="decode",
        )
    return mask.astype(np.uint8 if mask.dtype.itemsize == 1 else np.int32)


def save_image(path: Path, pixels: NDArray[Any]) -> None:
    """Write RGB pixels [H, W, C], uint8 or float in [0, 1], as the file's suffix says.

    Raises:
        StoreError: The file cannot be written, or the suffix names no format.
    """
    if pixels.dtype != np.uint8:
        pixels = (np.clip(pixels, 0, 1) * 255).round().astype(np.uint8)
    flipped = (
        cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.shape[2] == 3 else pixels
    )
    try:
        if not cv2.imwrite(str(path), flipped):
            raise StoreError(f"cannot write {path}")
    except cv2.error as error:
        raise StoreError(f"cannot write {path}: use .png or .jpg") from error
