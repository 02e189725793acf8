"""Pixels read at the places that :mod:`fused_geometry` says, on any device.

Rows that only move by whole pixels are copied, the others are read bilinearly. What is
done is decided from the copy of the maps in memory: nothing waits for the device.
"""

import numpy as np
import torch
from torch.nn import functional

from fiberaug.gpu.fused_rows import Numbers

__all__ = ["sample", "sample_mask"]

Size = tuple[int, int]

OUTSIDE = -4.0
"""A place beyond any pixel, on the scale from -1 to 1."""


def sample_mask(mask: torch.Tensor, numbers: Numbers, size: Size) -> torch.Tensor:
    """Return masks, read to the nearest pixel, 0 where there is none.

    The arguments are those of :func:`sample`; the dtype stays.
    """
    if "nearest" in numbers.host:
        return _windows(mask, numbers, size)
    return sample(mask, numbers, size, mode="nearest").to(mask.dtype)


def sample(
    image: torch.Tensor,
    numbers: Numbers,
    size: Size,
    *,
    mode: str = "bilinear",
) -> torch.Tensor:
    """Return images as a pass leaves them.

    Args:
        image: [rows, channels, H, W], uint8 or float.
        numbers: What was prepared for the rows.
        size: (height, width) of what comes out, px.
        mode: ``bilinear``, or ``nearest``.

    Returns:
        The dtype of the image where every pixel is a copy, float32 or float64
        elsewhere; the image itself where nothing moves.
    """
    if "whole" not in numbers.host:
        return _between(image, numbers, size, mode)
    if "theta" not in numbers.host:
        return _whole(image, numbers, size)
    moved = numbers.host["moved"].numpy()
    count = int(moved.sum())
    if count == len(moved):
        return _between(image, numbers, size, mode)
    if not count:
        return _whole(image, numbers, size)
    order = torch.from_numpy(np.argsort(moved, kind="stable"))
    on_device = numbers.sent["order"] if numbers.at_once else order
    still = len(moved) - count
    parts = []
    for some in (slice(still), slice(still, None)):
        rows, there = order[some], on_device[some]
        part = image.index_select(0, there)
        parts.append((part, numbers.of(rows, there), size))
    copied, read = _whole(*parts[0]), _between(*parts[1], mode)
    out = read.new_empty(len(moved), *read.shape[1:])
    out.index_copy_(0, on_device[:still], copied.to(out.dtype))
    return out.index_copy_(0, on_device[still:], read)


def _whole(image: torch.Tensor, numbers: Numbers, size: Size) -> torch.Tensor:
    """Return copies of pixels; bit for bit."""
    maps, rect = numbers.host["whole"].numpy(), numbers.host["rect"].numpy()
    height, width = size
    covered = bool((rect == [0, 0, width - 1, height - 1]).all())
    if size == image.shape[2:] and covered and (maps == [1, 0, 0, 0, 1, 0]).all():
        return image
    if not numbers.at_once:
        fill = image.new_empty if covered else image.new_zeros
        out = fill((*image.shape[:2], height, width))
        for row in zip(image, out, maps.tolist(), rect.tolist(), strict=True):
            _copy(*row)
        return out
    columns, lines = _places(size, image.device, torch.int64)
    a, b, c, d, e, f = numbers.sent["whole"].long()[:, :, None, None].unbind(1)
    if maps[:, [1, 3]].any():
        x, y = a * columns + b * lines + c, d * columns + e * lines + f
    else:
        x, y = a * columns + c, e * lines + f
    rows = torch.arange(len(image), device=image.device)[:, None, None, None]
    channels = torch.arange(image.shape[1], device=image.device)[:, None, None]
    x = x.clamp(0, image.shape[3] - 1)[:, None]
    y = y.clamp(0, image.shape[2] - 1)[:, None]
    read = image[rows, channels, y, x]
    return read if covered else torch.where(_inside(numbers, size)[:, None], read, 0)


