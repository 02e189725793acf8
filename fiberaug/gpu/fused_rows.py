"""What belongs to the rows of a batch: what was drawn for them, what they need."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from fiberaug.gpu.operation import SHARED, Operation, Params

__all__ = ["Numbers", "Placed", "RowParams", "Tensors"]

Tensors = Mapping[str, torch.Tensor]

Placed = tuple[Sequence[int] | None, Params]
"""Rows of the batch (None: all of them, in order) and their parameters."""


class Numbers(NamedTuple):
    """What a step needs of some rows, in two places."""

    host: Tensors
    """In memory: what is done is decided from these."""

    sent: Tensors
    """On the device of the images: these are computed with."""

    at_once: bool = False
    """Whether all rows are computed by the same kernels, reading nothing from
    ``host`` but what is to be done: what a device that is not waited for needs."""

    def of(self, here: torch.Tensor, there: torch.Tensor) -> "Numbers":
        """Return those of some rows, given by index in memory and on the device."""
        return Numbers(
            {name: value[here] for name, value in self.host.items()},
            {name: value[there] for name, value in self.sent.items()},
            self.at_once,
        )


class RowParams:
    """What was drawn for one operation, row by row.

    Args:
        operation: The operation.
        parts: Its parameters, as they are to run.
        rows: Rows of the batch.
    """

    def __init__(
        self, operation: Operation, parts: Sequence[Placed], rows: int
    ) -> None:
        self.rows = rows
        self._operation, self._parts = operation, parts
        self.on: npt.NDArray[np.bool_] = self._of(
            [operation.applied(params) for _, params in parts]
        ).numpy()
        """bool [rows]: what the operation is done to."""

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Return a parameter, dimension 0 being the rows of the batch."""
        found: npt.NDArray[Any] = self.tensor(name).numpy()
        return found

    def tensor(self, name: str) -> torch.Tensor:
        """Return the same as a tensor; what a unit shares stands in each row."""
        values = [params[name] for _, params in self._parts]
        if self._operation.layout.get(name) == SHARED:
            values = [
                value.expand(self._length(place), *value.shape)
                for value, (place, _) in zip(values, self._parts, strict=True)
            ]
        return self._of(values)

    def tensors(self) -> Params:
        """Return all parameters that every row has its own of."""
        kinds = self._operation.layout
        first = self._parts[0][1]
        return {name: self.tensor(name) for name in first if name not in kinds}

    def _length(self, place: Sequence[int] | None) -> int:
        return self.rows if place is None else len(place)

    def _of(self, values: Sequence[torch.Tensor]) -> torch.Tensor:
        if len(values) == 1 and self._parts[0][0] is None:
            return values[0].detach()
        found = values[0].new_zeros(self.rows, *values[0].shape[1:])
        for value, (place, _) in zip(values, self._parts, strict=True):
            found[place] = value.detach()
        return found
