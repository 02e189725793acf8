"""Pixels as they are trained on: float32 in [-1, 1], with labels and places."""

import numpy as np
import torch
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.training.contracts import RealBatch

__all__ = ["as_photos", "real_batch", "with_channels"]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def real_batch(
    images: torch.Tensor,
    labels: torch.Tensor | None = None,
    places: NDArray[np.float32] | None = None,
) -> RealBatch:
    """Return what a step gets.

    Args:
        images: uint8 [B, C, H, W].
        labels: int64 [B].
        places: float32 [B, 3].
    """
    levels = images.to(torch.float32).div_(127.5).sub_(1.0)
    where = None if places is None else torch.from_numpy(places)
    return RealBatch(levels, labels, where)


def as_photos(images: object) -> NDArray[np.uint8]:
    """Return images that are in memory as uint8 [N, H, W, C].

    Args:
        images: uint8: an array [N, H, W] or [N, H, W, C], or a tensor [N, H, W] or
            [N, C, H, W].

    Raises:
        UsageError: They are of another form, or of another type than uint8.
    """
    if isinstance(images, torch.Tensor):
        array = images.detach().cpu().numpy()
        array = array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
    else:
        array = np.asarray(images)
    array = array[..., None] if array.ndim == 3 else array
    if array.ndim != 4 or not 1 <= array.shape[3] <= 4 or 0 in array.shape[1:]:
        raise UsageError(
            "images must be [N, H, W] or [N, H, W, C] with C from 1 to 4 (tensors:"
            f" [N, C, H, W]), got {list(array.shape)}"
        )
    if array.dtype != np.uint8:
        raise UsageError(
            f"images must be uint8, 0 to 255, got {array.dtype}; floats in [0, 1]"
            " become that by (images * 255).round().astype('uint8')"
        )
    return array


def with_channels(images: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Return images [N, H, W, C] with so many channels, where that means one thing.

    Args:
        images: uint8 [N, H, W, C].
        channels: 1 to 4; gray becomes RGB, RGB luma (0.299 R + 0.587 G + 0.114 B).

    Raises:
        UsageError: There is no one way from the channels that there are.
    """
    there = images.shape[3]
    if there == channels:
        return images
    if there == 1 and channels == 3:
        return np.repeat(images, 3, axis=3)
    if there == 3 and channels == 1:
        luma = np.empty((*images.shape[:3], 1), np.uint8)
        for row, image in zip(luma, images, strict=True):  # no float copy of them all
            row[..., 0] = np.rint(image @ _LUMA)
        return luma
    raise UsageError(
        f"the images have {there} channels, channels={channels} was asked for; give"
        f" channels={there}, or images with {channels}"
    )
