"""Forked workers that never begin.

A process that is forked while another thread holds a lock of the interpreter or of a
library waits for that lock for ever: nobody is left there to release it. Python 3.11
has such a lock of its own (CPython issue 112275); it was met in ranks of
torch.distributed. Nothing was asked of such a worker and answered, so starting it again
loses nothing.
"""

import multiprocessing
from collections.abc import Sequence
from typing import Any

from fiberaug.processes import process_stat
from fiberaug.progress import Seen

__all__ = ["LIMIT_S", "Births"]

LIMIT_S = 5.0
"""Seconds of sleep without any work after which a worker does not begin any more."""


class Births:
    """Which of new workers has not begun, and does not even try.

    Args:
        workers: The processes, just started. Those that were not forked, and systems
            without ``/proc``, are not looked at.
        limit_s: Seconds of sleep after which a worker is stuck.
    """

    def __init__(self, workers: Sequence[Any], *, limit_s: float = LIMIT_S) -> None:
        self._pids = {w: p.pid for w, p in enumerate(workers) if _forked(p)}
        self._limit_s = limit_s
        self._slept_s = dict.fromkeys(self._pids, 0.0)
        self._work = {w: _work(pid) for w, pid in self._pids.items()}

    @property
    def due(self) -> bool:
        """Whether any worker has still to begin."""
        return bool(self._pids)

    def stuck(self, seen: Sequence[Seen], passed_s: float) -> int | None:
        """Return a worker that will not begin; None: there is none.

        Args:
            seen: What each worker is at.
            passed_s: Seconds since the last call.
        """
        for worker in [w for w in self._pids if seen[w].beat]:
            del self._pids[worker]
        for worker, pid in self._pids.items():
            work = _work(pid)
            # One that only gets no processor is not asleep; one that is stopped is
            # neither.
            still = work is not None and work == self._work[worker]
            self._slept_s[worker] = self._slept_s[worker] + passed_s if still else 0.0
            self._work[worker] = work
            if self._slept_s[worker] >= self._limit_s:
                return worker
        return None


def _forked(process: Any) -> bool:  # noqa: ANN401  # of any context
    method = (
        getattr(process, "_start_method", None) or multiprocessing.get_start_method()
    )
    return method == "fork"


def _work(pid: int) -> int | None:
    """Return the clock ticks of a sleeping process; None: it does not sleep."""
    words = process_stat(pid)
    return int(words[11]) + int(words[12]) if words and words[0] == "S" else None
