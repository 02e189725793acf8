"""Colours of batches as Pillow changes them, each row by its own strength.

Sums over an image are sums of whole levels: they do not depend on the order in which
they are added up, nor a row on its batch.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["COLORS"]

_LUMA = (19595, 38470, 7471)  # ITU-R 601-2 in 65536ths, as Pillow has it


def _blended(plain: Tensor | float, image: Tensor, more: Tensor) -> Tensor:
    return (plain + (image - plain) * (1 + more)).clamp(0, 1)


def _whole(image: Tensor) -> Tensor:
    return (image * 255).round().long().clamp(0, 255)


def _gray(image: Tensor) -> Tensor:
    """Return the levels of grey of images, int64 [N, 1, H, W]."""
    levels = _whole(image)
    if image.shape[1] == 1:
        return levels
    red, green, blue = (levels[:, i : i + 1] * _LUMA[i] for i in range(3))
    return (red + green + blue + 2**15) >> 16


def _color(image: Tensor, more: Tensor) -> Tensor:
    return _blended(_gray(image) / 255, image, more)


def _contrast(image: Tensor, more: Tensor) -> Tensor:
    pixels = image.shape[-2] * image.shape[-1]
    total = _gray(image).sum(dim=(2, 3), keepdim=True)
    mean = (2 * total + pixels) // (2 * pixels)
    return _blended(mean / 255, image, more)


def _sharpness(image: Tensor, more: Tensor) -> Tensor:
    """Blend with a 3x3 mean that weighs the middle five times; borders stay."""
    height, width = image.shape[-2:]
    if height < 3 or width < 3:
        return image
    levels = _whole(image)
    total = 4 * levels[..., 1:-1, 1:-1]
    for y in range(3):
        for x in range(3):
            total = total + levels[..., y : y + height - 2, x : x + width - 2]
    plain = image.clone()
    plain[..., 1:-1, 1:-1] = (2 * total + 13) // 26 / 255
    return _blended(plain, image, more)


def _posterize(image: Tensor, bits: Tensor) -> Tensor:
    lost = 8 - bits.long()
    return ((_whole(image) >> lost) << lost) / 255


def _solarize(image: Tensor, threshold: Tensor) -> Tensor:
    least = (255 * threshold - 1e-4).ceil()
    return torch.where(image * 255 > least - 0.5, 1 - image, image)


def _auto_contrast(image: Tensor, _: Tensor) -> Tensor:
    low, high = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
    spread = high - low
    made = (image - low) / torch.where(spread > 0, spread, 1)
    return torch.where(spread > 0, made, image)


def _equalize(image: Tensor, _: Tensor) -> Tensor:
    levels = _whole(image).flatten(2)
    every = torch.arange(256, device=image.device)
    counts = torch.zeros(
        (*levels.shape[:2], 256), dtype=torch.long, device=image.device
    )
    counts.scatter_add_(2, levels, torch.ones_like(levels))
    highest = torch.where(counts > 0, every, 0).amax(2, keepdim=True)
    step = (levels.shape[2] - counts.gather(2, highest)) // 255
    below = counts.cumsum(2) - counts
    table = ((step // 2 + below) // step.clamp(min=1)).clamp(max=255)
    made = table.gather(2, levels).view_as(image) / 255
    return torch.where(step[..., None] > 0, made, image)


COLORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Brightness": lambda image, more: _blended(0, image, more),
    "Color": _color,
    "Contrast": _contrast,
    "Sharpness": _sharpness,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
    "Invert": lambda image, _: 1 - image,
}
"""Operations by name: images float [N, C, H, W] in [0, 1], magnitudes [N, 1, 1, 1]."""
