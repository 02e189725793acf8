"""What is drawn for a batch: for whole units, in the process that builds it."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.gpu.operation import Operation, Params, Part, Shape
from fiberaug.seeding import torch_seed, unit_key

__all__ = ["Drawer", "Parts", "RowDraw", "joined", "keyed_torch"]

_UNITS = 64  # units whose draws are kept: of the batches that a worker has at hand

Parts = list[tuple[list[int] | None, Params]]
"""(rows of the batch, parameters) of each part in which an operation runs; rows of None
are all of them, in order."""


class _Group(NamedTuple):
    """Rows of a batch that are of one unit and one view."""

    unit: int
    view: int
    rows: list[int]
    """Their rows in the unit."""

    places: list[int]
    """Their rows in the batch."""


class RowDraw(NamedTuple):
    """What was drawn for a row: for each operation that is done to it."""

    operations: list[tuple[int, dict[str, Any]]]
    """(number of the operation, its parameters)."""

    matrix: NDArray[np.float64] | None
    """[3, 3], pixels before to pixels after. None: nothing moves."""


@contextlib.contextmanager
def keyed_torch() -> Iterator[None]:
    """Put torch's global generator back afterwards."""
    state = torch.default_generator.get_state()
    try:
        yield
    finally:
        torch.default_generator.set_state(state)


def _stage_of(path: str, view: int) -> str:
    """Return the stage that an operation of a view draws from."""
    return f"gpu/{path}" + (f"/view {view}" if view else "")


class Drawer:
    """Draws for operations on batches, each from a key of its own.

    Args:
        operations: (path, operation).
        unit: b0, rows of a unit.
        seed: Seed of the run.
    """

    def __init__(
        self, operations: Sequence[tuple[str, Operation]], *, unit: int, seed: int
    ) -> None:
        self._operations = list(operations)
        self._unit, self._seed = unit, seed
        self._drawn: dict[tuple[Any, ...], list[Params]] = {}
        self._shapes: dict[tuple[int, int, int], list[Shape]] = {}
        self._moves = any(operation.moves for _, operation in operations)

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what was drawn."""
        return {**self.__dict__, "_drawn": {}}

    def shapes(self, shape: tuple[int, int, int]) -> list[Shape]:
        """Return the shape of a unit before each operation, and after the last.

        Args:
            shape: (channels, height, width) of the images.
        """
        found = self._shapes.get(shape)
        if found is None:
            channels, size = shape[0], (shape[1], shape[2])
            found = [(self._unit, channels, *size)]
            for _, operation in self._operations:
                size = operation.size_after(size)
                found.append((self._unit, channels, *size))
            self._shapes[shape] = found
        return found

    def __call__(
        self, epoch: int, rows: Sequence[tuple[int, int]], shape: tuple[int, int, int]
    ) -> tuple[list[Parts], list[RowDraw]]:
        """Return the parameters of a batch by operation and by unit, and by row.

        Args:
            epoch: Epoch, from 0.
            rows: (position, view) of each row.
            shape: (channels, height, width) of the images.
        """
        groups = _groups(rows, self._unit)
        units = [self._unit_of(epoch, g.unit, g.view, shape) for g in groups]
        found = [RowDraw([], np.eye(3) if self._moves else None) for _ in rows]
        drawn: list[Parts] = []
        for number, (_, operation) in enumerate(self._operations):
            before = self.shapes(shape)[number]
            parts: Parts = []
            for group, unit in zip(groups, units, strict=True):
                params = operation.take(unit[number], group.rows)
                _note(number, operation, params, before, group.places, found)
                parts.append((group.places, params))
            drawn.append(parts)
        return drawn, found

    def _unit_of(
        self, epoch: int, unit: int, view: int, shape: tuple[int, int, int]
    ) -> list[Params]:
        """Return the parameters of all b0 rows of a unit, for each operation."""
        name = (epoch, unit, view, shape)
        found = self._drawn.get(name)
        if found is None:
            while len(self._drawn) >= _UNITS:
                self._drawn.pop(next(iter(self._drawn)))
            found = self._drawn[name] = self._draw(epoch, unit, view, shape)
        return found

    def _draw(
        self, epoch: int, unit: int, view: int, shape: tuple[int, int, int]
    ) -> list[Params]:
        drawn = []
        with keyed_torch():
            for (path, operation), before in zip(
                self._operations, self.shapes(shape), strict=False
            ):
                key = unit_key(self._seed, epoch, unit, _stage_of(path, view))
                torch.default_generator.manual_seed(torch_seed(key))
                params = operation.draw(before)
                if "batch_prob" not in params:
                    raise UsageError(
                        f"{operation.name}.draw must return batch_prob, float"
                        f" [{before[0]}]: 1 for rows that the operation is done to"
                    )
                drawn.append(params)
        return drawn


def joined(operation: Operation, parts: Parts) -> Parts:
    """Return parts of units as the fewest that can run."""
    rows = [place for places, _ in parts for place in places or ()]
    found = operation.join([Part(len(p or ()), params) for p, params in parts])
    if len(found) > 1 or not found:
        return parts
    inverse = np.argsort(rows).tolist()
    params = found[0].params
    if inverse != list(range(len(inverse))):
        params = operation.take(params, inverse)
    return [(None, params)]


def _groups(rows: Sequence[tuple[int, int]], unit: int) -> list[_Group]:
    found: dict[tuple[int, int], _Group] = {}
    for place, (position, view) in enumerate(rows):
        name = position // unit, view
        group = found.setdefault(name, _Group(*name, [], []))
        group.rows.append(position % unit)
        group.places.append(place)
    return list(found.values())


def _note(
    number: int,
    operation: Operation,
    params: Params,
    shape: Shape,
    places: Sequence[int],
    found: list[RowDraw],
) -> None:
    """Note for each row what an operation does to it."""
    applied = operation.applied(params).tolist()
    matrix = operation.matrix(params, (len(places), *shape[1:]))
    moves = None if matrix is None else matrix.double().numpy()
    for i, place in enumerate(places):
        row = found[place]
        if applied[i]:
            row.operations.append((number, operation.row(params, i)))
        if moves is not None and row.matrix is not None:
            found[place] = row._replace(matrix=moves[i] @ row.matrix)
