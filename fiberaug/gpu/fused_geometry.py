"""Geometric operations that are one pass over the pixels.

A pass reads between pixels once at most. It is flips, then one operation that samples
(or none), then flips, crops and pads; or flips, crops and pads alone. Anything that
comes after nothing but whole pixels can be read as if it had been moved before, with
the same weights: so the result is that of the single operations.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fiberaug.gpu.fused_maps import (
    Core,
    Crops,
    Floats,
    Move,
    Size,
    crops,
    move_of,
    turns,
    warps,
    whole_map,
)
from fiberaug.gpu.fused_rows import RowParams
from fiberaug.gpu.operation import Operation, Shape

__all__ = ["Geometry"]

Rect = npt.NDArray[np.float64]
"""[rows, 4]: first column and row, last column and row of what the image covers, px."""

CORES = (Move.TURN, Move.SIZE, Move.WARP)


class Geometry:
    """The operations of one pass.

    Attributes:
        operations: The operations, in order.
        core: What the one that samples does, or None.
    """

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.core: Move | None = None
        self._cropped = False
        self._sizes: dict[Size, list[Size]] = {}

    def takes(self, move: Move) -> bool:
        """Return whether an operation can be added to the pass."""
        return move not in CORES or not (self.core or self._cropped)

    def add(self, operation: Operation, move: Move) -> None:
        """Add an operation that the pass takes."""
        self.operations.append(operation)
        self._cropped |= move is Move.CROP
        if move in CORES:
            self.core = move

    def size_after(self, size: Size) -> Size:
        """Return (height, width) of what comes out of images of ``size``."""
        return self._sizes_after(size)[-1]

    def _sizes_after(self, size: Size) -> list[Size]:
        """Return the sizes before, between and after the operations."""
        if size not in self._sizes:
            sizes = [size]
            for operation in self.operations:
                sizes.append(operation.size_after(sizes[-1]))
            self._sizes[size] = sizes
        return self._sizes[size]

    def prepare(
        self, drawn: Sequence[RowParams], shape: Shape
    ) -> dict[str, torch.Tensor]:
        """Return what the rows need to be sampled.

        Args:
            drawn: What was drawn for each operation.
            shape: (rows, channels, height, width) of the images.

        Returns:
            ``whole`` int32 [rows, 6]: a, b, c, d, e, f of the map from whole pixels
            (x, y) after to (a x + b y + c, d x + e y + f) before; ``rect`` int32
            [rows, 4]: the part that is not 0. With an operation that samples
            ``theta`` float32 [rows, 9]: pixels after to places before, from -1 to 1;
            ``moved`` uint8 [rows]: where it is needed; for windows ``bounds``
            float32 [rows, 4] (x and y, at least and at most) and ``nearest``.

        Raises:
            UsageError: A crop is larger than the images.
        """
        size: Size = (shape[2], shape[3])
        before = after = np.tile(np.eye(3), (shape[0], 1, 1))
        core: Core | Crops | None = None
        core_size = size
        rect = _full(shape[0], size)
        sizes = iter(self._sizes_after(size)[1:])
        for operation, one in zip(self.operations, drawn, strict=True):
            module = operation.module  # type: ignore[attr-defined]
            new = next(sizes)
            match move_of(module):
                case Move.WARP:
                    core = warps(module, one, (shape[0], shape[1], *size))
                case Move.SIZE:
                    core, core_size = crops(module, one, size), new
                    rect = _full(shape[0], new)
                case Move.TURN:
                    core = turns(one, size)
                    rect = np.where(
                        core.moved[:, None], rect, _pulled(rect, core.inverse, new)
                    )
                case _:
                    step = whole_map(module, one, size, new)
                    rect = _pulled(rect, step, new)
                    if core is None:
                        before = before @ step
                    else:
                        after = after @ step
            size = new
        found: dict[str, npt.NDArray[Any]] = {"rect": rect.astype(np.int32)}
        if core is None:
            found["whole"] = _six(before)
        elif isinstance(core, Core):
            total = before @ core.inverse @ after
            found["theta"] = _theta(total, shape)
            found["moved"] = core.moved.astype(np.uint8)
            found["whole"] = _six(np.where(core.moved[:, None, None], 0, total))
        else:
            total = before @ core.inverse(core_size) @ after
            found["theta"] = _theta(total, shape)
            found["bounds"] = _bounds(core, before, shape)
            found["nearest"] = _nearest(core, before, after, core_size)
        return {name: torch.from_numpy(value) for name, value in found.items()}


def _full(rows: int, size: Size) -> Rect:
    return np.tile([0.0, 0.0, size[1] - 1.0, size[0] - 1.0], (rows, 1))


def _pulled(rect: Rect, step: Floats, size: Size) -> Rect:
    """Return where pixels after a whole-pixel step come from inside ``rect``."""
    corners = np.stack([rect[:, :2], rect[:, 2:]], axis=1) - step[:, None, :2, 2]
    corners = corners @ step[:, :2, :2]  # orthogonal: the transpose undoes it
    low = np.maximum(corners.min(1), 0)
    high = np.minimum(corners.max(1), [size[1] - 1, size[0] - 1])
    found = np.concatenate([low, high], axis=1)
    found[(rect[:, 2:] < rect[:, :2]).any(1)] = [0, 0, -1, -1]  # nothing stays nothing
    return found


def _six(total: Floats) -> npt.NDArray[np.int32]:
    return np.rint(total[:, :2]).astype(np.int32).reshape(-1, 6)


def _theta(total: Floats, shape: Shape) -> npt.NDArray[np.float32]:
    """Return maps to places from -1 to 1, the edges of the outermost pixels."""
    height, width = shape[2:]
    unit = [[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1], [0, 0, 1]]
    return (np.array(unit) @ total).astype(np.float32).reshape(-1, 9)


def _bounds(core: Crops, before: Floats, shape: Shape) -> npt.NDArray[np.float32]:
    ends = np.stack([core.start, core.start + core.length - 1], axis=1)
    ends = ends * _diagonal(before)[:, None] + before[:, None, :2, 2]
    ends = (2 * ends + 1) / [shape[3], shape[2]] - 1
    low, high = ends.min(1), ends.max(1)
    both = np.stack([low, high], axis=2)  # x: low, high; y: low, high
    return both.astype(np.float32).reshape(-1, 4)


def _nearest(
    core: Crops, before: Floats, after: Floats, size: Size
) -> npt.NDArray[np.float32]:
    """Return [rows, 10], five for x and five for y: a, b, step, c, d.

    Pixel x is read from c * floor((a x + b + 0.5) * step) + d, as torch does for
    ``nearest-exact``: in single precision, so that ties fall the same way.
    """
    columns = [
        _diagonal(after),
        after[:, :2, 2],
        core.length / np.array(size[::-1], np.float64),
        _diagonal(before),
        _diagonal(before) * core.start + before[:, :2, 2],
    ]
    return np.stack(columns, axis=2).astype(np.float32).reshape(-1, 10)


def _diagonal(matrix: Floats) -> Floats:
    return matrix[:, [0, 1], [0, 1]]
