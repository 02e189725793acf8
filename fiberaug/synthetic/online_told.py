"""What the generator's process tells of itself, in a file of words."""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fiberaug.synthetic.online_words import WORD, Words

__all__ = ["Seen", "Told", "read_told"]

_MADE, _BUSY_US, _BYTES, _BEAT_NS, _RESTARTS, _RUNNING = range(6)
_COUNT = 6


class Told:
    """The words of the generator's process; they outlive it.

    Args:
        path: Their file.
    """

    def __init__(self, path: Path) -> None:
        self._words = Words(path, _COUNT)

    def begin(self) -> None:
        """Tell that a process has begun; one before it that did not end is counted."""
        for word, value in enumerate(self._words.values):
            self._words.put(word, max(value, 0))
        self._words.add(_RESTARTS, self._words.values[_RUNNING])
        self._words.put(_RUNNING, 1)

    def end(self) -> None:
        """Tell that the process ends because it was asked to, or with its parent."""
        self._words.put(_RUNNING, 0)

    def beat(self) -> None:
        """Tell that it makes progress."""
        self._words.put(_BEAT_NS, time.time_ns())

    def made(self, samples: int) -> None:
        """Count samples."""
        self._words.add(_MADE, samples)

    def worked(self, seconds: float) -> None:
        """Add time that samples took."""
        self._words.add(_BUSY_US, round(1e6 * seconds))

    def holds(self, size: int) -> None:
        """Tell the bytes of the buffer."""
        self._words.put(_BYTES, size)


class Seen(NamedTuple):
    """What another process reads of it."""

    made: int
    """Samples, those made again included."""

    busy_s: float
    """Seconds that they took."""

    buffer_bytes: int
    """Bytes of the samples in the buffer."""

    beat_s: float
    """When it last made progress, seconds since 1970; 0: none has begun."""

    restarts: int
    """Processes that ended without being asked to and were followed by another."""


def read_told(path: Path) -> Seen:
    """Return what the generator's process tells; zeros where none has begun."""
    try:
        data = path.read_bytes()
    except OSError:
        data = b""
    if len(data) != _COUNT * WORD:
        return Seen(0, 0.0, 0, 0.0, 0)
    words = np.maximum(np.frombuffer(data, np.int64), 0).tolist()
    return Seen(
        words[_MADE], words[_BUSY_US] / 1e6, words[_BYTES], words[_BEAT_NS] / 1e9,
        words[_RESTARTS],
    )  # fmt: skip
