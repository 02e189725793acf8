"""Worker processes watched from outside: which one died or hangs, and at what.

Each worker notes what it is at in shared memory. A thread of the main process waits for
the first that ends without being asked to, or that makes no progress while the consumer
waits. It then ends the others, which wakes the consumer, however it waits.
"""

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, NamedTuple

import torch

from fiberaug.births import LIMIT_S, Births
from fiberaug.progress import ROW_BYTES, Progress, Seen

__all__ = ["Board", "Death", "OwnWatch", "Watch", "reveal_stack"]

# Of the signals that no one else uses; there are none on Windows.
_STACK_SIGNAL = getattr(signal, "SIGRTMAX", 0) - 3
_QUIET = frozenset({"idle", "fetch"})
_OURS = ("_wait_for_parent", "in _feed", "in _serve", "in reveal_stack")
_STACK_S = 2.0
_BIRTH_TICK_S = 0.5
_MOST_STACK_BYTES = 65_536


class Board:
    """What the workers are at, in memory that they share with the main process.

    Args:
        workers: Number of workers.
    """

    def __init__(self, workers: int) -> None:
        rows = torch.zeros((workers, ROW_BYTES), dtype=torch.uint8)
        self._rows = rows.share_memory_()  # type: ignore[no-untyped-call]
        pipes = [Pipe(duplex=False) for _ in range(workers)]
        self._readers = [reader for reader, _ in pipes]
        self._writers = [writer for _, writer in pipes]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the ends of the pipes behind that only the main process reads."""
        return {**self.__dict__, "_readers": []}

    def row(self, worker: int) -> Progress:
        """Return the notes of a worker."""
        return Progress(memoryview(self._rows[worker].numpy()))

    def see(self) -> list[Seen]:
        """Return what each worker is at."""
        return [self.row(worker).see() for worker in range(len(self._rows))]

    def writer(self, worker: int) -> Connection:
        """Return where a worker writes its stack, in that worker."""
        return self._writers[worker]

    def stack(self, worker: int, wait_s: float) -> str:
        """Return the stack that a worker wrote, waiting for it; empty: none came."""
        data, reader = b"", self._readers[worker]
        while len(data) < _MOST_STACK_BYTES and reader.poll(0.2 if data else wait_s):
            read = os.read(reader.fileno(), _MOST_STACK_BYTES)
            if not read:
                break
            data += read
        return _readable(data.decode(errors="replace"))

    def close(self) -> None:
        """Close the pipes."""
        for end in (*self._readers, *self._writers):
            end.close()


def _readable(text: str) -> str:
    """Return a dump of faulthandler without the threads that only wait for others."""
    parts = [part.strip() for part in text.split("\n\n")]
    kept = [p for p in parts if p and not any(name in p for name in _OURS)]
    return "\n".join(kept or parts).strip()


def reveal_stack(writer: Connection) -> None:
    """Make this worker write its stack when it crashes, or when it is asked to.

    The interpreter's own handler writes it, in C: also where the lock of the
    interpreter is held, and where memory is damaged.
    """
    if hasattr(faulthandler, "register"):  # not on Windows
        faulthandler.register(_STACK_SIGNAL, writer, all_threads=True)
    faulthandler.disable()  # else one that was on in the parent is left as it is
    faulthandler.enable(writer, all_threads=False)


class Death(NamedTuple):
    """A worker that ended, or was ended because it hung."""

    worker: int
    pid: int
    exitcode: int | None
    hung_s: float | None
    """Seconds without progress; None: it was not ended by us."""

    unborn: bool
    """Whether it never began."""

    seen: list[Seen]
    """What each worker was at."""

    stack: str


class Watch:
    """Watches the workers of one set of processes until one of them fails.

    Args:
        board: What they are at.
        workers: The processes.
        ended: Whether they were asked to end.
        limit_s: Seconds without progress after which a worker that is waited for is
            ended; 0: never.
    """

    def __init__(
        self,
        board: Board,
        workers: Sequence[Any],
        ended: Callable[[], bool],
        *,
        limit_s: float,
    ) -> None:
        self._board, self._workers, self._ended = board, list(workers), ended
        self._limit_s = limit_s
        self._tick_s = min(1.0, limit_s / 8) if limit_s else None
        self._birth_s = min(LIMIT_S, limit_s or LIMIT_S)
        self._births = Births(self._workers, limit_s=self._birth_s)
        self._wake, self._waker = Pipe(duplex=False)
        self.awaited: int | None = None
        """First position of the batch that the consumer waits for, if it does."""
        self.death: Death | None = None
        self._thread = threading.Thread(
            target=self._run, name="fiberaug-watch", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the watch."""
        # Not by closing it: a process that was forked meanwhile has the end, too.
        self._waker.send_bytes(b"end")
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._wake.close()
        self._waker.close()

    def found(self, wait_s: float) -> Death | None:
        """Return who died, waiting for the watch to find out."""
        self._thread.join(wait_s)
        return self.death

    def _run(self) -> None:
        sentinels = [worker.sentinel for worker in self._workers]
        stillness = _Stillness(len(self._workers))
        last = time.monotonic()
        while True:
            tick_s = self._tick_s
            if self._births.due:
                tick_s = min(tick_s or _BIRTH_TICK_S, _BIRTH_TICK_S)
            found = wait([*sentinels, self._wake], tick_s)
            if self._wake in found or self._ended():
                return
            if found:
                time.sleep(0.01)  # who died at the same moment
                self._bury(None)
                return
            now = time.monotonic()
            # A suspended machine, or a stopped group of processes, is no hang.
            passed_s = min(now - last, 2 * (tick_s or 0))
            last = now
            seen = self._board.see()
            stuck = self._births.stuck(seen, passed_s)
            if stuck is not None:
                self._bury(stuck, unborn=True)
                return
            if self.awaited is None or not self._limit_s:
                stillness.forget()
                continue
            stillness.note(seen, passed_s)
            hung = stillness.hung(self._limit_s)
            if hung is not None:
                self._bury(self._owing() if hung < 0 else hung)
                return

    def _owing(self) -> int:
        """Return the worker whose batch does not come, though it is made."""
        seen = self._board.see()
        return next((w for w, s in enumerate(seen) if s.batch == self.awaited), 0)

    def _bury(self, hung: int | None, *, unborn: bool = False) -> None:
        """Note what happened, then end all workers: the consumer sees that at once."""
        seen = self._board.see()
        if hung is None:
            worker = self._first_dead()
            stack = self._board.stack(worker, 0.0)
        else:
            worker = hung
            stack = "" if unborn else self._ask(worker)
        process = self._workers[worker]
        code = process.exitcode
        limit_s = self._birth_s if unborn else self._limit_s
        self.death = Death(
            worker, process.pid, code, None if hung is None else limit_s, unborn, seen,
            stack,
        )  # fmt: skip
        for other in self._workers:
            with contextlib.suppress(ValueError):  # closed by torch in the meantime
                other.kill()

    def _first_dead(self) -> int:
        """Return a worker that ended; one that ended badly before one that did not."""
        for _ in range(200):
            # None also for a moment when another thread asks the system at once.
            codes = [process.exitcode for process in self._workers]
            dead = [w for w, code in enumerate(codes) if code is not None]
            if dead:
                return next((w for w in dead if codes[w]), dead[0])
            time.sleep(0.005)
        gone = wait([p.sentinel for p in self._workers], 0)
        return next(w for w, p in enumerate(self._workers) if p.sentinel in gone)

    def _ask(self, worker: int) -> str:
        if not hasattr(faulthandler, "register"):
            return ""
        with contextlib.suppress(OSError):
            os.kill(self._workers[worker].pid, _STACK_SIGNAL)
        return self._board.stack(worker, _STACK_S)


