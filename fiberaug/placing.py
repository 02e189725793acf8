"""The arrays of a batch, written into a slot of shared memory and found there again."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fiberaug.slots import Placed, Slots
from fiberaug.stacks import DENSE, Stack

__all__ = ["found", "place"]

_PLACED_BYTES = 4096  # smaller arrays travel in the message
_ALIGN = 64  # a line of the CPU's cache

_Array = Stack | NDArray[Any]


def place(data: dict[str, Any], slots: Slots, slot: int) -> tuple[dict[str, Any], int]:
    """Write the arrays of a batch into a slot, also those in lists.

    Returns:
        The batch with :class:`fiberaug.slots.Placed` instead of its large arrays, and
        the bytes of the slot that they take.

    Raises:
        OSError: There is no room for them; nothing has changed.
    """
    layout = _Layout()
    laid = {name: layout.place(value) for name, value in data.items()}
    if layout.end:
        slots.memory(slot, layout.end)
    for placed, array in layout.arrays:
        out = slots.array(slot, placed)
        if isinstance(array, Stack):
            array.write(out)
        else:
            out[...] = array
    return laid, layout.end


def found(data: dict[str, Any], slots: Slots, slot: int, size: int) -> dict[str, Any]:
    """Return a batch with its arrays, which are the slot's own memory.

    Args:
        data: What :func:`place` returned.
        slots: The same slots, in whatever process.
        slot: Which slot.
        size: Bytes of it that are taken.
    """
    slots.memory(slot, size)  # in one piece
    return {name: _found(value, slots, slot) for name, value in data.items()}


def _found(value: Any, slots: Slots, slot: int) -> Any:  # noqa: ANN401  # whatever a field holds
    if isinstance(value, list):
        return [slots.array(slot, v) if isinstance(v, Placed) else v for v in value]
    return slots.array(slot, value) if isinstance(value, Placed) else value


class _Layout:
    """Where the arrays of a batch come to lie in a slot."""

    def __init__(self) -> None:
        self.end = 0
        self.arrays: list[tuple[Placed, _Array]] = []

    def place(self, value: Any) -> Any:  # noqa: ANN401  # whatever a field holds
        """Return a value with places instead of its large arrays."""
        if isinstance(value, list):
            return [self._place(item) for item in value]
        return self._place(value)

    def _place(self, value: Any) -> Any:  # noqa: ANN401  # whatever a field holds
        if not _is_dense(value):
            return value
        array = cast("_Array", value)
        if array.nbytes < _PLACED_BYTES:
            return array.array() if isinstance(array, Stack) else array
        shape = array.whole if isinstance(array, Stack) else array.shape
        placed = Placed(-(-self.end // _ALIGN) * _ALIGN, shape, array.dtype.str)
        self.end = placed.offset + array.nbytes
        self.arrays.append((placed, array))
        return placed


def _is_dense(value: Any) -> bool:  # noqa: ANN401  # whatever a field holds
    if isinstance(value, np.ndarray):
        return value.dtype.kind in DENSE
    return isinstance(value, Stack)
