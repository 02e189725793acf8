"""Arrays of a batch that become one tensor, copied once: from where they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fiberaug import planes
from fiberaug.augment.normalize import NormalizeTable
from fiberaug.buffers import Buffers

__all__ = ["DENSE", "Stack", "image_tensor", "images_tensor", "stack_tensor"]

DENSE = "biufc"
"""Kinds of dtypes that tensors have."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Arrays of a batch that become one array; until it is needed they stay apart."""

    rows: Sequence[NDArray[Any]]
    """An array for each row."""

    shape: tuple[int, ...]
    """Of a row of the result; a smaller row stands at its start."""

    dtype: np.dtype[Any]
    fill: int = 0
    """What is beside smaller rows."""

    @property
    def whole(self) -> tuple[int, ...]:
        """The shape of the result."""
        return len(self.rows), *self.shape

    @property
    def nbytes(self) -> int:
        """Bytes of the result."""
        return int(np.prod(self.whole, dtype=np.int64)) * self.dtype.itemsize

    def write(self, out: NDArray[Any]) -> None:
        """Write the result into an array of its shape and dtype."""
        for number, row in enumerate(self.rows):
            if row.shape != self.shape:
                out[number] = self.fill
            corner: tuple[Any, ...] = tuple(slice(side) for side in row.shape)
            out[(number, *corner)] = row

    def array(self) -> NDArray[Any]:
        """Return the result."""
        out = np.empty(self.whole, self.dtype)
        self.write(out)
        return out


def stack_tensor(stack: Stack, buffers: Buffers) -> torch.Tensor:
    """Return what a stack becomes: [B, ...], in memory of its own."""
    tensor = buffers.empty(stack.whole, stack.dtype)
    stack.write(tensor.numpy())
    return tensor


def images_tensor(
    images: Stack, normalize: NormalizeTable | None, buffers: Buffers
) -> torch.Tensor:
    """Return images [B, C, H, W], normalised where uint8 and a table is given.

    Args:
        images: uint8 or float32 [H, W, C].
        normalize: The transform's table.
        buffers: Where the memory comes from.
    """
    rows = images.rows
    if any(r.shape != images.shape or r.dtype != images.dtype for r in rows):
        rows = list(images.array())
    height, width, channels = images.shape
    table = _table(normalize, channels, images.dtype)
    kind = images.dtype if table is None else table.dtype
    out = buffers.empty((len(rows), channels, height, width), kind)
    for row, result in zip(rows, out.numpy(), strict=True):
        _write_planes(row, table, result)
    return out


def image_tensor(image: NDArray[Any], normalize: NormalizeTable | None) -> torch.Tensor:
    """Return an image [C, H, W] in memory of its own, normalised as a batch is.

    Args:
        image: uint8 or float32 [H, W, C].
        normalize: The transform's table.
    """
    height, width, channels = image.shape
    table = _table(normalize, channels, image.dtype)
    kind = image.dtype if table is None else table.dtype
    out = np.empty((channels, height, width), kind)
    _write_planes(image, table, out)
    return torch.from_numpy(out)


def _table(
    normalize: NormalizeTable | None, channels: int, kind: np.dtype[Any]
) -> NDArray[np.float32] | None:
    if normalize is None or kind != np.uint8:
        return None
    return normalize.table(channels)


def _write_planes(
    image: NDArray[Any], table: NDArray[np.float32] | None, out: NDArray[Any]
) -> None:
    if table is None:
        planes.split(image, out)
    else:
        planes.normalize(image, table, out)
