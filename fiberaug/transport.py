"""Batches as messages: what is asked of a process, and what it answers.

A request is all that a worker needs to build one rank's part of one global batch, so
workers hold no state that could be lost, and batch k is the same whoever builds it.
"""

import os
import pickle
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from fiberaug.collate import Collate
from fiberaug.engine import Engine
from fiberaug.errors import StoreError, UsageError
from fiberaug.making import Failure, Made, Setup
from fiberaug.placing import found, place
from fiberaug.progress import COLLATE, IDLE, Progress
from fiberaug.sharing import rank_range
from fiberaug.slots import NO_SLOT, Slots
from fiberaug.stacks import Stack
from fiberaug.staging import BatchStage, Blending, Staged

__all__ = ["Builder", "Message", "Request", "pack", "read_error", "unpack"]

_LARGE_BYTES = 65_536  # of shared memory made for one array


class Request(NamedTuple):
    """One rank's part of one global batch."""

    epoch: int
    first: int
    """First position of the global batch."""

    global_batch: int
    rank: int
    world_size: int
    drop_last: bool
    slot: int = NO_SLOT
    """Where the arrays of the answer are written."""


@dataclass(slots=True)
class Message:
    """What a worker sends for a request."""

    end: int
    """First position after the global batch."""

    over: bool = False
    """The epoch has no such batch."""

    data: dict[str, Any] = field(default_factory=dict)
    """Stacks and arrays [B, ...]; ragged; lists. On their way large arrays are
    placed in the slot, or tensors in shared memory."""

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
    partners: int = 0
    """Rows at the end of ``data`` that are there only to be blended with others."""

    drawn: Any = None
    """What the arrays of batch operations in ``data`` are."""

    blending: Blending | None = None
    failures: list[Failure] = field(default_factory=list)
    slot: int = NO_SLOT
    """The slot where arrays of ``data`` lie: until the next message, and no longer."""

    shared_bytes: int = 0
    """Bytes that travel in shared memory."""

    decode_s: float = 0.0
    augment_s: float = 0.0
    late: int = 0
    """Rows whose sample an online generator had not made in time."""

    error: bytes | None = None
    """A pickled exception instead of a batch."""


class Builder(Dataset[Message]):
    """Builds batches in the process where it is called.

    Args:
        setup: What to make samples from.
        collate: The worker's half of collating.
        collate_fn: The user's function of a list of sample dicts, instead of it.
        finish: Makes a sample dict for ``collate_fn``.
        stage: Mixes and batch operations.
    """

    def __init__(
        self,
        setup: Setup,
        collate: Collate,
        collate_fn: Callable[[list[dict[str, Any]]], Any] | None,
        finish: Callable[[Engine, Made, int], dict[str, Any]] | None,
        stage: BatchStage | None = None,
    ) -> None:
        self.setup, self._collate, self._stage = setup, collate, stage
        self._collate_fn, self._finish = collate_fn, finish
        self._engine: tuple[int, Engine] | None = None
        self.progress: Progress | None = None
        """Where this process notes what it is at. None: nowhere that others see."""
        self.slots: Slots | None = None
        """Where this process writes its batches, as a worker."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave the engine behind: every process makes its own."""
        return {**self.__dict__, "_engine": None, "progress": None, "slots": None}

    @property
    def engine(self) -> Engine:
        """The engine of this process."""
        if self._engine is None or self._engine[0] != os.getpid():
            engine = Engine(self.setup)
            if self.progress is not None:
                engine.progress = self.progress
            self._engine = os.getpid(), engine
        return self._engine[1]

    def __getitem__(self, request: Request) -> Message:
        """Return the message for a request; an exception is sent, not raised."""
        try:
            self.engine.progress.begin(request.first, request.epoch)
            message = self.build(request)
            if get_worker_info() is None:
                return message
            return pack(message, self.slots, request.slot)
        except Exception as error:  # noqa: BLE001  # whatever went wrong belongs to the consumer
            error = _explained(error)
            error.add_note("".join(traceback.format_exception(error)).rstrip())
            worker = get_worker_info()
            if worker is not None:
                error.add_note(f"in worker {worker.id} (pid {os.getpid()})")
            lost = [] if self._engine is None else self._engine[1].lost.news()
            return Message(end=request.first, error=_pickled(error), failures=lost)
        finally:
            if self._engine is not None:
                self._engine[1].progress.enter(IDLE)

    def build(self, request: Request) -> Message:
        """Return the batch for a request.

        Raises:
            DataRefused: A sample or a shard is broken and the policy is ``raise``.
        """
        engine = self.engine
        first, size = request.first, request.global_batch
        end = engine.order(request.epoch).reach(first + size)
        if end <= first or (request.drop_last and end < first + size):
            return Message(end=end, over=True, failures=engine.lost.news())
        positions, pads = rank_range(
            end, size, 0, request.rank, request.world_size, first
        )
        message = Message(end=end)
        decode_s, augment_s, late = engine.decode_s, engine.augment_s, engine.late
        rows = [engine.deliver(request.epoch, position) for position in positions]
        # A padding row repeats the last sample of the batch: real pixels of a real
        # shape.
        rows += [engine.deliver(request.epoch, end - 1, pad=True) for _ in range(pads)]
        staged = self.staged(
            rows, request.epoch, partial(engine.deliver, request.epoch)
        )
        rows = staged.rows[: len(rows)]
        message.decode_s = engine.decode_s - decode_s
        message.augment_s = engine.augment_s - augment_s
        message.late = engine.late - late
        message.keys = [made.packed.key for made in rows]
        message.urls = [made.url for made in rows]
        message.packed = [tuple(p) for made in rows for _, p in made.views()]
        message.views = engine.setup.views
        message.is_pad = [made.is_pad for made in rows]
        message.failures = [
            f for made, _ in zip(rows, positions, strict=False) for f in made.failures
        ]
        message.failures += engine.lost.news()
        engine.progress.enter(COLLATE)
        if self._collate_fn is not None and self._finish is not None:
            samples = [self._finish(engine, made, request.epoch) for made in rows]
            data = self._collate_fn(samples)
            message.data = {"": data}
        else:
            self.fill(message, staged)
        return message

    def staged(
        self, rows: Sequence[Made], epoch: int, deliver: Callable[[int], Made]
    ) -> Staged:
        """Return rows after the worker's half of mixes and batch operations.

        Args:
            rows: Samples of a batch.
            epoch: Epoch, from 0.
            deliver: Makes the sample of a position, where it is a partner.
        """
        if self._stage is None:
            return Staged(list(rows))
        order = self.engine.order(epoch)
        return self._stage(rows, epoch, order.reach, deliver)

    def fill(self, message: Message, staged: Staged) -> None:
        """Put the fields of rows, and what is left to do to them, into a message."""
        self._fill(message, self.engine, staged.rows)
        message.data |= staged.arrays
        message.partners, message.drawn = staged.partners, staged.drawn
        message.blending = staged.blending

    def _fill(self, message: Message, engine: Engine, rows: list[Made]) -> None:
        keys = [made.packed.key for made in rows]
        if message.views == 1:
            message.data = self._collate([made.fields for made in rows], keys)
            return
        changed = engine.per_view(rows[0].fields)
        if self._stage is not None:
            also = self._stage.changes.difference(changed)
            changed += [name for name in rows[0].fields if name in also]
        views = [
            {name: fields[name] for name in changed}
            for made in rows
            for fields, _ in made.views()
        ]
        each = [key for key in keys for _ in range(message.views)]
        message.data = self._collate(views, each)
        message.per_view = list(message.data)
        rest = [
            {name: value for name, value in made.fields.items() if name not in changed}
            for made in rows
        ]
        message.data |= self._collate(rest, keys)


