"""Which positions of an epoch a log holds, and which of them several times."""

from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["ABSENT", "Positions"]

_BITS = 12
_BLOCK = 1 << _BITS
ABSENT = 255
"""Source of a position that no record has."""


class Positions:
    """What was delivered at the positions of an epoch, of one view.

    It takes 7 bytes a position, in blocks of 4,096.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, tuple[array[int], array[int], array[int]]] = {}
        self.count = 0
        """Positions that were seen."""

    def add(
        self, position: int, digest: int, attempt: int, source: int
    ) -> tuple[int, int] | None:
        """Note what stands at a position.

        Args:
            position: From 0.
            digest: A checksum of it, in [1, 2**32).
            attempt: Number of the attempt of the run, in [0, 2**16).
            source: Number of its source, in [0, 255).

        Returns:
            (digest, attempt) of what stood there before; None: nothing did.
        """
        number = position >> _BITS
        block = self._blocks.get(number)
        if block is None:
            block = (
                array("I", bytes(4 * _BLOCK)),
                array("H", bytes(2 * _BLOCK)),
                array("B", bytes([ABSENT]) * _BLOCK),
            )
            self._blocks[number] = block
        at = position & (_BLOCK - 1)
        digests, attempts, sources = block
        if digests[at]:
            before = digests[at], attempts[at]
            attempts[at] = attempt
            return before
        digests[at], attempts[at], sources[at] = digest, attempt, source
        self.count += 1
        return None

    def runs(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield (first position, sources [K]) of what follows each other, in order."""
        first, end = 0, -1
        parts: list[NDArray[np.uint8]] = []
        for start, part in self._pieces():
            if parts and start != end:
                yield first, np.concatenate(parts)
                parts = []
            if not parts:
                first = start
            parts.append(part)
            end = start + len(part)
        if parts:
            yield first, np.concatenate(parts)

    def _pieces(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield (first position, sources) of what follows each other in a block."""
        for number in sorted(self._blocks):
            sources = np.frombuffer(self._blocks[number][2], np.uint8)
            edges = np.flatnonzero(np.diff(sources == ABSENT)) + 1
            starts = [0, *edges.tolist()]
            for start, part in zip(starts, np.split(sources, edges), strict=True):
                if part[0] != ABSENT:
                    yield (number << _BITS) + start, part

    def holes(self) -> list[tuple[int, int]]:
        """Return (first, end) of what is missing below the last position seen."""
        found, end = [], 0
        for first, part in self._pieces():
            if first > end:
                found.append((end, first))
            end = first + len(part)
        return found

    @property
    def begin(self) -> int:
        """The first position that was seen."""
        return next((first for first, _ in self._pieces()), 0)

    @property
    def end(self) -> int:
        """The position behind the last one that was seen."""
        return max((first + len(part) for first, part in self._pieces()), default=0)
