"""Masks in files of their own, as they are stored: class ids, not shades of gray."""

import os
from collections.abc import Iterable
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.header import ImageLimits, read_header
from fiberaug.decode.image import decode_mask
from fiberaug.errors import DataRefused, SampleBroken
from fiberaug.jobs.members import mask_member

__all__ = ["MASKS_LOOKED_AT", "are_binary", "object_mask", "read_mask", "stored_mask"]

MASKS_LOOKED_AT = 16
"""Masks that tell whether 255 is a class or the foreground."""

_LIMITS = ImageLimits()


def read_mask(root: str, place: str) -> bytes:
    """Return the file of a mask.

    Raises:
        SampleBroken: It cannot be read.
    """
    try:
        with open(os.path.join(root, place), "rb") as file:
            return file.read()
    except OSError as error:
        raise SampleBroken(f"cannot read the mask {place}: {error.strerror}") from error


def are_binary(masks: Iterable[bytes]) -> bool:
    """Return whether the first masks have 0 and 255 only, and some of them 255."""
    found = set[int]()
    for data in islice(masks, MASKS_LOOKED_AT):
        try:
            found |= set(np.unique(_decoded(data, "")).tolist())
        except SampleBroken:  # the reader says it of its sample
            continue
    return 255 in found and found <= {0, 255}


def stored_mask(
    data: bytes, place: str, *, binary: bool
) -> tuple[bytes, tuple[int, int]]:
    """Return a mask as it is stored, and its width and height, px.

    Args:
        data: The file.
        place: What it is called, for errors.
        binary: It has 0 and 255 only; they become 0 and 1.

    Raises:
        SampleBroken: It is no mask, or has another value.
    """
    mask = _decoded(data, place)
    size = mask.shape[1], mask.shape[0]
    if not binary:
        return data if data[1:4] == b"PNG" else mask_member(mask), size
    other = mask[(mask != 0) & (mask != 255)]
    if other.size:
        raise SampleBroken(
            f"the mask {place} has the value {other[0]}; the first masks of the set"
            " have 0 and 255 only, which are written as 0 and 1"
        )
    return mask_member((mask == 255).astype(np.uint8)), size


def object_mask(data: bytes, place: str) -> NDArray[np.uint8]:
    """Return the mask of one object, [H, W], 0 and 1.

    Raises:
        SampleBroken: It is no mask, or has more than two values.
    """
    mask = _decoded(data, place)
    values = np.unique(mask).tolist()
    if len([value for value in values if value]) > 1:
        raise SampleBroken(
            f"the mask {place} of one object has the values {values[:10]}; it may have"
            " 0 and one other"
        )
    return np.asarray(mask != 0, np.uint8)


def _decoded(data: bytes, place: str) -> NDArray[np.generic]:
    try:
        lossy = read_header(data).format == "jpeg" or data[12:16] == b"VP8 "
        if not lossy:
            return decode_mask(data, limits=_LIMITS)
    except DataRefused as error:
        raise SampleBroken(f"the mask {place}: {error.message}") from error
    raise SampleBroken(
        f"the mask {place} is compressed with loss, its values are no class ids any"
        " more; store masks as PNG"
    )
