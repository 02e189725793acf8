"""Many short byte strings in two arrays: a million take what they weigh."""

from array import array
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["Packed", "Packing"]

_BLOCK = 4096  # ends that are numbers of Python at once


class Packed(Sequence[bytes]):
    """A sequence of byte strings that cannot be changed.

    Args:
        data: All strings, end to end.
        ends: Where each ends, int64 [N].
    """

    __slots__ = ("_data", "_ends")

    def __init__(self, data: bytes, ends: NDArray[np.int64]) -> None:
        self._data, self._ends = data, ends

    @overload
    def __getitem__(self, i: int) -> bytes: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[bytes]: ...
    def __getitem__(self, i: int | slice) -> bytes | Sequence[bytes]:
        """Return one string, or a list of some."""
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        if not -len(self) <= i < len(self):
            raise IndexError(i)
        i %= len(self)
        begin = int(self._ends[i - 1]) if i else 0
        return self._data[begin : int(self._ends[i])]

    def __len__(self) -> int:
        """Return the number of strings."""
        return len(self._ends)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the strings."""
        data, begin = self._data, 0
        for at in range(0, len(self._ends), _BLOCK):
            for end in self._ends[at : at + _BLOCK].tolist():
                yield data[begin:end]
                begin = end

    def add_to(self, digest: blake2b) -> None:
        """Add all strings and their lengths to a hash."""
        digest.update(np.ascontiguousarray(self._ends, "<i8").data)
        digest.update(self._data)

    def lengths(self) -> NDArray[np.int64]:
        """Return the length of each string, bytes, int64 [N]."""
        return np.diff(self._ends, prepend=0)

    def take(self, rows: NDArray[np.int64]) -> "Packed":
        """Return the strings of some rows, in their order."""
        ends = self._ends[rows]
        begins = np.where(rows == 0, 0, self._ends[rows - 1])
        data, cuts = self._data, zip(begins.tolist(), ends.tolist(), strict=True)
        joined = b"".join([data[begin:end] for begin, end in cuts])
        return Packed(joined, np.cumsum(ends - begins))


class Packing:
    """Byte strings that are being packed."""

    def __init__(self) -> None:
        self._data, self._ends = bytearray(), array("q")

    def append(self, string: bytes) -> None:
        """Add one string."""
        self._data += string
        self._ends.append(len(self._data))

    def done(self) -> Packed:
        """Return all of them."""
        return Packed(bytes(self._data), np.array(self._ends, np.int64))