def _copy(
    image: torch.Tensor, out: torch.Tensor, one: list[int], inside: list[int]
) -> None:
    """Copy one image [channels, H, W] as slices of it."""
    a, b, c, d, e, f = one
    x0, y0, x1, y1 = inside
    if x1 < x0 or y1 < y0:
        return
    xs = sorted((a * x + b * y + c) for x, y in ((x0, y0), (x1, y1)))
    ys = sorted((d * x + e * y + f) for x, y in ((x0, y0), (x1, y1)))
    part = image[:, ys[0] : ys[1] + 1, xs[0] : xs[1] + 1]
    if b:
        part = part.transpose(1, 2)
    turned = [dim for dim, sign in ((1, b + e), (2, a + d)) if sign < 0]
    out[:, y0 : y1 + 1, x0 : x1 + 1] = part.flip(turned) if turned else part


def _between(
    image: torch.Tensor, numbers: Numbers, size: Size, mode: str
) -> torch.Tensor:
    """Return what lies at places between pixels."""
    if image.dtype not in (torch.float32, torch.float64):
        image = image.to(torch.float32)
    last = [size[1] - 1, size[0] - 1]
    covered = bool((numbers.host["rect"].numpy() == [0, 0, *last]).all())
    grid = _grid(numbers, size)
    if not covered:
        grid[..., 0].masked_fill_(~_inside(numbers, size), OUTSIDE)
    return functional.grid_sample(
        image, grid.to(image.dtype), mode, "zeros", align_corners=False
    )


def _grid(numbers: Numbers, size: Size) -> torch.Tensor:
    """Return float32 [rows, height, width, 2]: where each pixel is read."""
    theta = numbers.sent["theta"]
    columns, lines = _places(size, theta.device, theta.dtype)
    a, b, c, d, e, f, g, h, i = theta[:, :, None, None].unbind(1)
    grid = theta.new_empty(len(theta), *size, 2)
    if "bounds" in numbers.host:
        left, right, top, bottom = numbers.sent["bounds"][:, :, None, None].unbind(1)
        x = torch.minimum(torch.maximum(a * columns + c, left), right)
        y = torch.minimum(torch.maximum(e * lines + f, top), bottom)
        grid[..., 0], grid[..., 1] = x, y
        return grid
    x, y = grid.unbind(3)
    torch.add(a * columns, b * lines + c, out=x)
    torch.add(d * columns, e * lines + f, out=y)
    if (numbers.host["theta"][:, 6:].numpy() != [0, 0, 1]).any():
        depth = g * columns + (h * lines + i)
        x.div_(depth)
        y.div_(depth)
    return grid


def _windows(mask: torch.Tensor, numbers: Numbers, size: Size) -> torch.Tensor:
    """Return masks of which windows were brought to another size."""
    columns, lines = _places(size, mask.device, torch.float32)
    found = []
    table = numbers.sent["nearest"][:, :, None, None]
    for place, these in ((columns, table[:, :5]), (lines, table[:, 5:])):
        a, b, step, c, d = these.unbind(1)
        read = ((a * place + b + 0.5) * step).floor()
        found.append((c * read + d).long())
    x = found[0].clamp(0, mask.shape[3] - 1)
    y = found[1].clamp(0, mask.shape[2] - 1)
    if not numbers.at_once:
        lists = zip(mask, x[:, 0], y[:, :, 0], strict=True)
        made = torch.stack([m[:, rows][:, :, cols] for m, cols, rows in lists])
    else:
        rows = torch.arange(len(mask), device=mask.device)[:, None, None, None]
        channels = torch.arange(mask.shape[1], device=mask.device)[:, None, None]
        made = mask[rows, channels, y[:, None], x[:, None]]
    last_px = [size[1] - 1, size[0] - 1]
    if (numbers.host["rect"].numpy() == [0, 0, *last_px]).all():
        return made
    return torch.where(_inside(numbers, size)[:, None], made, 0)


def _places(
    size: Size, device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the columns [width] and the lines [height, 1] of an image."""
    columns = torch.arange(size[1], device=device, dtype=dtype)
    return columns, torch.arange(size[0], device=device, dtype=dtype)[:, None]


def _inside(numbers: Numbers, size: Size) -> torch.Tensor:
    """Return bool [rows, height, width]: what the image covers."""
    columns, lines = _places(size, numbers.sent["rect"].device, torch.int32)
    x0, y0, x1, y1 = numbers.sent["rect"][:, :, None, None].unbind(1)
    return ((columns >= x0) & (columns <= x1)) & ((lines >= y0) & (lines <= y1))
