"""Worker processes: requests in, messages out in order, and what happens at a death.

torch's DataLoader moves the messages; the requests are its sampler. What is asked of a
worker and not answered can be asked of any other.
"""

import contextlib
import logging
import signal
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader as TorchLoader
from torch.utils.data import Dataset, _utils, get_worker_info

from fiberaug.allocator import keep_freed_memory
from fiberaug.deaths import died, warn_hung
from fiberaug.jobs.crew import end_with_parent, own_folder
from fiberaug.machine import check_start
from fiberaug.progress import IDLE, START
from fiberaug.slots import Slots, open_slots
from fiberaug.transport import Builder, Message, Request, unpack
from fiberaug.watching import Board, OwnWatch, Watch, reveal_stack

__all__ = ["Workers"]

_log = logging.getLogger("fiberaug")
_PREFETCH = 2
_SPARE = 2  # slots of the batch that the consumer has, and of one that comes in
_FOUND_S = 10.0
_MOST_UNBORN = 3
_DEATHS = ("exited unexpectedly", "timed out")


class _Start:
    """First work of a worker; a class, so that it pickles."""

    def __init__(self, board: Board, user: Callable[[int], None] | None) -> None:
        self._board, self._user = board, user
        self._folder = own_folder()

    def __call__(self, worker: int) -> None:
        self._board.row(worker).enter(START)  # it lives: the watch looks for this
        # The workers are the parallelism. 0, not 1: in a forked child of a process that
        # used OpenCV's threads, asking for 1 waits for threads that are not there.
        cv2.setNumThreads(0)
        keep_freed_memory()
        with contextlib.suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
        end_with_parent(self._folder)
        reveal_stack(self._board.writer(worker))
        if self._user is not None:
            self._user(worker)
        self._board.row(worker).enter(IDLE)


class _Feed:
    """The requests of the pass that runs, as torch's sampler."""

    def __init__(self) -> None:
        self.requests: Iterator[Request] = iter(())

    def __iter__(self) -> Iterator[Request]:
        return self.requests


class _Noted(Dataset[Message]):
    """The builder, which in a worker notes what it is at and writes into slots."""

    def __init__(self, builder: Builder, board: Board, slots: Slots | None) -> None:
        self._builder, self._board, self._slots = builder, board, slots

    def __getitem__(self, request: Request) -> Message:
        worker = get_worker_info()
        if worker is not None and self._builder.progress is None:
            self._builder.progress = self._board.row(worker.id)
            self._builder.slots = self._slots
        return self._builder[request]


def _raise_fd_limit() -> None:
    """Let this process hold as many shared batches as the system allows."""
    try:
        import resource  # noqa: PLC0415  # POSIX only
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            _log.info("the limit of open files stays at %d", soft)


