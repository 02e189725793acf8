"""Images to the bytes of a member: as they are, smaller, or in another format."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.header import ImageHeader, ImageLimits, read_header
from fiberaug.decode.image import decode_image
from fiberaug.decode.restarts import best_interval
from fiberaug.errors import UsageError
from fiberaug.marking import carry

__all__ = [
    "ENCODINGS",
    "encode_image",
    "image_member",
    "recode",
    "seekable_options",
]

ENCODINGS = {"jpeg": "jpg", "webp": "webp", "png": "png"}
_EXTENSIONS = {
    "jpeg": "jpg",
    "png": "png",
    "webp": "webp",
    "bmp": "bmp",
    "gif": "gif",
    "tiff": "tif",
    "ppm": "ppm",
}


def encode_image(
    pixels: NDArray[np.uint8],
    encoding: str,
    *,
    quality: int = 90,
    seekable: bool = False,
) -> bytes:
    """Return uint8 [H, W] or RGB [H, W, 3] as an image file.

    Args:
        pixels: The pixels.
        encoding: ``jpeg``, ``webp`` or ``png``.
        quality: Of JPEG and WebP, 1 to 100.
        seekable: Write restart markers into a JPEG.

    Raises:
        UsageError: The pixels or the encoding do not fit.
    """
    if encoding not in ENCODINGS:
        raise UsageError(
            f"encoding must be one of {sorted(ENCODINGS)}, got {encoding!r}"
        )
    channels_fit = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if pixels.dtype != np.uint8 or not channels_fit or pixels.size == 0:
        raise UsageError(
            "an image is uint8 [H, W] or [H, W, 3], got"
            f" {pixels.dtype} {list(pixels.shape)}"
        )
    options = {
        "jpeg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        "webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
        "png": [cv2.IMWRITE_PNG_COMPRESSION, 6],
    }[encoding]
    if seekable and encoding == "jpeg":
        options += seekable_options(pixels)
    flipped = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    try:
        done, data = cv2.imencode("." + ENCODINGS[encoding], flipped, options)
    except cv2.error:
        done = False
    if not done:
        raise UsageError(f"OpenCV cannot write {list(pixels.shape)} as {encoding}")
    return data.tobytes()


def seekable_options(pixels: NDArray[np.uint8]) -> list[int]:
    """Return what makes OpenCV write restart markers into a JPEG of some pixels.

    Its Huffman tables are made for the image, which saves more than the markers take.

    Args:
        pixels: [H, W] or [H, W, C]; colours are stored at half the resolution.
    """
    height, width = pixels.shape[:2]
    unit = 8 if pixels.ndim == 2 or pixels.shape[2] == 1 else 16  # px
    interval = best_interval(-(-width // unit), width * height)
    return [cv2.IMWRITE_JPEG_RST_INTERVAL, interval, cv2.IMWRITE_JPEG_OPTIMIZE, 1]


def image_member(data: bytes) -> tuple[str, ImageHeader]:
    """Return the extension for image bytes, from what they are, and their header.

    Raises:
        SampleBroken: They are no image.
    """
    header = read_header(data)
    return _EXTENSIONS[header.format], header


def recode(
    data: bytes,
    *,
    encoding: str = "keep",
    resize: int | None = None,
    quality: int = 90,
    seekable: bool = False,
) -> tuple[str, bytes]:
    """Return (extension, bytes) of an image, kept as it is where nothing is asked.

    A re-encoded image is upright RGB, and has neither EXIF nor profile; it keeps the
    mark of a synthetic one (:mod:`fiberaug.marking`).

    Args:
        data: An image file.
        encoding: ``keep``, ``jpeg``, ``webp`` or ``png``.
        resize: Length of the shorter side, px; smaller images are not enlarged.
        quality: Of JPEG and WebP, 1 to 100.
        seekable: Write restart markers into a JPEG that is encoded.

    Raises:
        SampleBroken: The bytes are no image.
    """
    extension, header = image_member(data)
    shrink = resize is not None and min(header.width, header.height) > resize
    if not shrink and (encoding == "keep" or ENCODINGS[encoding] == extension):
        return extension, data
    pixels, _ = decode_image(data, limits=ImageLimits())
    if shrink and resize is not None:
        height, width = pixels.shape[:2]
        scale = resize / min(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = np.asarray(
            cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8
        )
    if encoding == "keep":
        encoding = next((e for e, x in ENCODINGS.items() if x == extension), "png")
    again = encode_image(pixels, encoding, quality=quality, seekable=seekable)
    return ENCODINGS[encoding], carry(data, again)
