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

from fiberaug.progress import ROW_BYTES, Progress, Seen

__all__ = ["Board", "Death", "OwnWatch", "Watch", "reveal_stack"]

# Of the signals that no one else uses; there are none on Windows.
_STACK_SIGNAL = getattr(signal, "SIGRTMAX", 0) - 3
_QUIET = frozenset({"idle", "fetch"})
_OURS = ("_wait_for_parent", "in _feed", "in _serve", "in reveal_stack")
_STACK_S = 2.0
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
        count = len(self._workers)
        beats, still_s = [-1] * count, [0.0] * (count + 1)
        sentinels = [worker.sentinel for worker in self._workers]
        last = time.monotonic()
        while True:
            found = wait([*sentinels, self._wake], self._tick_s)
            if self._wake in found or self._ended():
                return
            if found:
                time.sleep(0.01)  # who died at the same moment
                self._bury(None)
                return
            now = time.monotonic()
            # A suspended machine, or a stopped group of processes, is no hang.
            passed = min(now - last, 2 * (self._tick_s or 0))
            last = now
            if self.awaited is None:
                still_s = [0.0] * (count + 1)
                continue
            still_s[count] += passed
            for worker, seen in enumerate(self._board.see()):
                if seen.beat != beats[worker]:
                    still_s[worker] = still_s[count] = 0.0
                elif seen.stage in _QUIET:
                    still_s[worker] = 0.0
                    if seen.stage == "fetch":
                        still_s[count] = 0.0
                else:
                    still_s[worker] += passed
                beats[worker] = seen.beat
            hung = [w for w in range(count) if still_s[w] >= self._limit_s]
            if hung or still_s[count] >= self._limit_s:
                self._bury(hung[0] if hung else self._owing())
                return

    def _owing(self) -> int:
        """Return the worker whose batch does not come, though it is made."""
        seen = self._board.see()
        return next((w for w, s in enumerate(seen) if s.batch == self.awaited), 0)

    def _bury(self, hung: int | None) -> None:
        """Note what happened, then end all workers: the consumer sees that at once."""
        seen = self._board.see()
        if hung is None:
            worker = self._first_dead()
            stack = self._board.stack(worker, 0.0)
        else:
            worker = hung
            stack = self._ask(worker)
        process = self._workers[worker]
        code = process.exitcode
        self.death = Death(
            worker, process.pid, code, None if hung is None else self._limit_s, seen,
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