class _Stillness:
    """For how long each worker, and all of them, made no progress, in seconds.

    Args:
        workers: Number of workers.
    """

    def __init__(self, workers: int) -> None:
        self._beats = [-1] * workers
        self._still_s = [0.0] * workers
        self._all_s = 0.0

    def forget(self) -> None:
        """Begin anew: nobody waits for them."""
        self._still_s = [0.0] * len(self._still_s)
        self._all_s = 0.0

    def note(self, seen: Sequence[Seen], passed_s: float) -> None:
        """Count the seconds since the last call for those that are where they were."""
        self._all_s += passed_s
        for worker, now in enumerate(seen):
            if now.beat != self._beats[worker]:
                self._still_s[worker] = self._all_s = 0.0
            elif now.stage in _QUIET:
                self._still_s[worker] = 0.0
                if now.stage == "fetch":
                    self._all_s = 0.0
            else:
                self._still_s[worker] += passed_s
            self._beats[worker] = now.beat

    def hung(self, limit_s: float) -> int | None:
        """Return the worker that hangs; -1: all that they did comes to nobody."""
        for worker, still_s in enumerate(self._still_s):
            if still_s >= limit_s:
                return worker
        return -1 if self._all_s >= limit_s else None


class OwnWatch:
    """Warns where this process itself makes no progress with a batch.

    Args:
        progress: What it is at.
        limit_s: Seconds without progress after which it warns.
        warn: Called once for a sample with what it is at and the seconds.
    """

    def __init__(
        self, progress: Progress, *, limit_s: float, warn: Callable[[Seen, str], None]
    ) -> None:
        self._progress, self._limit_s, self._warn = progress, limit_s, warn
        self._stopped = threading.Event()
        self._consumer = threading.get_ident()
        threading.Thread(target=self._run, name="fiberaug-watch", daemon=True).start()

    def stop(self) -> None:
        """End the watch."""
        self._stopped.set()

    def _run(self) -> None:
        beat, still = -1, 0
        while not self._stopped.wait(self._limit_s / 8):
            seen = self._progress.see()
            if seen.beat != beat or seen.stage in _QUIET or seen.stage == "start":
                beat, still = seen.beat, 0
                continue
            still += 1
            if still == 8:
                self._warn(seen, _stack_of(self._consumer))


def _stack_of(thread: int) -> str:
    frame = sys._current_frames().get(thread)  # noqa: SLF001  # the documented way
    return "".join(traceback.format_stack(frame)) if frame is not None else ""
