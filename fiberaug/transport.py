"""Batches from worker processes: what is asked, what comes back, who died.

A request is all that a worker needs to build one rank's part of one global batch, so
workers hold no state that could be lost, and batch k is the same whoever builds it.
torch's DataLoader moves the messages; the requests are its sampler.
"""

import logging
import os
import pickle
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader as TorchLoader
from torch.utils.data import Dataset

from fiberaug.collate import Collate
from fiberaug.engine import Engine
from fiberaug.errors import WorkerDied
from fiberaug.jobs.crew import end_with_parent
from fiberaug.making import Failure, Made, Setup
from fiberaug.sharing import rank_range

__all__ = ["Builder", "Message", "Request", "Workers", "read_error"]

_log = logging.getLogger("fiberaug")
_LARGE_BYTES = 65_536


class Request(NamedTuple):
    """One rank's part of one global batch."""

    epoch: int
    first: int
    """First position of the global batch."""

    global_batch: int
    rank: int
    world_size: int
    drop_last: bool


@dataclass(slots=True)
class Message:
    """What a worker sends for a request."""

    end: int
    """First position after the global batch."""

    over: bool = False
    """The epoch has no such batch."""

    data: dict[str, Any] = field(default_factory=dict)
    """Arrays [B, ...], large ones as tensors in shared memory; ragged; lists."""

    keys: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    packed: list[tuple[Any, ...]] = field(default_factory=list)
    """Packed records as plain tuples, which pickle twice as fast; the views of a row
    behind each other."""

    views: int = 1
    """Views of a row."""

    per_view: list[str] = field(default_factory=list)
    """Fields of ``data`` whose first dimension is rows times views."""

    is_pad: list[bool] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    decode_s: float = 0.0
    augment_s: float = 0.0
    error: bytes | None = None
    """A pickled exception instead of a batch."""


class Builder(Dataset[Message]):
    """Builds batches in the process where it is called.

    Args:
        setup: What to make samples from.
        collate: The worker's half of collating.
        collate_fn: The user's function of a list of sample dicts, instead of it.
        finish: Makes a sample dict for ``collate_fn``.
    """

    def __init__(
        self,
        setup: Setup,
        collate: Collate,
        collate_fn: Callable[[list[dict[str, Any]]], Any] | None,
        finish: Callable[[Engine, Made, int], dict[str, Any]] | None,
    ) -> None:
        self._setup, self._collate = setup, collate
        self._collate_fn, self._finish = collate_fn, finish
        self._engine: tuple[int, Engine] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the engine behind: every process makes its own."""
        return {**self.__dict__, "_engine": None}

    @property
    def engine(self) -> Engine:
        """The engine of this process."""
        if self._engine is None or self._engine[0] != os.getpid():
            self._engine = os.getpid(), Engine(self._setup)
        return self._engine[1]

    def __getitem__(self, request: Request) -> Message:
        """Return the message for a request; an exception is sent, not raised."""
        try:
            return self.build(request)
        except Exception as error:  # noqa: BLE001  # whatever went wrong belongs to the consumer
            error.add_note("".join(traceback.format_exception(error)).rstrip())
            return Message(end=request.first, error=_pickled(error))

    def build(self, request: Request) -> Message:
        """Return the batch for a request.

        Raises:
            DataRefused: A sample or a shard is broken and the policy is ``raise``.
        """
        engine = self.engine
        first, size = request.first, request.global_batch
        end = engine.order(request.epoch).reach(first + size)
        if end <= first or (request.drop_last and end < first + size):
            return Message(end=end, over=True)
        positions, pads = rank_range(
            end, size, 0, request.rank, request.world_size, first
        )
        message = Message(end=end)
        decode_s, augment_s = engine.decode_s, engine.augment_s
        rows = [engine.deliver(request.epoch, position) for position in positions]
        # A padding row repeats the last sample of the batch: real pixels of a real
        # shape.
        rows += [engine.deliver(request.epoch, end - 1, pad=True) for _ in range(pads)]
        message.decode_s = engine.decode_s - decode_s
        message.augment_s = engine.augment_s - augment_s
        message.keys = [made.packed.key for made in rows]
        message.urls = [made.url for made in rows]
        message.packed = [tuple(p) for made in rows for _, p in made.views()]
        message.views = engine.setup.views
        message.is_pad = [made.is_pad for made in rows]
        message.failures = [
            f for made, _ in zip(rows, positions, strict=False) for f in made.failures
        ]
        if self._collate_fn is not None and self._finish is not None:
            samples = [self._finish(engine, made, request.epoch) for made in rows]
            data = self._collate_fn(samples)
            message.data = {"": data}
        else:
            self._fill(message, engine, rows)
        return message

    def _fill(self, message: Message, engine: Engine, rows: list[Made]) -> None:
        if message.views == 1:
            message.data = self._collate([made.fields for made in rows], message.keys)
            return
        changed = engine.per_view(rows[0].fields)
        views = [
            {name: fields[name] for name in changed}
            for made in rows
            for fields, _ in made.views()
        ]
        keys = [key for key in message.keys for _ in range(message.views)]
        message.data = self._collate(views, keys)
        message.per_view = list(message.data)
        rest = [
            {name: value for name, value in made.fields.items() if name not in changed}
            for made in rows
        ]
        message.data |= self._collate(rest, message.keys)


def _pickled(error: Exception) -> bytes:
    try:
        data = pickle.dumps(error)
        pickle.loads(data)  # noqa: S301  # our own bytes: can the other side read them?
    except Exception:  # noqa: BLE001  # an exception can hold anything
        text = f"{type(error).__name__}: {error}"
        data = pickle.dumps(
            RuntimeError("\n".join([text, *getattr(error, "__notes__", ())]))
        )
    return data


def read_error(data: bytes) -> Exception:
    """Return the exception that a worker sent."""
    error = pickle.loads(data)  # noqa: S301  # written by our own worker
    return error if isinstance(error, Exception) else RuntimeError(repr(error))


def _share(message: Message) -> Message:
    """Put large arrays into shared memory; small ones travel through the pipe."""
    data = message.data
    for name, value in data.items():
        if isinstance(value, np.ndarray) and value.nbytes >= _LARGE_BYTES:
            data[name] = torch.from_numpy(value)
    return message


def _unshare(message: Message) -> Message:
    for name, value in message.data.items():
        if name and isinstance(value, torch.Tensor):
            message.data[name] = value.numpy()
    return message


class _Start:
    """First work of a worker; a class, so that it pickles."""

    def __init__(self, user: Callable[[int], None] | None) -> None:
        self._user = user

    def __call__(self, worker: int) -> None:
        # The workers are the parallelism. 0, not 1: in a forked child of a process that
        # used OpenCV's threads, asking for 1 waits for threads that are not there.
        cv2.setNumThreads(0)
        end_with_parent()
        if self._user is not None:
            self._user(worker)


class _Feed:
    """The requests of the pass that runs, as torch's sampler."""

    def __init__(self) -> None:
        self.requests: Iterator[Request] = iter(())

    def __iter__(self) -> Iterator[Request]:
        return self.requests


