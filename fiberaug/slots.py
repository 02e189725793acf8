"""Slots of shared memory that are used again: how batches travel without copies.

A worker writes the arrays of a batch where the main process reads them. All slots of a
set of workers lie in one anonymous file in memory (``memfd_create``, Linux): it has no
name, so nothing is left of it when the last process that has it ends, however it ends;
and it is not bound by the size of ``/dev/shm``, which is 64 MB in a container.

The file is as long as all slots together can become, and takes only the memory of the
pages that were written to. So a slot never has to be made longer, and memory is bounded
by the number of slots times the largest batch.

Sources: memfd_create(2), shm_overview(7).
"""

import contextlib
import mmap
import os
import sys
import weakref
from multiprocessing.reduction import DupFd
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_SLOT", "Placed", "Slots", "available", "open_slots"]

NO_SLOT = -1
"""Of what travels in no slot."""

_STRIDE = 2**36
"""Bytes between two slots of the file: no batch is larger."""

_STEP = 65_536


class Placed(NamedTuple):
    """Where an array lies in a slot."""

    offset: int
    """From the start of the slot, bytes."""

    shape: tuple[int, ...]
    dtype: str


def available() -> bool:
    """Return whether this system has memory without a name."""
    return hasattr(os, "memfd_create") and hasattr(mmap, "MAP_SHARED")


class Slots:
    """Slots in shared memory, and which of them are free.

    The process that makes them gives them out; worker processes get them by fork, or
    pickled while they start. Who has a slot alone writes to it.

    Args:
        count: Number of slots.

    Raises:
        OSError: The system has no such memory.
    """

    def __init__(self, count: int) -> None:
        self._fd = os.memfd_create("fiberaug", os.MFD_CLOEXEC)
        self._owner, self._count = os.getpid(), count
        self._maps: dict[int, mmap.mmap] = {}
        self._free: list[int] = []
        self._close = weakref.finalize(self, os.close, self._fd)
        self._close.atexit = False
        try:
            os.ftruncate(self._fd, count * _STRIDE)
        except OSError:
            self._close()
            raise
        self.free_all()

    def __getstate__(self) -> dict[str, Any]:
        """Hand on the memory to a process that starts."""
        return {"fd": DupFd(self._fd), "count": self._count, "owner": self._owner}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the memory in a process that starts."""
        self._fd = state["fd"].detach()
        self._owner, self._count = state["owner"], state["count"]
        self._maps, self._free = {}, []
        self._close = weakref.finalize(self, os.close, self._fd)
        self._close.atexit = False

    def take(self) -> int:
        """Return a slot that is free, the one that was used last; or :data:`NO_SLOT`.

        Its pages are there already, and some still in the CPU's cache.
        """
        return self._free.pop() if self._free else NO_SLOT

    def give_back(self, slot: int) -> None:
        """Make a slot free again: nobody writes to it or reads it."""
        if slot != NO_SLOT:
            self._free.append(slot)

    def free_all(self) -> None:
        """Make all slots free: nobody writes to any of them or reads it."""
        self._free = list(reversed(range(self._count)))

    @property
    def free(self) -> int:
        """How many slots are free."""
        return len(self._free)

    def memory(self, slot: int, size: int) -> mmap.mmap:
        """Return the first bytes of a slot, at least ``size`` of them, to write to.

        Raises:
            OSError: So much is not to be had.
        """
        found = self._maps.get(slot)
        if found is None or len(found) < size:
            length = _rounded(size)
            if length > _STRIDE:
                raise OSError(f"a slot holds at most {_STRIDE} bytes, asked for {size}")
            # What still looks at the old mapping keeps it.
            # Python keeps a descriptor of each mapping, where it can be told not to.
            options = {"trackfd": False} if sys.version_info >= (3, 13) else {}
            found = mmap.mmap(self._fd, length, offset=slot * _STRIDE, **options)
            self._maps[slot] = found
        return found

    def array(self, slot: int, placed: Placed) -> NDArray[Any]:
        """Return an array that lies in a slot: the slot's own memory, no copy."""
        dtype = np.dtype(placed.dtype)
        size = int(np.prod(placed.shape)) * dtype.itemsize
        memory = self.memory(slot, placed.offset + size)
        return np.ndarray(placed.shape, dtype, memory, placed.offset)

    def close(self) -> None:
        """Let go of the memory, once the workers have ended.

        Other processes that were forked meanwhile have the file, too, and would keep
        its pages: they are taken out of it.
        """
        maps = [weakref.ref(mapped) for mapped in self._maps.values()]
        self._maps, self._free = {}, []
        # A traceback, say, can still show an array: its memory stays until it is gone.
        shown = any(mapped() is not None for mapped in maps)
        if self._close.alive and not shown and os.getpid() == self._owner:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
        self._close()


def open_slots(count: int) -> Slots | None:
    """Return slots, or None where the system has none."""
    if not available():
        return None
    try:
        return Slots(count)
    except OSError:
        return None


def _rounded(size: int) -> int:
    """Return a length of at least ``size`` bytes and at most an eighth more.

    Batches of several sizes are mapped anew only now and then.
    """
    step = max(_STEP, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step
