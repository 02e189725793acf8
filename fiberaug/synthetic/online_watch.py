"""The generator's process, started, watched and started again by a thread."""

import atexit
import logging
import multiprocessing
import os
import threading
import time
import weakref
from contextlib import suppress
from multiprocessing.connection import Pipe, wait
from typing import TYPE_CHECKING, Any

from fiberaug.synthetic.online_place import Place, Task, Trouble
from fiberaug.synthetic.online_process import FAILED, serve
from fiberaug.synthetic.online_told import read_told

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

__all__ = ["Supervisor"]

_log = logging.getLogger("fiberaug")
_LOOK_S = 0.5  # between two looks whether another process's generator lives
_START_S = 120.0  # for a process to begin: it imports what the factory needs
_GRACE_S = 10.0  # for its own timer to end it first
_PAUSE_S = (0.25, 30.0)  # before the first and the longest before a restart
_MOST_STACK = 4000  # characters
_EXIT_S = 2.0  # for a batch, when the interpreter exits
_living: "weakref.WeakSet[Supervisor]" = weakref.WeakSet()


class Supervisor:
    """Keeps one generator's process of a folder alive.

    Where another process of this machine has one for the folder, it waits for that one
    to end.

    Args:
        task: What the process has to do.
        restarts: How often in a row, without a sample in between, it is started again.

    Raises:
        Exception: The factory cannot be pickled.
    """

    def __init__(self, task: Task, restarts: int) -> None:
        self._task, self._restarts = task, restarts
        self._place = Place(task.folder)
        self._owner = os.getpid()
        self._stopping = False
        self._woken, self._waker = Pipe(duplex=False)
        self._process: BaseProcess | None = None
        self._made = 0
        if not self._place.in_use():
            self._spawn()
        _living.add(self)
        self._thread = threading.Thread(
            target=self._run, name="fiberaug-online", daemon=True
        )
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Number of the process; None where none was started from here."""
        process = self._process
        return None if process is None else process.pid

    def stop(self, timeout: float) -> bool:
        """End the process; it may finish its batch.

        Args:
            timeout: Seconds after which it is killed: what is written is whole.

        Returns:
            Whether it was ended; False where it was before, and in a process that was
            forked from this one.
        """
        if self._stopping or self._owner != os.getpid():
            return False
        self._stopping = True
        self._waker.send_bytes(b"end")
        if self._thread is not threading.current_thread():  # collecting garbage
            self._thread.join()
        if self._process is not None:
            with suppress(OSError):  # it has ended
                self._stop.send_bytes(b"end")
            self._process.join(timeout)
        if self._end() != 0:
            self._place.clean_behind()
        self._woken.close()
        self._waker.close()
        _living.discard(self)
        return True

    def _spawn(self) -> None:
        context = multiprocessing.get_context("spawn")
        told, self._stop = context.Pipe(duplex=False)
        self._made = read_told(self._place.words).made
        self._place.stack.unlink(missing_ok=True)
        process = context.Process(
            target=serve, args=(self._task, told), name="fiberaug-online", daemon=True
        )
        try:
            process.start()
        except BaseException:
            self._stop.close()
            raise
        finally:
            told.close()
        self._process = process

    def _end(self) -> int:
        """End the process where it lives, and return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.kill()
        process.join()
        code = process.exitcode
        process.close()
        self._stop.close()
        return code or 0

    def _run(self) -> None:
        failures = 0
        while not self._stopping and not self._place.trouble.final:
            try:
                if self._process is None:
                    if self._place.in_use():
                        self._woken.poll(_LOOK_S)
                        continue
                    self._spawn()
                why = self._watch()
            except OSError as error:
                why = f"the generator's process cannot be started: {error}"
            if why is None:
                continue
            failures = (
                1 if read_told(self._place.words).made > self._made else failures + 1
            )
            if self._report(why, failures):
                return
            self._woken.poll(min(_PAUSE_S[0] * 2 ** (failures - 1), _PAUSE_S[1]))

    def _watch(self) -> str | None:
        """Return why the process failed; None where it was to end."""
        process, hung = self._process, False
        if process is None:
            return None
        begun = beat = read_told(self._place.words).beat_s
        still_since = time.monotonic()
        ends: list[Any] = [process.sentinel, self._woken]
        while not hung and process.sentinel not in (found := wait(ends, _LOOK_S)):
            if self._woken in found:
                return None
            now, seen = time.monotonic(), read_told(self._place.words).beat_s
            if seen != beat:
                beat, still_since = seen, now
            grace_s = _START_S if beat == begun else _GRACE_S
            hung = now - still_since > self._task.hang + grace_s
        code = self._end()
        if code == 0:  # another process had the lock
            return None
        if code == FAILED:
            return self._place.trouble.why
        return _why(code, self._place, self._task.hang, hung=hung)

    def _report(self, why: str, failures: int) -> bool:
        """Tell why the process failed; return whether it is not started again."""
        final = self._place.trouble.final or failures > self._restarts
        if final and failures > 1:
            why = f"{why}\n(it was started {failures} times)"
        self._place.tell(Trouble(why, final=final))
        _log.log(
            logging.ERROR if final else logging.WARNING,
            "the online generator %s: %s",
            "stopped" if final else "is started again",
            why,
        )
        return final


def _why(code: int, place: Place, hang: float, *, hung: bool) -> str:
    """Return what ended a process that did not tell it."""
    try:
        stack = place.stack.read_text(errors="replace").strip()
    except OSError:
        stack = ""
    if hung or stack:
        return (
            f"the generator made no progress for {hang:g} s and was ended: raise hang"
            f" where it takes longer. It was at:\n{stack[:_MOST_STACK]}"
        )
    if code < 0:
        return (
            f"the generator's process was ended by signal {-code}: from outside, or"
            " because the machine ran out of memory"
        )
    return (
        f"the generator's process ended with exit code {code}; its error output says"
        " why. A script that starts it needs its main part below"
        ' if __name__ == "__main__":'
    )


@atexit.register  # after multiprocessing's own, so before it
def _stop_all() -> None:
    for supervisor in list(_living):
        supervisor.stop(_EXIT_S)
