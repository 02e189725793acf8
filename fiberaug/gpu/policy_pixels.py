"""Pixels of policies on batches: rows are gathered by operation, changed, put back.

A row's pixels depend on that row alone, bit for bit: sums over an image are sums of
whole numbers, which have no order, and the rest is elementwise. Which rows go where is
decided from parameters in memory, so nothing waits for the device.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from fiberaug.gpu.policy_colors import COLORS
from fiberaug.gpu.policy_moves import move, upload
from fiberaug.magnitudes import NOTHING, OPERATIONS
from fiberaug.warping import inverse

__all__ = ["change", "levels_of", "noise"]

Size = tuple[int, int]

_IDLE = {NOTHING, OPERATIONS.index("Identity")}
_FIRST, _LAST = OPERATIONS.index("ShearX"), OPERATIONS.index("Rotate")
_MASK = 0xFFFFFFFF


def levels_of(levels: float | Sequence[float], image: Tensor) -> Tensor | float:
    """Return levels of 0 to 255 as pixels: one number, or [C, 1, 1]."""
    if isinstance(levels, Sequence):
        pixels = torch.tensor(levels, dtype=image.dtype)[:, None, None] / 255
        return upload(pixels, image)
    return levels / 255


def change(
    image: Tensor,
    operations: Tensor,
    magnitudes: Tensor,
    *,
    interpolation: str,
    fill: float | Sequence[float],
) -> Tensor:
    """Return images after the operations of each row, one step behind the other.

    Args:
        image: Float [B, C, H, W] in [0, 1]; it is not written to.
        operations: int64 [B, steps] in memory: places in ``OPERATIONS``.
        magnitudes: float64 [B, steps] in memory.
        interpolation: ``nearest`` or ``bilinear``.
        fill: Level, or levels of channels, of what comes from outside of an image.
    """
    made = image.clone()
    pixels = levels_of(fill, image)
    size = image.shape[-2], image.shape[-1]
    order = operations.argsort(dim=0, stable=True)
    strengths = magnitudes.gather(0, order)
    rows_there = upload(order.t().contiguous(), image)
    strengths_there = upload(strengths.t().to(image.dtype).contiguous(), image)
    for step, numbers in enumerate(operations.gather(0, order).t().tolist()):
        for number, first, end in _runs(numbers):
            rows = rows_there[step, first:end]
            part = made.index_select(0, rows)
            if number == _FIRST:
                turned = strengths[first:end, step].tolist()
                steps = zip(numbers[first:end], turned, strict=True)
                backs = [_back(n, magnitude, size) for n, magnitude in steps]
                part = move(part, backs, interpolation=interpolation, fill=pixels)
            else:
                strength = strengths_there[step, first:end].view(-1, 1, 1, 1)
                part = COLORS[OPERATIONS[number]](part, strength)
            made.index_copy_(0, rows, part.to(made.dtype))
    return made


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield (operation, first, end) of sorted rows; all that move pixels are one."""
    first = 0
    kinds = [_FIRST if _FIRST <= number <= _LAST else number for number in numbers]
    for end in range(1, len(kinds) + 1):
        if end == len(kinds) or kinds[end] != kinds[first]:
            if kinds[first] not in _IDLE:
                yield kinds[first], first, end
            first = end


def _back(number: int, magnitude: float, size: Size) -> Sequence[float]:
    return inverse(OPERATIONS[number], magnitude, size) or (1, 0, 0, 0, 1, 0)


def noise(seeds: Tensor, image: Tensor) -> Tensor:
    """Return pixels of noise like an image, uniform levels.

    Each is a hash of the row's seed and of the place in the image, the same on every
    device, and the same that single images get.

    Args:
        seeds: int64 [N] of 32 bits, on the device of the image.
        image: Float [N, C, H, W].
    """
    place = torch.arange(math.prod(image.shape[1:]), device=image.device)
    mixed = (place * 0x1E3779B1 + seeds[:, None]) & _MASK
    mixed = ((mixed ^ (mixed >> 16)) * 0x21F0AAAD) & _MASK
    mixed = ((mixed ^ (mixed >> 15)) * 0x735A2D97) & _MASK
    return ((mixed ^ (mixed >> 15)) >> 24).view(image.shape) / 255
