"""Small files of int64 words, each written by one process and read by many.

Words are in the machine's byte order and written in place, each with one call: whoever
reads sees a word whole. That two words belong to different moments must harm nobody.
What was written stays when the process is killed.
"""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np

from fiberaug.errors import StoreError

__all__ = ["WORD", "Words", "held", "hold"]

WORD = 8
"""Bytes of a word."""


class Words:
    """A file of int64 words that this object alone writes.

    Args:
        path: The file.
        count: Number of words; a new file has -1 in each.

    Raises:
        StoreError: It cannot be opened, or the disk is full.
    """

    def __init__(self, path: Path, count: int) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            self._file = path.open("r+b", buffering=0)
            hold(self._file)
            found = self._file.read()
            if len(found) != count * WORD:
                found = b"\xff" * (count * WORD)
                self._file.seek(0)
                self._file.write(found)
        except OSError as error:
            raise StoreError(f"cannot open {path}: {error.strerror}") from error
        self._lock = threading.Lock()
        self.values: list[int] = np.frombuffer(found, np.int64).tolist()
        """The words as this object knows them."""

    def put(self, word: int, value: int) -> None:
        """Write one word, where it is another.

        Raises:
            StoreError: The disk is gone.
        """
        if self.values[word] == value:
            return
        self.values[word] = value
        try:
            with self._lock:
                self._file.seek(word * WORD)
                self._file.write(value.to_bytes(WORD, sys.byteorder, signed=True))
        except OSError as error:
            raise StoreError(f"cannot write {self._file.name}: {error}") from error

    def add(self, word: int, amount: int) -> None:
        """Add to a word.

        Raises:
            StoreError: The disk is gone.
        """
        self.put(word, self.values[word] + amount)

    @property
    def removed(self) -> bool:
        """Whether the file has no name any more."""
        return os.fstat(self._file.fileno()).st_nlink == 0

    def close(self) -> None:
        """Close the file; a process that was forked from this one keeps its own."""
        self._file.close()

    def __del__(self) -> None:
        """Close the file, as when its thread ends."""
        file = getattr(self, "_file", None)  # None: it could not be opened
        if file is not None:
            file.close()


def hold(file: IO[bytes]) -> None:
    """Hold a lock as long as this process, or one forked from it, has the file open."""
    with suppress(ImportError):  # Windows: files of takers that ended stay
        import fcntl  # noqa: PLC0415

        fcntl.flock(file, fcntl.LOCK_SH)


def held(path: Path) -> bool:
    """Return whether a process holds the lock of :func:`hold` on a file."""
    try:
        import fcntl  # noqa: PLC0415

        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return True
    return False
