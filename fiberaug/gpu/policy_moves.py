"""Pixels of batches that come from other places, each row from its own."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fiberaug.warping import fixed_point

__all__ = ["move", "upload"]


def upload(values: Tensor, like: Tensor) -> Tensor:
    """Return parameters on the device of an image, without waiting for it."""
    return values.to(like.device, non_blocking=True)


def move(
    image: Tensor,
    backs: Sequence[Sequence[float]],
    *,
    interpolation: str,
    fill: Tensor | float,
) -> Tensor:
    """Return images whose pixels come from other places.

    Args:
        image: Float [N, C, H, W].
        backs: Where the pixels of each row come from, see ``magnitudes.inverse``.
        interpolation: ``nearest`` or ``bilinear``.
        fill: What comes from outside of the image.
    """
    height, width = image.shape[-2:]
    y = torch.arange(height, device=image.device)[:, None]
    x = torch.arange(width, device=image.device)
    if interpolation == "nearest":
        whole = torch.tensor([fixed_point(back) for back in backs])
        a, b, c, d, e, f = upload(whole, image).t()[..., None, None]
        at_x, at_y = (a * x + b * y + c) >> 16, (d * x + e * y + f) >> 16
        inside = _inside(at_x, at_y, image)
        found = _taken(image, at_x, at_y)
    else:
        parts = torch.tensor(backs, dtype=image.dtype)
        a, b, c, d, e, f = upload(parts, image).t()[..., None, None]
        middle_x, middle_y = x + 0.5, y + 0.5
        from_x = a * middle_x + b * middle_y + c
        from_y = d * middle_x + e * middle_y + f
        inside = _inside(from_x, from_y, image)
        found = _between(image, from_x - 0.5, from_y - 0.5)
    return torch.where(inside[:, None], found, fill)


def _inside(x: Tensor, y: Tensor, image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    return (x >= 0) & (x < width) & (y >= 0) & (y < height)


def _taken(image: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the pixels at whole places [N, H, W], the nearest ones of the image."""
    height, width = image.shape[-2:]
    at = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    at = at.flatten(1)[:, None].expand(-1, image.shape[1], -1)
    return image.flatten(2).gather(2, at).view_as(image)


def _between(image: Tensor, x: Tensor, y: Tensor) -> Tensor:
    left, top = x.floor(), y.floor()
    across, down = (x - left)[:, None], (y - top)[:, None]
    left, top = left.long(), top.long()
    upper = _mean(_taken(image, left, top), _taken(image, left + 1, top), across)
    below = top + 1
    lower = _mean(_taken(image, left, below), _taken(image, left + 1, below), across)
    return _mean(upper, lower, down)


def _mean(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    # Not lerp: a fused multiply-add rounds otherwise where rows lie otherwise.
    return first + (second - first) * share
