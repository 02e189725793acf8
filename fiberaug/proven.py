"""Which samples are known to decode, shared by the processes of a run."""

import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["Proven"]


_MOST = 2**33  # samples: a gigabyte of bits


class Proven:
    """One bit for each sample of a set: it was decoded whole, and nothing was wrong.

    It is a memory of facts alone: what a sample looks like, and whether it is broken,
    does not depend on it, only how much of a file is decoded again. Two processes that
    write into one byte at once can lose a bit, which costs one decoding more. Forked
    processes share the bits; others learn them by themselves.

    Args:
        counts: Samples of each shard.
    """

    def __init__(self, counts: Sequence[int]) -> None:
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._bits = self._blank()

    @classmethod
    def of(cls, counts: Sequence[int | None]) -> "Proven | None":
        """Return a memory of a set; None where it is not known how large it is."""
        known = [count for count in counts if count is not None]
        if len(known) < len(counts) or sum(known) > _MOST:
            return None
        return cls(known)

    def _blank(self) -> mmap.mmap:
        # Without a file behind it: the size of /dev/shm is no limit, and pages that
        # nobody writes take no memory.
        return mmap.mmap(-1, max(1, -(-int(self._starts[-1]) // 8)))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the bits behind: they are of this process and its forks."""
        return {"_starts": self._starts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin with nothing known."""
        self._starts = state["_starts"]
        self._bits = self._blank()

    def has(self, shard: int, index: int) -> bool:
        """Return whether a sample of a shard is known to decode."""
        byte, bit = divmod(int(self._starts[shard]) + index, 8)
        return bool(self._bits[byte] >> bit & 1)

    def add(self, shard: int, index: int) -> None:
        """Note that a sample of a shard decodes."""
        byte, bit = divmod(int(self._starts[shard]) + index, 8)
        self._bits[byte] |= 1 << bit
