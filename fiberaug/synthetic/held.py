"""An object that worker processes share with the one that starts them."""

import multiprocessing
import sys
from collections.abc import Callable
from itertools import count
from typing import Any, Generic, TypeVar

__all__ = ["Held", "single_threaded"]

_T = TypeVar("_T")
_numbers = count()
_sources: dict[int, tuple[Any, bool]] = {}
_objects: dict[int, Any] = {}


class Held(Generic[_T]):
    """An object that a worker has because it was forked: it need not be pickled.

    Where processes are spawned it is pickled, once for each batch.

    Args:
        source: The object, or a function without arguments that makes it: each process
            then makes its own when it first needs it.
        factory: Whether it is such a function.
    """

    def __init__(self, source: _T | Callable[[], _T], *, factory: bool) -> None:
        self._number = next(_numbers)
        _sources[self._number] = source, factory

    def get(self) -> _T:
        """Return the object of this process."""
        number = self._number
        if number not in _objects:
            source, factory = _sources[number]
            _objects[number] = source() if factory else source
        return _objects[number]  # type: ignore[no-any-return]  # of any type

    def release(self) -> None:
        """Forget the object."""
        _objects.pop(self._number, None)
        _sources.pop(self._number, None)

    def __getstate__(self) -> dict[str, Any]:
        """Return the number, and the object where a new process cannot have it."""
        forks = "fork" in multiprocessing.get_all_start_methods()
        return {
            "number": self._number,
            "source": None if forks else _sources[self._number],
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the number, and the object where it came along."""
        self._number = state["number"]
        if state["source"] is not None:
            _sources.setdefault(self._number, state["source"])


def single_threaded() -> None:
    """Let torch use one thread in this worker.

    Each core has a process of its own, and OpenMP's threads do not survive a fork.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
