"""What a process is at: a few numbers that another process can read when it hangs.

A sample is noted before each of its stages. A note is a handful of stores into memory,
which a worker shares with the main process; nothing is sent and nothing is locked.
"""

import struct
from typing import NamedTuple

__all__ = ["ROW_BYTES", "STAGES", "Progress", "Seen"]

STAGES = ("start", "idle", "read", "fetch", "decode", "augment", "collate")
"""What a worker can be at; ``fetch`` waits for a store, which has limits of its own."""

START, IDLE, READ, FETCH, DECODE, AUGMENT, COLLATE = range(len(STAGES))

_NUMBERS = struct.Struct("8q")  # beat, stage, batch, epoch, position, shard, index, key
_HEAD = struct.Struct("2q")
_NUMBER = struct.Struct("q")
_MOST_KEY_BYTES = 448
ROW_BYTES = _NUMBERS.size + _MOST_KEY_BYTES
"""Bytes that one process writes to."""


class Seen(NamedTuple):
    """What a process was at."""

    beat: int
    """Grows with every note: the same number means no progress."""

    stage: str
    """One of :data:`STAGES`."""

    batch: int
    """First position of the batch that it was asked for last; -1: none yet."""

    epoch: int
    position: int
    shard: int
    """Number of the shard; -1: no sample is being made."""

    row: int
    """Row of the shard that the plan deals."""

    key: str | None
    """Key of the sample, once it is known; cut at 448 bytes."""


class Progress:
    """The notes of one process.

    Args:
        memory: :data:`ROW_BYTES` bytes that are written to, zeros at first. None: of
            this process alone.
    """

    __slots__ = ("_batch", "_beat", "_epoch", "_row")

    def __init__(self, memory: memoryview | None = None) -> None:
        self._row = memoryview(bytearray(ROW_BYTES)) if memory is None else memory
        self._beat = self._batch = self._epoch = 0

    def begin(self, first: int, epoch: int) -> None:
        """Note that the batch at position ``first`` of an epoch is being made."""
        self._batch, self._epoch = first + 1, epoch
        self.enter(READ)

    def sample(self, position: int, shard: int, index: int, stage: int) -> None:
        """Note that a sample is being read; its key is not known yet."""
        self._beat += 1
        _NUMBERS.pack_into(
            self._row, 0, self._beat, stage, self._batch, self._epoch, position,
            shard + 1, index, 0,
        )  # fmt: skip

    def name(self, key: str, stage: int) -> None:
        """Note the key of the sample, and its next stage."""
        data = key.encode(errors="replace")[:_MOST_KEY_BYTES]
        end = _NUMBERS.size + len(data)
        self._row[_NUMBERS.size : end] = data
        self._beat += 1
        _HEAD.pack_into(self._row, 0, self._beat, stage)
        _NUMBER.pack_into(self._row, _NUMBERS.size - 8, len(data))

    def enter(self, stage: int) -> None:
        """Note the stage; ``collate`` and ``idle`` are of no sample."""
        self._beat += 1
        if stage in {DECODE, AUGMENT}:
            _HEAD.pack_into(self._row, 0, self._beat, stage)
        else:
            _NUMBERS.pack_into(
                self._row, 0, self._beat, stage, self._batch, self._epoch, 0, 0, 0, 0
            )

    def see(self) -> Seen:
        """Return the latest notes."""
        beat, stage, batch, epoch, position, shard, index, length = (
            _NUMBERS.unpack_from(self._row)
        )
        key = None
        if shard and length:
            text = bytes(self._row[_NUMBERS.size : _NUMBERS.size + length])
            key = text.decode(errors="replace")
        return Seen(
            beat, STAGES[stage], batch - 1, epoch, position, shard - 1, index, key
        )
