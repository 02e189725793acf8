"""Allocators as they hand out memory: what a process has is more than what is in use.

A C library keeps holes between pieces that are in use. glibc's asks the system for
pieces above 32 MiB by themselves and gives these back (mallopt(3), M_MMAP_THRESHOLD);
the others lie in a heap. torch asks for aligned memory, so a hole seldom serves for
another piece of its size. What torch keeps on a GPU is told in its notes on CUDA
("Memory management").
"""

from bisect import bisect_left, insort
from typing import NamedTuple, Protocol

__all__ = ["CachingHeap", "Heap", "HoledHeap", "Piece", "heap_of"]

_MIB = 2**20
_ALONE = 32 * _MIB  # bytes, from which on a piece leaves no hole
_HOLES = 1.30  # bytes of a heap per byte in use; found in 28 trainings: 1.2 to 1.4


class Piece(NamedTuple):
    """Memory that was handed out."""

    size: int
    """Bytes."""

    at: int
    """Where it begins in the heap; 0 where that is not known."""


class Heap(Protocol):
    """Hands out memory."""

    peak: int
    """Most bytes that the process has had by it."""

    def take(self, size: int) -> Piece:
        """Return memory of so many bytes."""
        ...

    def give(self, piece: Piece) -> None:
        """Take memory back."""
        ...


class HoledHeap:
    """The allocator of a C library: what is in use, and holes in proportion.

    Args:
        alone: Bytes from which on a piece comes and goes by itself, without a hole.
    """

    def __init__(self, alone: int = _ALONE) -> None:
        self._alone = alone
        self.peak = 0
        """Most bytes that the process has had by it."""

        self._held = 0.0

    def take(self, size: int) -> Piece:
        """Return memory of so many bytes."""
        self._held += self._with_hole(size)
        self.peak = max(self.peak, round(self._held))
        return Piece(size, 0)

    def give(self, piece: Piece) -> None:
        """Take memory back."""
        self._held -= self._with_hole(piece.size)

    def _with_hole(self, size: int) -> float:
        return size if size >= self._alone else size * _HOLES


class CachingHeap:
    """torch's allocator of a GPU: whole segments are asked for and kept.

    Small pieces come from segments of 2 MiB, pieces below 10 MiB from segments of
    20 MiB, larger ones from segments of their own, rounded up to 2 MiB. Not compared
    with a GPU yet.
    """

    def __init__(self) -> None:
        self.peak = 0
        """Most bytes that were asked for."""

        self._free: dict[bool, list[Piece]] = {False: [], True: []}  # sorted

    def take(self, size: int) -> Piece:
        """Return memory of so many bytes."""
        size = -(-max(size, 1) // 512) * 512
        small = size <= _MIB
        free = self._free[small]
        found = bisect_left(free, (size, -1))
        if found < len(free):
            have, at = free.pop(found)
        else:
            have, at = _segment(size), self.peak
            self.peak += have
        rest = have - size
        if rest >= (512 if small else _MIB):
            insort(free, Piece(rest, at + size))
        else:
            size = have
        return Piece(size, at)

    def give(self, piece: Piece) -> None:
        """Take memory back; it stays with the process."""
        size, at = piece
        free = self._free[size <= _MIB]
        for near in [one for one in free if at in {sum(one), one.at - piece.size}]:
            free.remove(near)
            size, at = size + near.size, min(at, near.at)
        insort(free, Piece(size, at))


def _segment(size: int) -> int:
    if size <= _MIB:
        return 2 * _MIB
    return 20 * _MIB if size < 10 * _MIB else -(-size // (2 * _MIB)) * 2 * _MIB


def heap_of(device: str, *, at_once: bool = False) -> Heap:
    """Return the allocator of a kind of device.

    Args:
        device: ``cpu`` or ``cuda``.
        at_once: Whether a C library gives pieces of a megabyte and more back at once,
            see :func:`fiberaug.allocator.give_back_at_once`.
    """
    if device == "cuda":
        return CachingHeap()
    return HoledHeap(_MIB if at_once else _ALONE)
