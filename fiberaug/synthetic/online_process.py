"""The process that owns the generator: it fills the buffer until it is told to end.

It alone makes and drops samples, and it alone imports the generator's libraries. A lock
makes it the only one of its folder on this machine. A timer of the interpreter, which
needs no lock of Python's, ends it where the generator hangs.
"""

import faulthandler
import logging
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection, wait
from typing import Any

from filelock import Timeout

from fiberaug.errors import DataRefused, FiberAugError, UsageError
from fiberaug.synthetic.online_filling import Filling
from fiberaug.synthetic.online_place import Place, Task, Trouble
from fiberaug.synthetic.online_told import Told

__all__ = ["FAILED", "serve"]

FAILED = 113
"""Exit code of a process that has told why it ends; few programs end with it."""

_log = logging.getLogger("fiberaug")
_LOCK_S = 1.0  # who only looks holds the lock for a moment
_LOOK_S = 1.0  # between two looks whether the parent lives
_IDLE_S = (0.002, 0.03)  # first and longest sleep when there is nothing to make


def serve(task: Task, stop: Connection) -> None:
    """Make samples until the other end of a pipe says or closes.

    Args:
        task: What to do.
        stop: The pipe.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    place = Place(task.folder)
    lock = place.lock()
    try:
        lock.acquire(timeout=_LOCK_S)
    except Timeout:
        return  # another process has it
    told = Told(place.words)
    told.begin()
    threading.Thread(target=_wait_for_parent, args=(told,), daemon=True).start()
    with place.stack.open("w") as stack:

        def beat() -> None:
            told.beat()
            faulthandler.dump_traceback_later(task.hang, exit=True, file=stack)

        try:
            beat()
            place.clean()
            filling = Filling(task, place, told, beat)
            _run(filling, stop, beat)
        except BaseException as error:  # noqa: BLE001  # told to those who wait
            final = isinstance(error, UsageError | DataRefused)
            place.tell(Trouble(_text(error), final=final))
            sys.exit(FAILED)
        finally:
            faulthandler.cancel_dump_traceback_later()
    told.end()
    lock.release()


def _run(filling: Filling, stop: Connection, beat: Any) -> None:  # noqa: ANN401
    idle_s = _IDLE_S[0]
    while not stop.poll(0):
        beat()
        if filling.step():
            idle_s = _IDLE_S[0]
        else:
            stop.poll(idle_s)
            idle_s = min(1.5 * idle_s, _IDLE_S[1])
    filling.finish()


def _text(error: BaseException) -> str:
    if isinstance(error, FiberAugError):
        return "\n".join([str(error), *getattr(error, "__notes__", ())])
    return "".join(traceback.format_exception(error)).strip()


def _wait_for_parent(told: Told) -> None:
    """End this process when its parent has, however that ended.

    Processes that the parent forked can hold the pipe of its sentinel open: who the
    parent is tells it then.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    while not wait([parent.sentinel], _LOOK_S):
        if os.name == "posix" and os.getppid() != parent.pid:
            break
    told.end()
    os._exit(0)
