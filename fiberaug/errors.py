"""Every exception FiberAug raises on purpose.

    FiberAugError
    ├── UsageError (ValueError)      an argument is wrong; raised when an object is made
    ├── DataRefused (ValueError)     the data is not what it has to be
    │   ├── ShardDamaged             a shard or its index is broken
    │   ├── SampleBroken             one sample cannot be read, decoded or augmented
    │   ├── LimitExceeded            a size is above its limit
    │   ├── SecurityRefused          the data asks for something no honest shard needs
    │   └── BudgetExceeded           more samples are broken than ``max_errors`` allows
    ├── StoreError (OSError)         a file or an object cannot be read or written
    ├── StateMismatch (ValueError)   a state belongs to other data or another recipe
    ├── ReplayMismatch (ValueError)  a replay did not draw what the record says
    └── WorkerDied (RuntimeError)    a worker process ended without being asked to

Each carries ``shard``, ``key``, ``offset`` (byte in the shard) and ``stage``; what is
unknown is None.
"""

from typing import Self

__all__ = [
    "BudgetExceeded",
    "DataRefused",
    "FiberAugError",
    "LimitExceeded",
    "ReplayMismatch",
    "SampleBroken",
    "SecurityRefused",
    "ShardDamaged",
    "StateMismatch",
    "StoreError",
    "UsageError",
    "WorkerDied",
]


class FiberAugError(Exception):
    """Base class of all exceptions of FiberAug.

    Args:
        message: One line: the value, the bound and the remedy.
        shard: File name or URL of the shard, credentials removed.
        key: Key of the sample.
        offset: Byte in the shard at which the trouble was seen.
        stage: What was going on: ``read``, ``decode``, ``augment``, ``collate``, ...
    """

    def __init__(
        self,
        message: str,
        *,
        shard: str | None = None,
        key: str | None = None,
        offset: int | None = None,
        stage: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.shard = shard
        self.key = key
        self.offset = offset
        self.stage = stage

    def __str__(self) -> str:
        """Return the message, followed by where the sample came from."""
        place = [
            f"{name} {value}"
            for name, value in (
                ("shard", self.shard),
                ("key", self.key),
                ("offset", self.offset),
                ("stage", self.stage),
            )
            if value is not None
        ]
        return f"{self.message} [{', '.join(place)}]" if place else self.message

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with all attributes and notes: a worker's error arrives whole."""
        return type(self), (self.message,), self.__dict__

    def located(
        self,
        *,
        shard: str | None = None,
        key: str | None = None,
        offset: int | None = None,
        stage: str | None = None,
    ) -> Self:
        """Return this error with the places filled in that were unknown so far."""
        self.shard = self.shard if self.shard is not None else shard
        self.key = self.key if self.key is not None else key
        self.offset = self.offset if self.offset is not None else offset
        self.stage = self.stage if self.stage is not None else stage
        return self


class UsageError(FiberAugError, ValueError):
    """An argument is out of range or does not fit the others."""


class DataRefused(FiberAugError, ValueError):
    """The data is not what it has to be."""


class ShardDamaged(DataRefused):
    """A shard or its index is broken."""


class SampleBroken(DataRefused):
    """One sample cannot be read, decoded or augmented."""


class LimitExceeded(DataRefused):
    """A size is above its limit."""


class SecurityRefused(DataRefused):
    """The data asks for something that no honest shard needs."""


class BudgetExceeded(DataRefused):
    """More samples are broken than ``max_errors`` allows."""


class StoreError(FiberAugError, OSError):
    """A file or an object cannot be read or written."""


class StateMismatch(FiberAugError, ValueError):
    """A state belongs to other data, another plan or another recipe."""


class ReplayMismatch(FiberAugError, ValueError):
    """A replay did not draw what the record says."""


class WorkerDied(FiberAugError, RuntimeError):
    """A worker process ended without being asked to."""