class Workers:
    """Batches of requests in order, built here or in worker processes.

    Args:
        builder: Builds batches.
        num_workers: Processes; 0 builds in this one.
        options: ``prefetch_factor``, ``persistent_workers``,
            ``multiprocessing_context``, ``timeout`` and ``worker_init_fn`` as torch's
            DataLoader takes them.
        watchdog_s: Seconds without progress after which a worker that is waited for is
            ended; 0: never. Without workers it is only a warning.
        restarts: How many deaths a pass survives.
    """

    def __init__(
        self,
        builder: Builder,
        num_workers: int,
        options: dict[str, Any],
        *,
        watchdog_s: float = 0.0,
        restarts: int = 0,
    ) -> None:
        self._builder, self._num = builder, num_workers
        self._user = options.pop("worker_init_fn", None)
        self._options = options
        self._watchdog_s, self._restarts = watchdog_s, restarts
        self._feed = _Feed()
        self._loader: TorchLoader[Message] | None = None
        self._board: Board | None = None
        self._slots: Slots | None = None  # of these processes: others get others
        self._watch: Watch | None = None
        self._messages: Any = None  # torch's iterator, which owns the processes
        self._waiting: list[Request] = []
        self._checked = False
        if num_workers:
            _raise_fd_limit()
            self._check(0)

    def run(self, requests: Iterator[Request]) -> Iterator[Message]:
        """Return the messages of requests, in order.

        Raises:
            WorkerDied: A worker ended, hung, or did not answer in time, once more than
                ``restarts`` allows. (While iterating.)
        """
        return self._run(requests) if self._num else self._run_here(requests)

    def _run_here(self, requests: Iterator[Request]) -> Iterator[Message]:
        watch = None
        if self._watchdog_s:
            refs, limit_s = self._builder.setup.refs, self._watchdog_s
            watch = OwnWatch(
                self._builder.engine.progress,
                limit_s=limit_s,
                warn=partial(warn_hung, limit_s=limit_s, refs=refs),
            )
        try:
            for request in requests:
                yield self._builder[request]
        finally:
            if watch is not None:
                watch.stop()

    def _run(self, requests: Iterator[Request]) -> Iterator[Message]:
        left, unborn, started = self._restarts, _MOST_UNBORN, False
        while True:
            try:
                if not started:
                    self._start(requests)
                    started = True
                message = self._next()
            except (RuntimeError, EOFError, OSError) as error:
                death = self._death(error)
                if death is None:
                    raise
                found = None if self._watch is None else self._watch.death
                if found is not None and found.unborn and unborn:
                    unborn -= 1  # it had done nothing: no death that counts
                elif found is not None and left:
                    left -= 1
                else:
                    raise death from error
                _log.warning(
                    "%s; the workers start again and the batches are asked for again,"
                    " %d more deaths are allowed in this pass", death, left,
                )  # fmt: skip
                requests = chain(tuple(self._waiting), requests)
                self._end_processes()
                started = False
                continue
            if message is None:
                return
            request, slots = self._waiting.pop(0), self._slots
            yield unpack(message, slots)
            # The consumer has copied what it wants. A pass that is broken off does not
            # come here; its slots are free when no worker is at its batches any more.
            if slots is not None:
                slots.give_back(request.slot)

    def _next(self) -> Message | None:
        """Return the next message; None: that was all."""
        watch = self._watch
        assert watch is not None  # noqa: S101  # for the type: _start sets it
        watch.awaited = self._waiting[0].first if self._waiting else None
        try:
            message: Message | None = next(self._messages, None)
        finally:
            watch.awaited = None
        if message is not None and not self._checked:
            self._checked = True
            self._check(message.shared_bytes)
        return message

    def _start(self, requests: Iterator[Request]) -> None:
        """Ask for the first batches of a pass; new workers where there are none."""
        if self._watch is not None and self._watch.death is not None:
            _log.warning("a worker ended between two passes; all are started again")
            self._end_processes()
        if not self._options.get("persistent_workers"):
            self._end_processes()
        waiting: list[Request] = []
        self._waiting = waiting
        if self._loader is None:
            self._board = Board(self._num)
            self._slots = open_slots(self._num * self._prefetch + _SPARE)
            self._loader = self._make(self._board)
        self._feed.requests = _noted(requests, waiting, self._slots)
        messages: Any = iter(self._loader)
        if messages is self._messages:
            return
        self._messages = messages
        _tame(messages)
        ended = partial(_ended, weakref.ref(messages))
        assert self._board is not None  # noqa: S101  # for the type: made with the loader
        self._watch = Watch(
            self._board,
            messages._workers,  # noqa: SLF001
            ended,
            limit_s=self._watchdog_s,
        )

    def _make(self, board: Board) -> TorchLoader[Message]:
        return TorchLoader(
            _Noted(self._builder, board, self._slots),
            batch_size=None,
            sampler=self._feed,
            num_workers=self._num,
            collate_fn=_identity,  # type: ignore[arg-type]  # torch types lists only
            worker_init_fn=_Start(board, self._user),
            # Else torch draws the workers' seeds from the user's global generator.
            generator=torch.Generator().manual_seed(0),
            **self._options,
        )

    def _death(self, error: Exception) -> Exception | None:
        """Return what is raised for an error of torch's; None: the error itself."""
        text = str(error)
        known = any(words in text for words in _DEATHS)
        death = None
        if self._watch is not None:
            # A socket of the dead one can close before its death is known.
            closed = isinstance(error, EOFError | OSError)
            wait_s = _FOUND_S if closed or _DEATHS[0] in text else 0.0
            death = self._watch.found(wait_s)
        if death is None and not known:
            return None
        batches = [(r.epoch, r.first) for r in self._waiting[: self._num]]
        reason = text.splitlines()[0] if text else type(error).__name__
        return died(death, reason, batches, self._builder.setup.refs)

    @property
    def _prefetch(self) -> int:
        return int(self._options.get("prefetch_factor") or _PREFETCH)

    def _check(self, batch_bytes: int) -> None:
        """Log what will go wrong with so many workers here, each thing once."""
        context = self._options.get("multiprocessing_context")
        method = getattr(context, "get_start_method", lambda: context)()
        problems = check_start(
            workers=self._num,
            prefetch=self._prefetch,
            batch_bytes=batch_bytes,
            start_method=method,
        )
        if batch_bytes:  # the others were told at the start
            problems = [p for p in problems if p.startswith("batches")]
        for problem in problems:
            _log.warning("%s", problem)

    def close(self) -> None:
        """End the worker processes."""
        self._end_processes()
        self._feed.requests = iter(())

    def _end_processes(self) -> None:
        watch, messages, board = self._watch, self._messages, self._board
        slots = self._slots
        self._watch = self._messages = self._loader = self._board = self._slots = None
        if watch is not None:
            watch.stop()
        if watch is not None and watch.death is not None:
            _bury(messages)
        elif messages is not None:
            # Left to the garbage collector, torch waits 5 s for each worker.
            messages._shutdown_workers()  # noqa: SLF001  # torch has no public way
        if board is not None:
            board.close()
        if slots is not None:
            slots.close()


