"""Operations of a batch, brought together into fewer passes over the pixels.

A step samples once (flips, crops, turns, resizing, warps) and then runs one chain of
colour operations in the same pass, with the change from uint8 to float before and the
normalisation behind it. Parameters are those that the operations drew, so a step gives
what they give one by one:

- flips, quarter turns by whole pixels, crops and pads without anything else: bit for
  bit; of float images as of uint8 ones, which are divided by 255.
- colour: within :data:`COLOR_TOLERANCE` of a pixel in [0, 1], before a normalisation.
- one operation that samples, with any number of flips around it and crops and pads
  behind it: places agree within :data:`PLACE_TOLERANCE_PX` for each 256 px of the
  longer side, so pixels agree within that times the difference of neighbours. Sides
  of one pixel, which Kornia's warps and turns spread over the image, are excepted.
- masks are equal but for ties: places half way between two pixels, to the same
  tolerance. A quarter turn of an image whose sides differ by an odd number lies
  half a pixel off, and every pixel of its mask is a tie: all fall to one side.

Two operations that sample one after the other blur twice and so are two steps. What
has cliffs (solarize, posterize, gamma below 1 near 0) begins a step, so that nothing
before it is rounded otherwise than in Kornia; what came before a step can move its
input by the tolerances above, and values at a cliff fall either way.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fiberaug.gpu.fused_color import Color, color_of, normalize
from fiberaug.gpu.fused_geometry import Geometry
from fiberaug.gpu.fused_maps import Move, Size, move_of
from fiberaug.gpu.fused_pointwise import erase_mask, run_rounds
from fiberaug.gpu.fused_rounds import Rounds
from fiberaug.gpu.fused_rows import Numbers, Placed, RowParams
from fiberaug.gpu.fused_sampling import sample, sample_mask
from fiberaug.gpu.kornia_ops import KorniaOperation
from fiberaug.gpu.operation import Operation, Shape

__all__ = [
    "COLOR_TOLERANCE",
    "PLACE_TOLERANCE_PX",
    "FusedStep",
    "Prepared",
    "fuse",
    "send",
    "take_rows",
]

Prepared = dict[str, torch.Tensor]
"""What a step needs of a batch: dimension 0 is the row."""

COLOR_TOLERANCE = 1e-5
PLACE_TOLERANCE_PX = 5e-4

BLOCK_PX = 1 << 16
"""Pixels that a CPU works on at a time, so that they stay in its cache."""


def fuse(
    operations: Sequence[Operation], *, normalize: tuple[Any, Any] | None = None
) -> list["FusedStep | Operation"]:
    """Return operations brought together into steps, in their order.

    Args:
        operations: The operations.
        normalize: (mean, std), each a number or one for each channel, of pixels in
            [0, 1]: what comes out last is ``(x - mean) / std``.

    Returns:
        Steps, and between them the operations that no step takes: they run as they are.
    """
    steps: list[FusedStep | Operation] = []
    current: FusedStep | None = None
    unit = True
    for number, operation in enumerate(operations):
        module = operation.module if isinstance(operation, KorniaOperation) else None
        move, color = move_of(module), color_of(module)
        if not isinstance(operation, KorniaOperation) or not (move or color):
            steps.append(operation)
            current = None
        else:
            if current is None or not current.takes(move, color):
                current = FusedStep(unit=unit)
                steps.append(current)
            current.add(number, operation, move, color)
        unit = unit and move is not None
    if normalize is not None:
        if current is None:
            current = FusedStep(unit=unit)
            steps.append(current)
        current.normalize = normalize
    return steps


class FusedStep:
    """One pass: operations that move pixels, then operations on their colour.

    Args:
        unit: Whether what comes in is known to be in [0, 1].

    Attributes:
        numbers: Which operations of the list it runs.
        normalize: (mean, std) of what comes out, or None.
    """

    def __init__(self, *, unit: bool = True) -> None:
        self.numbers: list[int] = []
        self.normalize: tuple[Any, Any] | None = None
        self._unit = unit
        self._geometry = Geometry()
        self._moving: list[int] = []
        self._colors: list[tuple[int, KorniaOperation, Color]] = []

    def takes(self, move: Move | None, color: Color | None) -> bool:
        """Return whether an operation can be added."""
        if color is not None:
            return not (color.cliffs and self.numbers)
        if not self._colors:
            return move is not None and self._geometry.takes(move)
        # a flip changes places with what looks at single pixels
        return move is Move.FLIP and not any(c.places for _, _, c in self._colors)

    def add(
        self,
        number: int,
        operation: KorniaOperation,
        move: Move | None,
        color: Color | None,
    ) -> None:
        """Add an operation that the step takes."""
        self.numbers.append(number)
        if color is not None:
            self._colors.append((number, operation, color))
        elif move is not None:
            self._moving.append(number)
            self._geometry.add(operation, move)

    def size_after(self, size: Size) -> Size:
        """Return (height, width) of what comes out of images of ``size``."""
        return self._geometry.size_after(size)

    def prepare(self, parts: Sequence[Sequence[Placed]], shape: Shape) -> Prepared:
        """Return what a batch needs; all of the drawing is done.

        Args:
            parts: For each operation of the whole list the parameters of the batch.
            shape: (rows, channels, height, width) of the images before the step.

        Raises:
            UsageError: An operation cannot be done to such images.
        """
        rows, channels = shape[:2]
        found: Prepared = {}
        if self._moving:
            drawn = [
                RowParams(operation, parts[number], rows)
                for number, operation in zip(
                    self._moving, self._geometry.operations, strict=True
                )
            ]
            found |= self._geometry.prepare(drawn, shape)
        if self._colors or self.normalize:
            rounds = Rounds(
                rows, channels, sum(c.rounds for *_, c in self._colors), unit=self._unit
            )
            for number, operation, color in self._colors:
                one = RowParams(operation, parts[number], rows)
                color.write(rounds, operation.module, one)
            if self.normalize is not None:
                normalize(rounds, np.ones(rows, np.bool_), *self.normalize)
            found |= rounds.tensors()
        return _ordered(found)

    def run(
        self,
        image: torch.Tensor,
        prepared: Prepared,
        sent: Prepared | None = None,
        *,
        dtype: torch.dtype | None = None,
        memory_format: torch.memory_format = torch.contiguous_format,
        at_once: bool | None = None,
        kernel: bool = False,
    ) -> torch.Tensor:
        """Return new images.

        Args:
            image: [rows, channels, H, W] on any device: uint8, or float in [0, 1].
            prepared: What :meth:`prepare` gave, in memory.
            sent: The same on the device of the images; None sends it.
            dtype: Of what comes out. None: float64 for float64 images, else float32.
            memory_format: How it lies in memory.
            at_once: Whether all rows go through the same kernels. None: on devices; on
                a CPU they go one by one, or few by few, and the pixels of a row are
                bit for bit those that it would have alone.
            kernel: Whether a step runs as one Triton kernel where it can, see
                :mod:`fused_triton`: the same within the tolerances.

        Nothing waits for the device.

        Raises:
            UsageError: ``kernel`` needs Triton, and it is not installed.
        """
        dtype = _real(image) if dtype is None else dtype
        size = self.size_after((image.shape[2], image.shape[3]))
        if kernel:
            from fiberaug.gpu import fused_triton  # noqa: PLC0415  # takes its time

            if fused_triton.can_run(image, prepared):
                sent = send([prepared], image.device)[0] if sent is None else sent
                numbers = Numbers(prepared, sent, at_once=True)
                return fused_triton.run_kernel(
                    image, numbers, size, dtype, memory_format
                )
        if image.device.type != "cpu" if at_once is None else at_once:
            sent = send([prepared], image.device)[0] if sent is None else sent
            made = self._run(image, Numbers(prepared, sent, at_once=True), size)
            return made.to(dtype, copy=made is image, memory_format=memory_format)
        shape = (*image.shape[:2], *size)
        out = torch.empty(shape, dtype=dtype, memory_format=memory_format)
        before = image.shape[2] * image.shape[3]
        rows = max(1, BLOCK_PX // max(size[0] * size[1], before, 1))
        for start in range(0, len(image), rows):
            some = slice(start, start + rows)
            block = {name: value[some] for name, value in prepared.items()}
            out[some] = self._run(image[some], Numbers(block, block), size)
        return out

    def _run(self, image: torch.Tensor, numbers: Numbers, size: Size) -> torch.Tensor:
        x = sample(image, numbers, size) if self._moving else image
        levels = image.dtype == torch.uint8
        if levels and ("todo" not in numbers.host or self._exact):
            x, levels = torch.div(x, 255), False
        if "todo" not in numbers.host:
            return x
        real = _real(image)
        x = x.to(real, copy=x is image, memory_format=torch.contiguous_format)
        return run_rounds(x, numbers, 1 / 255 if levels else 1.0)

    @property
    def _exact(self) -> bool:
        return any(color.cliffs for *_, color in self._colors)

    def run_mask(
        self,
        mask: torch.Tensor,
        prepared: Prepared,
        sent: Prepared | None = None,
        *,
        at_once: bool | None = None,
    ) -> torch.Tensor:
        """Return masks: [rows, channels, H, W] of whole numbers, to the nearest pixel.

        There is 0 where there is no image or where it was erased. The mask itself is
        returned where nothing is done to it. Of masks of which rows have several,
        ``prepared`` is made by :func:`take_rows`.
        """
        if at_once is None:
            at_once = mask.device.type != "cpu"
        if sent is None:
            sent = send([prepared], mask.device)[0]
        numbers = Numbers(prepared, sent, at_once)
        if self._moving:
            size = self.size_after((mask.shape[2], mask.shape[3]))
            mask = sample_mask(mask, numbers, size)
        return erase_mask(mask, numbers) if "kind" in prepared else mask


def _real(image: torch.Tensor) -> torch.dtype:
    return torch.float64 if image.dtype == torch.float64 else torch.float32


def take_rows(prepared: Prepared, rows: Sequence[int]) -> Prepared:
    """Return what some rows need, each as often as it is named."""
    index = torch.as_tensor(list(rows), dtype=torch.long)
    return _ordered({name: value[index] for name, value in prepared.items()})


def _ordered(prepared: Prepared) -> Prepared:
    """Return the same with the rows sorted by what is done to them."""
    for name, by in (("order", "moved"), ("sorted", "kind")):
        if by in prepared:
            prepared[name] = prepared[by].argsort(dim=0, stable=True)
    return prepared


def send(
    prepared: Sequence[Prepared], device: torch.device | str
) -> list[dict[str, torch.Tensor]]:
    """Return the same on a device, or as it is where that is the memory.

    All of it goes there in one copy, which is not waited for.
    """
    device = torch.device(device)
    if device.type == "cpu":
        return [dict(one) for one in prepared]
    flat = [value.contiguous() for one in prepared for value in one.values()]
    starts = np.cumsum([0, *(-(-value.nbytes // 16) * 16 for value in flat)]).tolist()
    pinned = device.type == "cuda"
    buffer = torch.empty(starts[-1], dtype=torch.uint8, pin_memory=pinned)
    for value, start in zip(flat, starts, strict=False):
        raw = value.view(-1).view(torch.uint8)
        buffer[start : start + len(raw)] = raw
    there = buffer.to(device, non_blocking=True)
    parts = iter(
        there[start : start + value.nbytes].view(value.dtype).view(value.shape)
        for value, start in zip(flat, starts, strict=False)
    )
    return [{name: next(parts) for name in one} for one in prepared]
