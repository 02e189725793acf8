"""Images, masks and controls that a pipeline is told, checked, one for each seed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError

__all__ = ["MULTIPLE", "check_size", "images_of", "masks_of"]

MULTIPLE = 8
"""Sides of images are multiples of it, px: one number of the latents is 8 x 8 px."""

_LARGEST = 16_384


def images_of(given: object, count: int, name: str) -> NDArray[np.uint8]:
    """Return images, uint8 [N, H, W, 3], one for each of ``count``.

    Args:
        given: uint8 [N, H, W, 3], or [H, W, 3] for all.
        count: N.
        name: Of the condition, for errors.

    Raises:
        UsageError: It is something else, or a side is no multiple of 8.
    """
    found = np.asarray(given)
    if found.ndim == 3 and found.shape[2] == 3:
        found = np.broadcast_to(found, (count, *found.shape))
    return _checked(found, count, name, channels=True)


def masks_of(given: object, count: int) -> NDArray[np.uint8]:
    """Return masks, uint8 [N, H, W]; see :func:`images_of`.

    Args:
        given: uint8 or bool [N, H, W], or [H, W] for all: what is 128 or more is
            repainted.
        count: N.

    Raises:
        UsageError: It is something else, or nothing is to be repainted.
    """
    found = np.asarray(given)
    if found.dtype == np.bool_:
        found = found.astype(np.uint8) * 255
    if found.ndim == 2:
        found = np.broadcast_to(found, (count, *found.shape))
    found = _checked(found, count, "mask", channels=False)
    empty = np.flatnonzero((found < 128).all(axis=(1, 2)))
    if len(empty):
        most = int(found[empty[0]].max())
        raise UsageError(
            f"mask {empty[0]} has nothing to repaint: its largest value is {most}, and"
            " what is 128 or more is repainted"
        )
    return found


def _checked(
    found: NDArray[Any], count: int, name: str, *, channels: bool
) -> NDArray[np.uint8]:
    shape = f"[{count}, H, W{', 3' if channels else ''}]"
    right = found.ndim == (4 if channels else 3) and len(found) == count
    if found.dtype != np.uint8 or not right or (channels and found.shape[3] != 3):
        raise UsageError(
            f"{name} must be uint8 {shape}, or without the first axis for all, got"
            f" {found.dtype} {list(found.shape)}"
        )
    check_size(found.shape[1], found.shape[2], name)
    return found


def check_size(height: object, width: object, name: str = "size") -> tuple[int, int]:
    """Return a size that the pipeline can make.

    Args:
        height: px.
        width: px.
        name: Of what has it, for errors.

    Raises:
        UsageError: A side is no multiple of 8, or out of range.
    """
    for side in (height, width):
        if not isinstance(side, int | np.integer) or not 0 < side <= _LARGEST:
            raise UsageError(
                f"sides of {name} must be integers from {MULTIPLE} to {_LARGEST} px,"
                f" got {side!r}"
            )
    sides = int(height), int(width)  # type: ignore[call-overload]
    if any(side % MULTIPLE for side in sides):
        near = [max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE) for side in sides]
        raise UsageError(
            f"sides of {name} must be multiples of {MULTIPLE} px, got"
            f" {sides[0]} x {sides[1]} (height x width): crop or pad to"
            f" {near[0]} x {near[1]}"
        )
    return sides
