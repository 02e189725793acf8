"""Memory of batches that is used again as soon as nobody has the batch any more.

Memory that is new has to be cleared by the system, page by page, and that takes as long
as normalising does. A buffer is used again when, and only when, the last tensor that
lies in it is gone, and with it every view, slice and array of it.
"""

import threading
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Buffers"]

_LEAST_BYTES = 65_536  # the C library keeps smaller pieces itself
_UNUSED_BATCHES = 8
_STEP = 4096


class Buffers:
    """Memory for the tensors of batches; safe in several threads.

    Args:
        most: Buffers that are kept for later, for each tensor of a batch.
        pinned: Page-locked memory. torch keeps that itself for later, and knows when a
            copy to the GPU is done with it.
    """

    def __init__(self, most: int, *, pinned: bool = False) -> None:
        self._most, self._pinned = most, pinned
        self._lock = threading.Lock()
        # Where buffers come back, from whatever thread lets go of a tensor, also in the
        # middle of our own work: it takes no lock.
        self._back: deque[NDArray[np.uint8]] = deque()
        self._idle: list[tuple[int, NDArray[np.uint8]]] = []  # (batch, buffer)
        self._batch = self._taken = self._fields = 0

    @property
    def idle(self) -> int:
        """Buffers that wait for their next use."""
        return len(self._idle) + len(self._back)

    def next_batch(self) -> None:
        """Begin a batch: drop what the latest batches had no use for."""
        with self._lock:
            self._fields = max(1, self._taken)
            self._taken = 0
            self._batch += 1
            self._collect()

    def clear(self) -> None:
        """Drop what waits for its next use."""
        with self._lock:
            self._back.clear()
            self._idle.clear()

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> torch.Tensor:
        """Return a tensor that holds anything, contiguous, in memory of its own.

        Args:
            shape: Its shape.
            dtype: Its dtype, one that torch has.
        """
        if self._pinned:
            kind = torch.from_numpy(np.empty(0, dtype)).dtype
            return torch.empty(tuple(shape), dtype=kind, pin_memory=True)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if size < _LEAST_BYTES:
            return torch.from_numpy(np.empty(shape, dtype))
        buffer = self._buffer(_rounded(size))
        # The tensor, and all that torch and numpy make of it, keep this one array.
        lease = buffer[:size].view(dtype).reshape(shape)
        returned = weakref.finalize(
            lease, _come_back, self._back, buffer, self._most * self._fields
        )
        returned.atexit = False
        return torch.from_numpy(lease)

    def _buffer(self, size: int) -> NDArray[np.uint8]:
        with self._lock:
            self._taken += 1
            self._collect()
            for at in reversed(range(len(self._idle))):
                if len(self._idle[at][1]) == size:
                    return self._idle.pop(at)[1]
        return np.empty(size, np.uint8)

    def _collect(self) -> None:
        while self._back:
            self._idle.append((self._batch, self._back.popleft()))
        most = self._most * max(self._fields, self._taken)
        late = self._batch - _UNUSED_BATCHES
        self._idle = [entry for entry in self._idle[-most:] if entry[0] >= late]


def _come_back(
    back: deque[NDArray[np.uint8]], buffer: NDArray[np.uint8], most: int
) -> None:
    if len(back) < most:
        back.append(buffer)


def _rounded(size: int) -> int:
    """Return a length of at least ``size`` bytes and at most an eighth more.

    Batches of nearly one size take each other's place.
    """
    step = max(_STEP, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step
