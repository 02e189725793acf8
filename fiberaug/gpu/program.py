"""A list of batch operations: drawn for units in the worker, run on the whole batch.

The worker draws, takes the rows that it has, moves boxes and points, and sends what was
drawn; the main process runs the pixels. Neither needs the other's state.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch

from fiberaug.errors import UsageError
from fiberaug.gpu.drawing import Drawer, RowDraw, joined
from fiberaug.gpu.fused import FusedStep, fuse, send, take_rows
from fiberaug.gpu.operation import Operation, Shape
from fiberaug.gpu.running import Drawn, of_owners, run_parts

__all__ = ["Program"]

_LEVELS = 255.0
_Normalize = tuple[Sequence[float] | float, Sequence[float] | float]


class Program:
    """Operations on batches, one after the other.

    Args:
        operations: (path, operation); paths are those of records.
        unit: b0, rows of a unit.
        seed: Seed of the run.
        normalize: (mean, std) of pixels in [0, 1], each a number or one for each
            channel: what comes out last is ``(x - mean) / std``.
        fused: Bring operations together into fewer passes over the pixels;
            ``"triton"`` as kernels of Triton, where a pass has one.

    Raises:
        UsageError: ``fused`` is something else, or Triton is not installed.
    """

    def __init__(
        self,
        operations: Sequence[tuple[str, Operation]],
        *,
        unit: int,
        seed: int,
        normalize: _Normalize | None = None,
        fused: bool | str = True,
    ) -> None:
        if fused not in {True, False, "triton"}:
            raise UsageError(f"fused must be True, False or 'triton', got {fused!r}")
        if fused == "triton" and find_spec("triton") is None:
            raise UsageError(
                "fused='triton' needs Triton, which comes with torch's builds for GPUs:"
                " install it, or leave fused out"
            )
        self.paths = [path for path, _ in operations]
        self.operations = [operation for _, operation in operations]
        self.fused = fused
        self._normalize = None if fused else normalize
        self._drawer = Drawer(operations, unit=unit, seed=seed)
        self._steps: list[FusedStep | Operation] = [*self.operations]
        if fused:
            self._steps = fuse(self.operations, normalize=normalize)

    @property
    def leaves(self) -> list[tuple[str, str]]:
        """(path, name) of each operation, as records give them."""
        named = zip(self.paths, self.operations, strict=True)
        return [(f"gpu.{path}", operation.name) for path, operation in named]

    @property
    def moves(self) -> bool:
        """Whether pixels can move."""
        return any(operation.moves for operation in self.operations)

    def described(self) -> list[dict[str, Any]]:
        """Return ``{name: arguments}`` of each operation, or what it is as ``text``."""
        return [_described(operation) for operation in self.operations]

    def why_not_replayable(self) -> str | None:
        """Return why descriptions do not bring the operations back, or None."""
        from fiberaug.gpu.replayable import why_not  # noqa: PLC0415  # 2 s of import

        for (path, _), operation in zip(self.leaves, self.operations, strict=True):
            reason = why_not(operation)
            if reason is not None:
                return f"{path}: {reason}"
        return None

    def shapes(self, shape: tuple[int, int, int]) -> list[Shape]:
        """Return the shape of a unit before each operation, and after the last.

        Args:
            shape: (channels, height, width) of the images.
        """
        return self._drawer.shapes(shape)

    def draw(
        self, epoch: int, rows: Sequence[tuple[int, int]], shape: tuple[int, int, int]
    ) -> tuple[Drawn, list[RowDraw]]:
        """Return the parameters of a batch, and of each of its rows.

        Args:
            epoch: Epoch, from 0.
            rows: (position, view) of each row.
            shape: (channels, height, width) of the images.

        Raises:
            UsageError: An operation cannot be done to such images.
        """
        parts, found = self._drawer(epoch, rows, shape)
        steps: list[Any] = []
        number = 0
        for step in self._steps:
            if isinstance(step, FusedStep):
                before = self.shapes(shape)[number][1:]
                try:
                    steps.append(step.prepare(parts, (len(rows), *before)))
                except UsageError as error:
                    names = [" ".join(self.leaves[n]) for n in step.numbers]
                    error.message = f"{', '.join(names)}: {error.message}"
                    raise
                number += len(step.numbers)
            else:
                steps.append(joined(step, parts[number]))
                number += 1
        return Drawn(steps), found

    def run(
        self,
        image: torch.Tensor,
        drawn: Drawn,
        *,
        dtype: torch.dtype | None = None,
        memory_format: torch.memory_format | None = None,
    ) -> torch.Tensor:
        """Return float images, normalised where that was asked for.

        Args:
            image: uint8 [B, C, H, W], or float in [0, 1], on any device.
            drawn: Parameters of the batch.
            dtype: Of what comes out, where the last step is fused.
            memory_format: How it lies in memory, where the last step is fused.

        Raises:
            UsageError: An operation refuses the batch; the message names it.
        """
        sent = iter(send([s for s in drawn.steps if isinstance(s, dict)], image.device))
        number = 0
        for step, params in zip(self._steps, drawn.steps, strict=True):
            if isinstance(step, FusedStep):
                last = step is self._steps[-1]
                image = step.run(
                    image,
                    params,
                    next(sent),
                    dtype=dtype if last else None,
                    memory_format=(last and memory_format) or torch.contiguous_format,
                    kernel=self.fused == "triton",
                )
                number += len(step.numbers)
                continue
            try:
                image = run_parts(step, _as_float(image), params)
            except (ValueError, TypeError, RuntimeError) as error:
                raise self._refused(number, image, error) from error
            number += 1
        image = _as_float(image)
        if self._normalize is None:
            return image
        mean, std = (_channels(value, image) for value in self._normalize)
        return (image - mean) / std

    def run_mask(
        self, mask: torch.Tensor, drawn: Drawn, owners: Sequence[int] | None = None
    ) -> torch.Tensor:
        """Return masks: float [N, 1, H, W] of whole numbers.

        Args:
            mask: The masks.
            drawn: Parameters of the batch.
            owners: Row of the batch that each mask belongs to. None: one each.
        """
        for step, params in zip(self._steps, drawn.steps, strict=True):
            if isinstance(step, FusedStep):
                rows = params if owners is None else take_rows(params, owners)
                mask = step.run_mask(mask, rows)
            elif step.moves:
                parts = params if owners is None else of_owners(step, params, owners)
                mask = run_parts(step, mask, parts, of_masks=True)
        return mask

    def _refused(
        self, number: int, image: torch.Tensor, error: Exception
    ) -> UsageError:
        said = error.message if isinstance(error, UsageError) else error
        return UsageError(
            f"{' '.join(self.leaves[number])} cannot be done to the batch"
            f" {list(image.shape)} {image.dtype}: {said}",
            stage="augment",
        )


def _as_float(image: torch.Tensor) -> torch.Tensor:
    return image.float().div_(_LEVELS) if image.dtype == torch.uint8 else image


def _channels(value: Sequence[float] | float, like: torch.Tensor) -> torch.Tensor:
    made = torch.tensor(value, dtype=torch.float32).reshape(-1, 1, 1)
    return made.to(like.device, non_blocking=True)


def _described(operation: Operation) -> dict[str, Any]:
    """Return ``{name: arguments}``, or the operation as ``text``."""
    from fiberaug.gpu.spec import spec_of  # noqa: PLC0415  # 2 s of import

    try:
        return dict(spec_of(operation))
    except UsageError:
        module = getattr(operation, "module", operation)
        kind = type(module)
        text = str(module) if hasattr(module, "forward") else _values(module)
        return {"text": f"{kind.__module__}.{kind.__qualname__}: {text}"}


def _values(operation: object) -> str:
    """Return the attributes of an operation of the user's, so far as they are plain."""
    plain = (bool, int, float, str, tuple, list, dict, type(None))
    held = sorted(vars(operation).items())
    return ", ".join(f"{k}={v!r:.200}" for k, v in held if isinstance(v, plain))
