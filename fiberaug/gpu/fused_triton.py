# ruff: noqa: ANN001, ANN202, C901, N803, PLR0912, PLR0915, PLR0917
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
"""A fused step as one Triton kernel: each pixel is read once and written once.

It is asked for by name (``FusedStep.run(kernel=True)``), for images of 3 channels on a
CUDA device where Triton is installed, as it is with torch's CUDA wheels. Steps that it
cannot do run as they do without it. With ``TRITON_INTERPRET=1`` it runs on a CPU.
"""

from types import SimpleNamespace
from typing import Any

import torch

from fiberaug.errors import UsageError
from fiberaug.gpu.fused_rounds import Kind
from fiberaug.gpu.fused_rows import Numbers, Tensors

try:
    import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from triton import language as tl
except ImportError:  # it comes with torch's CUDA wheels alone
    triton, tl = None, SimpleNamespace(constexpr=Any)

__all__ = ["can_run", "run_kernel"]

Size = tuple[int, int]

BLOCK = 256
"""Pixels of a program, two a thread: compiled for a Hopper device, 56 registers."""

KINDS = (Kind.NONE, Kind.HUE, Kind.MIX, Kind.ERASE)


def can_run(image: torch.Tensor, host: Tensors) -> bool:
    """Return whether a step can run as one kernel on such images.

    Args:
        image: The images.
        host: What was prepared, in memory.

    Raises:
        UsageError: Triton is not installed.
    """
    if triton is None:
        raise UsageError(
            "kernel=True needs Triton, which is not installed; pip install triton, or"
            " leave it out"
        )
    if image.shape[1] != 3 or image.dtype == torch.float64:
        return False
    kinds = host["kind"] if "kind" in host else torch.zeros(1)
    return bool(torch.isin(kinds, torch.tensor(KINDS)).all())


def run_kernel(
    image: torch.Tensor,
    numbers: Numbers,
    size: Size,
    dtype: torch.dtype,
    memory_format: torch.memory_format,
) -> torch.Tensor:
    """Return images as a step leaves them.

    Args:
        image: [rows, 3, H, W], uint8 or float, on the device.
        numbers: What was prepared; :func:`can_run` it.
        size: (height, width) of what comes out, px.
        dtype: Of what comes out.
        memory_format: How it lies in memory.
    """
    image, sent = image.contiguous(), numbers.sent
    out = torch.empty(
        (len(image), 3, *size), dtype=dtype, device=image.device,
        memory_format=memory_format,
    )  # fmt: skip
    if not len(image):
        return out
    nothing = out  # stands for what the step does not have, and is not read
    names = ("theta", "whole", "moved", "rect", "bounds", "affine", "kind", "value")
    has = {f"HAS_{name.upper()}": name in sent for name in names[:6]}
    rounds = sent["kind"].shape[1] if "kind" in sent else 0
    values = sent["value"].shape[2] if "value" in sent else 0
    grid = (len(image), triton.cdiv(size[0] * size[1], BLOCK))
    _kernel[grid](
        image, out, *(sent.get(name, nothing).contiguous() for name in names),
        *image.shape[2:], *size, *out.stride(), rounds,
        1 / 255 if image.dtype == torch.uint8 else 1.0,
        VALUES=values, BLOCK=BLOCK, **has,
    )  # fmt: skip
    return out


def _jit(function: Any) -> Any:  # noqa: ANN401  # a kernel of Triton's
    return function if triton is None else triton.jit(function)


@_jit
def _read(place, x, y, height, width, covered):
    inside = covered & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return tl.load(place + y * width + x, mask=inside, other=0).to(tl.float32)


@_jit
def _bilinear(place, x, y, right, down, height, width, covered):
    upper = _read(place, x, y, height, width, covered) * (1 - right)
    upper += _read(place, x + 1, y, height, width, covered) * right
    lower = _read(place, x, y + 1, height, width, covered) * (1 - right)
    lower += _read(place, x + 1, y + 1, height, width, covered) * right
    return upper * (1 - down) + lower * down


@_jit
def _affine(x, at, channel):
    x = x * tl.load(at + channel) + tl.load(at + 3 + channel)
    x = tl.maximum(x, tl.load(at + 6 + channel))
    return tl.minimum(x, tl.load(at + 9 + channel))


@_jit
def _wave(hue, place, low, chroma):
    way = tl.abs(hue - place)
    way = tl.minimum(way, tl.abs(way - 6))
    return low + tl.minimum(tl.maximum(2 - way, 0.0), 1.0) * chroma