class _Shared(Dataset[Message]):
    def __init__(self, builder: Builder) -> None:
        self._builder = builder

    def __getitem__(self, request: Request) -> Message:
        return _share(self._builder[request])


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
    """

    def __init__(
        self, builder: Builder, num_workers: int, options: dict[str, Any]
    ) -> None:
        self._builder, self._num = builder, num_workers
        self._feed = _Feed()
        self._loader: TorchLoader[Message] | None = None
        self._messages: Any = None  # torch's iterator, which owns the processes
        self._waiting: list[Request] = []
        if num_workers:
            _raise_fd_limit()
            start = _Start(options.pop("worker_init_fn", None))
            self._loader = TorchLoader(
                _Shared(builder),
                batch_size=None,
                sampler=self._feed,
                num_workers=num_workers,
                collate_fn=_identity,  # type: ignore[arg-type]  # torch types lists only
                worker_init_fn=start,
                # Else torch draws the workers' seeds from the user's global generator.
                generator=torch.Generator().manual_seed(0),
                **options,
            )

    def run(self, requests: Iterator[Request]) -> Iterator[Message]:
        """Return the messages of requests, in order.

        Raises:
            WorkerDied: A worker ended, or did not answer in time. (While iterating.)
        """
        if self._loader is None:
            return (self._builder[request] for request in requests)
        if not self._loader.persistent_workers:
            self._end_processes()
        self._waiting = []
        self._feed.requests = _noted(requests, self._waiting)
        self._messages = iter(self._loader)
        return self._receive(self._messages)

    def _receive(self, messages: Iterator[Message]) -> Iterator[Message]:
        while True:
            try:
                message = next(messages)
            except StopIteration:
                return
            except RuntimeError as error:
                raise self._death(error) from error
            self._waiting.pop(0)
            yield _unshare(message)

    def _death(self, error: RuntimeError) -> WorkerDied:
        flying: Sequence[Request] = self._waiting[: self._num]
        firsts = ", ".join(str(request.first) for request in flying)
        epoch = flying[0].epoch if flying else "?"
        reason = str(error).splitlines()[0]
        return WorkerDied(
            f"{reason} In flight: the batches at positions {firsts} of epoch {epoch}."
            " Often the machine ran out of memory: fewer workers or a smaller"
            " prefetch_factor need less; load_state_dict() continues after the last"
            " batch delivered",
            stage="worker",
        )

    def close(self) -> None:
        """End the worker processes."""
        self._end_processes()
        self._loader = None
        self._feed.requests = iter(())

    def _end_processes(self) -> None:
        # Left to the garbage collector, torch waits 5 s for each worker.
        if self._messages is not None:
            self._messages._shutdown_workers()  # noqa: SLF001  # torch has no public way
            self._messages = None


def _noted(requests: Iterator[Request], waiting: list[Request]) -> Iterator[Request]:
    for request in requests:
        waiting.append(request)
        yield request


def _identity(message: Message) -> Message:
    return message
