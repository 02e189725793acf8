"""What the batch engine runs: an operation whose draws are apart from its pixels.

A unit of b0 rows is drawn at once, always for all of its rows, by whoever builds a
batch that has some of them. Rows are then taken out of the unit and joined with those
of other units, so a row's parameters depend neither on the batch nor on the process.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

__all__ = ["BATCH", "OFFSET", "ROW", "SHARED", "Operation", "Params", "Part", "Shape"]

Params = dict[str, torch.Tensor]
"""Drawn parameters by name; tensors in memory, never on a device."""

Shape = tuple[int, int, int, int]
"""(rows, channels, height, width) of a batch."""

ROW = "row"
"""Dimension 0 is the row."""

SHARED = "shared"
"""One value for all rows of the unit; units that differ cannot run as one batch."""

OFFSET = "offset"
"""Dimension 0 is the row, and values are numbers of rows."""

BATCH = "batch"
"""What the library notes of a whole batch: its shape, its dtype; equal for all units
but for the number of rows."""


class Part(NamedTuple):
    """Some rows of one unit, with their parameters."""

    rows: int
    params: Params


class Operation(ABC):
    """An operation on batches.

    Args:
        name: Class name, as records give it.
    """

    layout: Mapping[str, str] = {}
    """How each parameter lies: :data:`ROW`, :data:`SHARED`, :data:`OFFSET` or
    :data:`BATCH`; a name that is not there is a :data:`ROW`."""

    joined = True
    """Whether rows of several units can run as one batch of the same pixels."""

    moves = False
    """Whether it moves pixels, so that boxes and points have to go along."""

    resizes = False
    """Whether images can change their size."""

    loses_points: str | None = None
    """Why boxes and points cannot go along, where they cannot."""

    loses_masks: str | None = None
    """Why masks cannot go along, where they cannot."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def draw(self, shape: Shape) -> Params:
        """Return the parameters of all rows, from torch's global generator.

        The caller has seeded it from the unit's key and puts it back.
        """

    @abstractmethod
    def run(self, image: torch.Tensor, params: Params) -> torch.Tensor:
        """Return images: float [B, C, H, W], pixels in [0, 1]; on any device."""

    def run_mask(self, mask: torch.Tensor, params: Params) -> torch.Tensor:
        """Return masks: float [B, 1, H, W] of whole numbers, to the nearest pixel."""
        del params
        return mask

    def size_after(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return (height, width) of what comes out of images of ``size``.

        torch's generator stays as it is.
        """
        return size

    def matrix(self, params: Params, shape: Shape) -> torch.Tensor | None:
        """Return float32 [B, 3, 3]: pixels (x, y, 1) before to pixels after.

        Pixel centres are whole numbers. None: nothing moves.
        """
        del params, shape
        return None

    def applied(self, params: Params) -> torch.Tensor:
        """Return bool [B]: which rows the operation is done to."""
        return params["batch_prob"] > 0.5

    def row(self, params: Params, row: int) -> dict[str, Any]:
        """Return what stands in the record of a row: arrays and numbers by name.

        It is asked of rows that the operation is done to.
        """
        found: dict[str, Any] = {}
        for name, value in params.items():
            kind = self._kind(name)
            if kind == BATCH or name == "batch_prob":
                continue
            if kind == SHARED:
                found[name] = value.numpy()
            elif kind == ROW:
                one = value[row]
                found[name] = one.item() if one.dim() == 0 else one.numpy()
        return found

    def take(self, params: Params, rows: Sequence[int]) -> Params:
        """Return the parameters of some rows of a unit, as of a batch of these rows."""
        index = torch.as_tensor(list(rows), dtype=torch.long)
        return {
            name: value[index]
            if self._kind(name) == ROW
            else self._of_batch(name, value, len(index))
            for name, value in params.items()
        }

    def join(self, parts: Sequence[Part]) -> list[Part]:
        """Return the parts as the fewest that can run, one behind the other."""
        if not self.joined or len(parts) < 2:
            return list(parts)
        rows = sum(part.rows for part in parts)
        joined = {
            name: torch.cat([part.params[name] for part in parts])
            if self._kind(name) == ROW
            else self._of_batch(name, value, rows)
            for name, value in parts[0].params.items()
        }
        return [Part(rows, joined)]

    def _kind(self, name: str) -> str:
        return self.layout.get(name, ROW)

    def _of_batch(self, name: str, value: torch.Tensor, rows: int) -> torch.Tensor:
        """Return a parameter that is no row's own, for another number of rows."""
        if self._kind(name) == OFFSET:
            shape = -1, *[1] * (value.dim() - 1)
            return torch.arange(rows, dtype=value.dtype).view(shape)
        if name == "forward_input_shape":
            value = value.clone()
            value[0] = rows
        return value