@_jit
def _kernel(
    image, out, theta, whole, moved, rect, bounds, affine, kind, value,
    height, width, out_height, out_width,
    row_step, channel_step, line_step, column_step, rounds, gain,
    HAS_THETA: tl.constexpr, HAS_WHOLE: tl.constexpr, HAS_MOVED: tl.constexpr,
    HAS_RECT: tl.constexpr, HAS_BOUNDS: tl.constexpr, HAS_AFFINE: tl.constexpr,
    VALUES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < out_height * out_width
    line, column = at // out_width, at % out_width
    across, down = column.to(tl.float32), line.to(tl.float32)
    x, y = across, down
    if HAS_WHOLE:
        m = whole + row * 6
        a, b, c = tl.load(m), tl.load(m + 1), tl.load(m + 2)
        d, e, f = tl.load(m + 3), tl.load(m + 4), tl.load(m + 5)
        x = (a * column + b * line + c).to(tl.float32)
        y = (d * column + e * line + f).to(tl.float32)
    if HAS_THETA:
        t = theta + row * 9
        depth = tl.load(t + 6) * across + tl.load(t + 7) * down + tl.load(t + 8)
        place_x = tl.load(t) * across + tl.load(t + 1) * down + tl.load(t + 2)
        place_y = tl.load(t + 3) * across + tl.load(t + 4) * down + tl.load(t + 5)
        place_x, place_y = place_x / depth, place_y / depth
        if HAS_BOUNDS:
            box = bounds + row * 4
            place_x = tl.minimum(tl.maximum(place_x, tl.load(box)), tl.load(box + 1))
            place_y = tl.maximum(place_y, tl.load(box + 2))
            place_y = tl.minimum(place_y, tl.load(box + 3))
        place_x = ((place_x + 1) * width - 1) * 0.5
        place_y = ((place_y + 1) * height - 1) * 0.5
        if HAS_BOUNDS:
            place_x = tl.minimum(tl.maximum(place_x, 0.0), width - 1.0)
            place_y = tl.minimum(tl.maximum(place_y, 0.0), height - 1.0)
        if HAS_MOVED:
            between = tl.load(moved + row) != 0
            x, y = tl.where(between, place_x, x), tl.where(between, place_y, y)
        else:
            x, y = place_x, place_y
    covered = inside
    if HAS_RECT:
        part = rect + row * 4
        covered = covered & (column >= tl.load(part)) & (column <= tl.load(part + 2))
        covered = covered & (line >= tl.load(part + 1)) & (line <= tl.load(part + 3))
    x = tl.minimum(tl.maximum(x, -2.0), width + 1.0)  # far outside is outside
    y = tl.minimum(tl.maximum(y, -2.0), height + 1.0)
    left, top = tl.floor(x), tl.floor(y)
    right, under = x - left, y - top
    left_px, top_px = left.to(tl.int32), top.to(tl.int32)
    plane = height * width
    first = image + row * 3 * plane
    second, third = first + plane, first + 2 * plane
    r = _bilinear(first, left_px, top_px, right, under, height, width, covered)
    g = _bilinear(second, left_px, top_px, right, under, height, width, covered)
    b = _bilinear(third, left_px, top_px, right, under, height, width, covered)
    r, g, b = r * gain, g * gain, b * gain
    if HAS_AFFINE:
        for i in range(rounds + 1):
            numbers = affine + (row * (rounds + 1) + i) * 12
            r, g, b = (
                _affine(r, numbers, 0),
                _affine(g, numbers, 1),
                _affine(b, numbers, 2),
            )
            if i < rounds:
                v = value + (row * rounds + i) * VALUES
                done = tl.load(kind + row * rounds + i)
                if done == 1:  # hue: see fused_pointwise
                    high = tl.maximum(tl.maximum(r, g), b)
                    low = tl.minimum(tl.minimum(r, g), b)
                    chroma = high - low
                    hue = (g - low + b - r) / tl.maximum(chroma, 1e-30) + 1
                    hue = tl.where(g < b, -hue, hue) + tl.load(v)
                    chroma = chroma / (high + 1e-8) * tl.load(v + 1)
                    chroma = tl.minimum(chroma, 1.0) * high
                    r = _wave(hue, 0.0, high - chroma, chroma)
                    g = _wave(hue, 2.0, high - chroma, chroma)
                    b = _wave(hue, -2.0, high - chroma, chroma)
                elif done == 2:  # towards grey
                    gray = r * tl.load(v + 1) + g * tl.load(v + 2) + b * tl.load(v + 3)
                    factor = tl.load(v)
                    gray = gray * (1 - factor)
                    r, g, b = r * factor + gray, g * factor + gray, b * factor + gray
                elif done == 4:  # a rectangle
                    hit = (across >= tl.load(v)) & (down >= tl.load(v + 1))
                    hit = hit & (across < tl.load(v) + tl.load(v + 2))
                    hit = hit & (down < tl.load(v + 1) + tl.load(v + 3))
                    fill = tl.load(v + 4)
                    r = tl.where(hit, fill, r)
                    g = tl.where(hit, fill, g)
                    b = tl.where(hit, fill, b)
    to = out + row * row_step + line * line_step + column * column_step
    tl.store(to, r.to(out.dtype.element_ty), mask=inside)
    tl.store(to + channel_step, g.to(out.dtype.element_ty), mask=inside)
    tl.store(to + 2 * channel_step, b.to(out.dtype.element_ty), mask=inside)
