"""The rounds of :mod:`fused_rounds` on pixels, on any device.

What is done is decided from the copy of the rounds in memory, numbers are read from
the copy on the device: nothing waits for the device. Operations on single pixels are
IEEE sums, products and comparisons, each rounded once, so that the pixels of a row do
not depend on the rows beside it.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch

from fiberaug.gpu.fused_rounds import HIGH, LOW, OFFSET, SCALE, Kind
from fiberaug.gpu.fused_rows import Numbers

__all__ = ["erase_mask", "run_rounds"]

SMALLEST = 1e-30
"""Divides where there is no colour; the quotient is multiplied by 0."""


def run_rounds(x: torch.Tensor, numbers: Numbers, gain: float = 1.0) -> torch.Tensor:
    """Return what rounds make of images.

    Args:
        x: float [rows, channels, H, W], contiguous; it is written to.
        numbers: The rounds.
        gain: Multiplies the pixels first.
    """
    affine = numbers.sent["affine"].to(x.dtype)[..., None, None]
    todo = np.bitwise_or.reduce(numbers.host["todo"].numpy(), axis=0).tolist()
    for i, bits in enumerate(todo):
        x = _affine(x, affine[:, i], bits, 1.0 if i else gain, at_once=numbers.at_once)
        if i + 1 < len(todo):
            x = _round(x, numbers, i)
    return x


def erase_mask(mask: torch.Tensor, numbers: Numbers) -> torch.Tensor:
    """Return masks that are 0 where images were erased.

    Args:
        mask: [rows, channels, H, W].
        numbers: The rounds of its images.
    """
    for i in range(numbers.host["kind"].shape[1]):
        if not (numbers.host["kind"][:, i] == Kind.ERASE).any():
            continue
        one = numbers.sent if numbers.at_once else numbers.host
        value = one["value"][:, i, :5].clone()
        value[:, 2] *= one["kind"][:, i] == Kind.ERASE  # no columns elsewhere
        value[:, 4] = 0
        if numbers.at_once:
            mask = _erase(mask, value.to(mask.dtype))
        else:
            mask = mask.clone()
            _erase_rows(mask, value)
    return mask


def _affine(
    x: torch.Tensor, rows: torch.Tensor, bits: int, gain: float, *, at_once: bool
) -> torch.Tensor:
    if not bits and gain == 1:
        return x
    scale, offset, low, high = rows.unbind(1)
    if gain != 1:
        scale, bits = scale * gain, bits | 1 << SCALE
    if not at_once:  # several sweeps of a cache cost less than one op for all of it
        if bits & 1 << SCALE:
            x.mul_(scale)
        if bits & 1 << OFFSET:
            x.add_(offset)
        if bits & 1 << LOW:
            torch.maximum(x, low, out=x)
        if bits & 1 << HIGH:
            torch.minimum(x, high, out=x)
        return x
    x = torch.addcmul(offset, x, scale) if bits & 3 else x
    return torch.clamp(x, low, high) if bits & 12 else x


def _round(x: torch.Tensor, numbers: Numbers, i: int) -> torch.Tensor:
    kinds = numbers.host["kind"][:, i].numpy()
    start = 0
    for kind, count in enumerate(np.bincount(kinds).tolist()):
        if kind and count == len(x):
            return _apply(x, Kind(kind), numbers, i)
        if kind and count:
            here = torch.from_numpy(np.flatnonzero(kinds == kind))
            there = here
            if numbers.at_once:
                there = numbers.sent["sorted"][start : start + count, i]
            part = _apply(x[there], Kind(kind), numbers.of(here, there), i)
            x.index_copy_(0, there, part)
        start += count
    return x


def _apply(x: torch.Tensor, kind: Kind, numbers: Numbers, i: int) -> torch.Tensor:
    value = numbers.sent["value"][:, i].to(x.dtype)
    if kind != Kind.ERASE:
        return _KINDS[kind](x, value[:, :, None, None])
    if numbers.at_once:
        return _erase(x, value)
    _erase_rows(x, numbers.host["value"][:, i])
    return x


def _mix(x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return _toward(x, _gray(x, value[:, 1:]), value[:, :1])


def _mean(x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    gray = _gray(x, value[:, 1:]).mean((2, 3), keepdim=True)
    return _toward(x, gray, value[:, :1])


def _toward(x: torch.Tensor, gray: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return x.mul_(factor).add_(gray.mul_(1 - factor))


def _shuffle(x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    index = value[:, 1 : 1 + x.shape[1]].long()
    return x.gather(1, index.expand_as(x))


def _solarize(x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return torch.where(x < value[:, :1], x, 1 - x)


def _gamma(x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return x.pow_(value[:, :1]).mul_(value[:, 1:2]).clamp_(0, 1)


def _gray(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    gray = x[:, :1] * weights[:, :1]
    for c in range(1, x.shape[1]):
        gray.add_(x[:, c : c + 1] * weights[:, c : c + 1])
    return gray


def _hue(x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Turn the hue and multiply the saturation of the HSV hexcone.

    With p = (x - min) / (max - min), the hue in sixths of the circle is
    1 + p_g + p_b - p_r on the side of green, and minus that on the side of blue.
    A channel is min + chroma * clamp(2 - d, 0, 1), d being the way round the circle
    from the hue to red, green (2) or blue (-2), as in the usual six cases.
    """
    turn, factor = value[:, 0], value[:, 1]
    r, g, b = x.unbind(1)
    top = torch.maximum(torch.maximum(r, g), b)
    low = torch.minimum(torch.minimum(r, g), b)
    chroma = top - low
    hue = (g - low).add_(b).sub_(r).div_(chroma.clamp(min=SMALLEST)).add_(1)
    hue = torch.copysign(hue, g - b).add_(turn)
    chroma.div_(top + 1e-8).mul_(factor).clamp_(max=1).mul_(top)
    low = top.sub_(chroma)
    for channel, place in enumerate((0.0, 2.0, -2.0)):
        way = (hue - place).abs_()  # at most 3 + 3 + 2: once round is 6
        way = torch.minimum(way, (way - 6).abs_())
        way.neg_().add_(2).clamp_(0, 1).mul_(chroma)
        torch.add(way, low, out=x[:, channel])
    return x


def _erase(x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    left, top, width, height, fill = value[:, :5, None, None, None].unbind(1)
    across = torch.arange(x.shape[3], device=x.device)
    down = torch.arange(x.shape[2], device=x.device)[:, None]
    inside = (across >= left) & (across < left + width)
    inside = inside & (down >= top) & (down < top + height)
    return torch.where(inside, fill, x)


def _erase_rows(x: torch.Tensor, value: torch.Tensor) -> None:
    for one, row in zip(x, value.tolist(), strict=True):
        first, line, columns, lines = map(int, row[:4])
        one[:, line : line + lines, first : first + columns] = row[4]


def _posterize(x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Keep the upper bits of 8, by the very sums of Kornia: a level is a cliff."""
    bits = value[:, :1]
    step = torch.exp2(8 - bits)
    levels = (x * 255).to(torch.uint8).to(x.dtype) / step / 255
    levels = (levels * 255).to(torch.uint8).to(x.dtype) * step / 255
    return torch.where(bits == 8, x, torch.where(bits == 0, 0.0, levels))


_KINDS: Mapping[Kind, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    Kind.HUE: _hue,
    Kind.MIX: _mix,
    Kind.MEAN: _mean,
    Kind.SHUFFLE: _shuffle,
    Kind.SOLARIZE: _solarize,
    Kind.POSTERIZE: _posterize,
    Kind.GAMMA: _gamma,
}