def _explained(error: Exception) -> Exception:
    """Return the error that says what to do, where the cause is well known."""
    text = str(error)
    if "re-initialize CUDA in forked" in text:
        return UsageError(
            "a transform or decoder uses CUDA in a forked worker, which cannot: work on"
            " the GPU with the batch, in the main process, or give"
            ' multiprocessing_context="spawn"',
            stage="augment",
        ).with_traceback(error.__traceback__)
    if "torch_" in text and ("No space left" in text or "(shm)" in text):
        return StoreError(
            "there is no room for a batch in shared memory (/dev/shm); start the"
            " container with a larger --shm-size, or use fewer workers, a lower"
            f" prefetch_factor or smaller batches: {text.splitlines()[0]}",
            stage="collate",
        ).with_traceback(error.__traceback__)
    return error


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


def pack(message: Message, slots: Slots | None, slot: int) -> Message:
    """Make a message ready to be sent: its arrays are written into a slot.

    Args:
        message: What was built; its ``data`` is replaced.
        slots: Where to write.
        slot: Which slot this process has. :data:`NO_SLOT`: none.
    """
    if slots is None or slot == NO_SLOT or "" in message.data:
        return _share(message)
    try:
        data, size = place(message.data, slots, slot)
    except OSError:  # so much is not to be had: make what there is room for
        return _share(message)
    message.data = data
    if size:
        message.slot, message.shared_bytes = slot, size
    return message


def _share(message: Message) -> Message:
    """Put large arrays into shared memory; small ones travel through the pipe."""
    data = message.data
    for name in data.keys() - {""}:
        value = data[name]
        array = value.array() if isinstance(value, Stack) else value
        if isinstance(array, np.ndarray) and array.nbytes >= _LARGE_BYTES:
            # Now, not when it is sent: a thread of the queue would only print that
            # there is no room, and the batch would never come.
            message.shared_bytes += array.nbytes
            tensor = torch.from_numpy(array)
            array = tensor.share_memory_()  # type: ignore[no-untyped-call]
        data[name] = array
    return message


def unpack(message: Message, slots: Slots | None) -> Message:
    """Return a message with arrays again, where it was packed.

    Args:
        message: What came; its ``data`` is replaced.
        slots: Where it was written. Arrays are the slot's own memory.
    """
    if slots is not None and message.slot != NO_SLOT:
        message.data = found(message.data, slots, message.slot, message.shared_bytes)
        return message
    for name, value in message.data.items():
        if name and isinstance(value, torch.Tensor):
            message.data[name] = value.numpy()
    return message
