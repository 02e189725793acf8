"""A few background threads that work through a list which can change."""

import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable

__all__ = ["Fetchers"]

_log = logging.getLogger("fiberaug")


class Fetchers:
    """Threads that do ``work(item)`` for the wanted items, the first one first.

    They are started when something is wanted and end when nothing is left, so no thread
    is idle and none is there before a fork. They are daemons: a stalled transfer keeps
    no process from ending. What fails is left to whoever needs the item, who tries
    again and gets the error.

    Args:
        work: What to do; called in a thread, with one item.
        most: Threads at a time.
    """

    def __init__(self, work: Callable[[int], None], *, most: int) -> None:
        self._jobs = _Jobs(work, most)
        # The threads know the jobs, not us: a pool that is dropped ends them.
        weakref.finalize(self, self._jobs.waiting.clear)

    def want(self, items: Iterable[int]) -> None:
        """Put items behind those that wait; one that is there keeps its place."""
        self._jobs.add(items)

    @property
    def busy(self) -> bool:
        """Whether a thread runs."""
        return self._jobs.threads > 0


class _Jobs:
    def __init__(self, work: Callable[[int], None], most: int) -> None:
        self.work, self.most = work, most
        self.waiting: deque[int] = deque()
        self.running: set[int] = set()
        self.threads = 0
        self.lock = threading.Lock()

    def add(self, items: Iterable[int]) -> None:
        with self.lock:
            known = {*self.waiting, *self.running}
            self.waiting.extend(item for item in items if item not in known)
            missing = min(self.most - self.threads, len(self.waiting))
            self.threads += missing
        for _ in range(missing):
            threading.Thread(
                target=self.run, name="fiberaug-fetch", daemon=True
            ).start()

    def run(self) -> None:
        while True:
            with self.lock:
                try:
                    item = self.waiting.popleft()
                except IndexError:
                    self.threads -= 1
                    return
                self.running.add(item)
            try:
                self.work(item)
            except Exception as error:  # noqa: BLE001  # the reader will meet it too
                _log.debug("shard %d could not be fetched ahead: %s", item, error)
            finally:
                with self.lock:
                    self.running.discard(item)
