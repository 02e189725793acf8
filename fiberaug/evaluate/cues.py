"""What gives a synthetic image away at once: colour, sharpness, codec, size.

Sources: Z. Wang, H. R. Sheikh and A. C. Bovik, No-Reference Perceptual Quality
Assessment of JPEG Compressed Images (ICIP 2002): steps at block borders; J. Lukas and
J. Fridrich, Estimation of Primary Quantization Matrix in Double Compressed JPEG Images
(2003): quantisation shows in the histogram of DCT coefficients.
"""

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["CUES", "small_pixels"]

_BLOCK = 8
_FLOOR = 1e-3  # levels squared: what rounding leaves
_angles = np.pi / _BLOCK * np.outer(np.arange(_BLOCK), np.arange(_BLOCK) + 0.5)
_DCT = np.cos(_angles) * np.where(np.arange(_BLOCK) == 0, 0.125**0.5, 0.5)[:, None]
_FINE = np.add.outer(np.arange(_BLOCK), np.arange(_BLOCK)) >= 6


def colour(image: NDArray[np.uint8]) -> list[float]:
    """Return the means of red, green and blue."""
    return [float(value) for value in _rgb(image).mean((0, 1))]


def contrast(image: NDArray[np.uint8]) -> list[float]:
    """Return the standard deviation of the brightness."""
    return [float(_luma(image).std())]


def sharpness(image: NDArray[np.uint8]) -> list[float]:
    """Return the energy of the Laplacian, alone and over the variance, as logarithms.

    The first falls with blur and rises with noise; the second does not change with
    contrast.
    """
    luma = _luma(image)
    fine = float((cv2.Laplacian(luma, cv2.CV_32F) ** 2).mean()) + _FLOOR
    return [float(np.log(fine)), float(np.log(fine / (luma.var() + _FLOOR)))]


def chroma(image: NDArray[np.uint8]) -> list[float]:
    """Return the energy of the Laplacians of both colour differences, as logarithms.

    Codecs store colour at half the size; gray images have none.
    """
    planes = _planes(image)[:, :, 1:]
    fine = (cv2.Laplacian(planes, cv2.CV_32F) ** 2).mean((0, 1)) + _FLOOR
    return [float(value) for value in np.log(fine)]


def blockiness(image: NDArray[np.uint8]) -> list[float]:
    """Return how much more the 8 x 8 grid of JPEG shows than one that is shifted.

    The steps across its lines over those within, as a logarithm; and the share of fine
    DCT coefficients that are nearly 0 on the grid, less that on the grid shifted by 4.
    Images below 16 px have neither.
    """
    luma = _luma(image)
    height, width = luma.shape
    if min(height, width) < 2 * _BLOCK:
        return [0.0, 0.0]
    across, within = 0.0, 0.0
    for steps in (np.abs(np.diff(luma, axis=1)), np.abs(np.diff(luma, axis=0)).T):
        line = np.arange(steps.shape[1]) % _BLOCK == _BLOCK - 1
        across += float(steps[:, line].mean())
        within += float(steps[:, ~line].mean())
    half = _BLOCK // 2
    shown = _empty(luma) - _empty(luma[half:-half, half:-half])
    return [float(np.log((across + _FLOOR) / (within + _FLOOR))), shown]


def size(image: NDArray[np.uint8]) -> list[float]:
    """Return height, width and channels, px."""
    return [float(side) for side in image.shape]


CUES: Mapping[str, Callable[[NDArray[np.uint8]], list[float]]] = {
    "blockiness": blockiness,
    "chroma": chroma,
    "colour": colour,
    "contrast": contrast,
    "sharpness": sharpness,
    "size": size,
}
"""Cues by name, functions of an image uint8 [H, W, 1] or [H, W, 3]."""


def small_pixels(image: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Return an image as RGB at ``side`` x ``side`` px, float32 [3 side**2]."""
    shrinks = min(image.shape[:2]) >= side
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    small = cv2.resize(_rgb(image), (side, side), interpolation=how)
    return np.asarray(small, np.float32).ravel()


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.broadcast_to(image, (*image.shape[:2], 3)).astype(np.float32)


def _planes(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(_rgb(image), cv2.COLOR_RGB2YCrCb), np.float32)


def _luma(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.ascontiguousarray(_planes(image)[:, :, 0])


def _empty(luma: NDArray[np.float32]) -> float:
    """Return the share of fine coefficients of the blocks that round to 0."""
    rows, columns = (side // _BLOCK for side in luma.shape)
    blocks = luma[: rows * _BLOCK, : columns * _BLOCK].reshape(
        rows, _BLOCK, columns, _BLOCK
    )
    waves = np.einsum("ui,aibj,vj->abuv", _DCT, blocks, _DCT, optimize=True)
    return float((np.abs(waves[:, :, _FINE]) < 0.5).mean())