def _tame(messages: Any) -> None:  # noqa: ANN401  # torch's iterator, which has no public way
    """Leave deaths to the watch.

    torch raises in whatever the main thread does at that moment. And who writes into
    the queue must be workers alone, so that reading ends when they have.
    """
    signal_handling: Any = _utils.signal_handling
    if messages._worker_pids_set:  # noqa: SLF001
        signal_handling._remove_worker_pids(id(messages))  # noqa: SLF001
        messages._worker_pids_set = False  # noqa: SLF001
    messages._worker_result_queue._writer.close()  # noqa: SLF001


def _ended(messages: "weakref.ref[Any]") -> bool:
    """Return whether torch has asked its workers to end."""
    found = messages()
    return found is None or found._shutdown  # noqa: SLF001


def _bury(messages: Any) -> None:  # noqa: ANN401  # torch's iterator
    """End what is left of workers of which one died.

    torch would first set an event, which waits for ever where the dead one held it.
    """
    messages._shutdown = True  # noqa: SLF001
    for worker in messages._workers:  # noqa: SLF001
        worker.kill()
    for worker in messages._workers:  # noqa: SLF001
        worker.join()
    for queue in messages._index_queues:  # noqa: SLF001
        queue.cancel_join_thread()
        queue.close()


def _noted(
    requests: Iterator[Request], waiting: list[Request], slots: Slots | None
) -> Iterator[Request]:
    """Yield the requests of a pass, each with the slot for its answer."""
    # torch asks for the first one when its workers are new, or have answered all that a
    # pass that was broken off had asked for: nobody writes to any slot.
    if slots is not None:
        slots.free_all()
    for plain in requests:
        request = plain if slots is None else plain._replace(slot=slots.take())
        waiting.append(request)
        yield request


def _identity(message: Message) -> Message:
    return message
