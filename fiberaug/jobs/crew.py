"""Worker processes that leave nothing behind, however the parent ends."""

import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from multiprocessing.synchronize import Event
from multiprocessing.util import get_temp_dir
from typing import Any, TypeVar

from fiberaug.errors import WorkerDied

__all__ = ["check_wanted", "end_with_parent", "own_folder", "run_jobs"]

_Result = TypeVar("_Result")
_stop: list[Event] = []


def check_wanted() -> None:
    """Return, or end this job: call it often in a job.

    Raises:
        InterruptedError: The parent wants no more results.
    """
    if _stop and _stop[0].is_set():
        raise InterruptedError("the conversion was stopped")


def _start(stop: Event) -> None:
    _stop[:] = [stop]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    end_with_parent()


def own_folder() -> str | None:
    """Return the folder of sockets that ends with this process.

    None where an ancestor may have made it: it and its other children can live on.
    """
    return get_temp_dir() if multiprocessing.parent_process() is None else None


def end_with_parent(folder: str | None = None) -> None:
    """End this process as soon as its parent ends, however that ends.

    A worker that only looks now and then can hang for ever on a full pipe which nobody
    reads any more.

    Args:
        folder: The parent's :func:`own_folder`, to remove when it was killed.
    """
    threading.Thread(target=_wait_for_parent, args=(folder,), daemon=True).start()


def _wait_for_parent(folder: str | None) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)


def run_jobs(
    work: Callable[..., _Result], jobs: Sequence[tuple[Any, ...]], *, workers: int
) -> Generator[_Result]:
    """Yield ``work(*job)`` of each job, in the order of the jobs.

    Args:
        work: What to do; it calls :func:`check_wanted` often.
        jobs: Arguments of each call.
        workers: Processes; 1 works in this one.

    Raises:
        WorkerDied: A worker was ended from outside.
    """
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield work(*job)
        return
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(
        min(workers, len(jobs)),
        mp_context=context,
        initializer=_start,
        initargs=(stop,),
    )
    done = 0
    try:
        for future in [pool.submit(work, *job) for job in jobs]:
            yield future.result()
            done += 1
    except BrokenProcessPool as error:
        raise WorkerDied(
            f"a worker died after {done} of {len(jobs)} jobs; the machine may have run"
            " out of memory: use fewer --workers",
            stage="convert",
        ) from error
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
