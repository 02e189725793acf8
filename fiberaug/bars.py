"""Progress bars that no other process can stop."""

import os
import threading
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

from tqdm import tqdm

__all__ = ["ProgressBar"]

if TYPE_CHECKING:
    _Tqdm = tqdm[Any]
else:
    _Tqdm = tqdm  # no generic where it runs


class ProgressBar(_Tqdm):
    """A tqdm whose lock is of this process alone, and that starts no thread.

    tqdm shares its lock with the processes forked from this one, and takes it even for
    a bar that is not shown: one of them, killed while it held the lock, would stop
    every later bar of this process for good. Its thread would be there at each fork.
    """

    _lock = threading.RLock()
    _instances: ClassVar[WeakSet["ProgressBar"]] = WeakSet()  # guarded by the lock
    monitor_interval = 0

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  # tqdm's
        # Without the thread tqdm would not notice that steps have become slow.
        super().__init__(*args, **{"miniters": 1, **options})


def _free() -> None:
    """Replace the lock: in a forked process its holder may not be there."""
    ProgressBar._lock = threading.RLock()  # noqa: SLF001  # tqdm has no other way


if hasattr(os, "register_at_fork"):  # not where no process can be forked
    os.register_at_fork(after_in_child=_free)
