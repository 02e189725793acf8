"""Worker processes that leave nothing behind, however the parent ends."""

import multiprocessing
import os
import shutil
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent import futures
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait
from multiprocessing.synchronize import Event
from multiprocessing.util import get_temp_dir
from typing import Any, NamedTuple, TypeVar

from fiberaug.errors import WorkerDied

__all__ = [
    "Done",
    "check_wanted",
    "count",
    "end_with_parent",
    "own_folder",
    "run_jobs",
]

_Result = TypeVar("_Result")
_LOOK_S = 0.2  # between two looks at how far the workers are
_stop: list[Event] = []
_counts: list[Any] = []
_told: list[Callable[["Done"], None]] = []  # where the work is done in this process


class Done(NamedTuple):
    """How far all workers are."""

    images: int
    """Samples, written or left out."""

    bytes: int
    """Bytes of their images."""

    errors: int
    """Samples left out."""


def count(images: int, size: int, errors: int) -> None:
    """Add to what the jobs have done so far."""
    for counts in _counts:
        with counts.get_lock():
            plain = counts.get_obj()  # the array itself locks at each look
            for i, amount in enumerate((images, size, errors)):
                plain[i] += amount
        for tell in _told:
            tell(Done(*counts[:]))


def check_wanted() -> None:
    """Return, or end this job: call it often in a job.

    Raises:
        InterruptedError: The parent wants no more results.
    """
    if _stop and _stop[0].is_set():
        raise InterruptedError("the conversion was stopped")


def _start(stop: Event, counts: Any) -> None:  # noqa: ANN401  # a shared array
    _stop[:], _counts[:], _told[:] = [stop], [counts], []
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
    work: Callable[..., _Result],
    jobs: Iterable[tuple[Any, ...]],
    *,
    workers: int,
    told: Callable[[Done], None] = lambda _: None,
) -> Generator[_Result]:
    """Yield ``work(*job)`` of each job, in the order of the jobs.

    Jobs are made only a few ahead of the workers, so that many of them take no memory.

    Args:
        work: What to do; it calls :func:`check_wanted` and :func:`count` often.
        jobs: Arguments of each call.
        workers: Processes; 1 works in this one.
        told: Is told how far the workers are, some times a second.

    Raises:
        WorkerDied: A worker was ended from outside.
    """
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
    counts = context.Array("q", 3)
    if workers == 1:
        _counts[:], _told[:] = [counts], [told]
        try:
            for job in jobs:
                yield work(*job)
        finally:
            _counts.clear()
            _told.clear()
        return
    stop = context.Event()
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start, initargs=(stop, counts)
    )
    done = 0
    waiting: deque[Future[_Result]] = deque()
    try:
        rest = iter(jobs)
        while True:
            for job in islice(rest, 2 * workers + 1 - len(waiting)):
                waiting.append(pool.submit(work, *job))
            if not waiting:
                break
            while not waiting[0].done():
                futures.wait([waiting[0]], timeout=_LOOK_S)
                told(Done(*counts[:]))
            yield waiting.popleft().result()
            done += 1
        told(Done(*counts[:]))
    except BrokenProcessPool as error:
        raise WorkerDied(
            f"a worker died after {done} jobs; the machine may have run out of memory:"
            " use fewer --workers; what is done is kept",
            stage="convert",
        ) from error
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
