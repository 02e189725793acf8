"""A worker's message to the batch that the user receives."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fiberaug.augment.normalize import Finish
from fiberaug.buffers import Buffers
from fiberaug.collate import as_tensors, shape_targets
from fiberaug.dataset import StreamingDataset
from fiberaug.developing import Developer, SideStream
from fiberaug.engine import Engine
from fiberaug.errors import UsageError
from fiberaug.gpu.running import Drawn
from fiberaug.making import Made
from fiberaug.mix import REAL
from fiberaug.passes import finished
from fiberaug.record import PackedRecord, RecordContext, Records
from fiberaug.stacks import DENSE, Stack, image_tensor, images_tensor, stack_tensor
from fiberaug.staging import BatchStage
from fiberaug.transport import Message

__all__ = ["TARGETS", "BatchFinisher", "SampleFinisher"]

_ORIGIN = PackedRecord._fields.index("origin")
TARGETS = ("list", "padded", "torchvision", "yolo")


class BatchFinisher:
    """Makes batches of messages, in the consumer.

    Args:
        dataset: The data set.
        targets: Form of boxes and points, one of :data:`TARGETS`.
        output: Names of fields for tuples; None gives dicts.
        device: Where tensors are put; None leaves them in memory.
        pin_memory: Page-locked tensors.
        pads: Whether batches say which rows are padding.
        ahead: Batches that are made ahead, which bounds the memory kept for later ones.
        stage: Mixes and batch operations.
        context: What records share, where it is not the data set's.
        dtype: Of images after batch operations.
        channels_last: How they lie in memory then.
        workers: Processes that work beside this one.

    Raises:
        UsageError: There are no batch operations, and a dtype or layout of them.
    """

    def __init__(
        self,
        dataset: StreamingDataset,
        *,
        targets: str,
        output: Sequence[str] | None,
        device: str | torch.device | None,
        pin_memory: bool,
        pads: bool,
        ahead: int = 2,
        stage: BatchStage | None = None,
        context: RecordContext | None = None,
        dtype: torch.dtype | None = None,
        channels_last: bool = False,
        workers: int = 0,
    ) -> None:
        self._dataset, self._targets, self._output = dataset, targets, output
        self._device, self._pads = device, pads
        self.stream = SideStream(device if stage is not None else None, workers=workers)
        self._develop: Developer | None = None
        if stage is not None:
            self._develop = Developer(
                stage, self.stream, dtype=dtype, channels_last=channels_last
            )
        elif dtype is not None or channels_last:
            raise UsageError(
                "dtype and channels_last are of images after gpu_transform, and there"
                " is none; convert the batch yourself"
            )
        self._context = context
        self._pin = pin_memory and torch.cuda.is_available()
        if stage is not None and self.stream.beside:
            self._pin = True  # else copies to the GPU wait for each other
        self._buffers = Buffers(ahead + 2, pinned=self._pin)

    def records(self, message: Message, epoch: int) -> Records | None:
        """Return the records of a message, or None where none are kept."""
        if self._dataset.record == "none":
            return None
        context = self._context
        if context is None:
            context = self._dataset.context(epoch)
        context = context.at(epoch)
        return Records(message.packed, context, message.views)

    def __call__(
        self, message: Message, records: Records | None, finish: Finish
    ) -> Any:  # noqa: ANN401  # a dict, a tuple, or what collate_fn returns
        """Return the batch.

        Args:
            message: What a worker sent.
            records: Its records.
            finish: What is done with images.
        """
        if "" in message.data:  # of the user's collate_fn
            return message.data[""]
        self._buffers.next_batch()
        batch = shape_targets(self._fields(message, finish), self._targets)
        if message.views > 1:
            for name in message.per_view:
                batch[name] = _by_row(batch[name], message.views)
        if self._pads:
            batch["is_pad"] = torch.tensor(message.is_pad)
        if self._device is not None or self._pin:
            batch = {name: self._place(value) for name, value in batch.items()}
        batch["__key__"], batch["__url__"] = message.keys, message.urls
        if self._dataset.origins:
            packed = message.packed[:: message.views]
            batch["__source__"] = [one[_ORIGIN] or REAL for one in packed]
        if records is not None:
            text = self._dataset.record == "text"
            batch["record"] = _texts(records, message.views) if text else records
        if self._output is None:
            return batch
        return tuple(batch[name] for name in self._output)

    def close(self) -> None:
        """Let go of memory that is kept for later batches."""
        self._buffers.clear()

    def _fields(self, message: Message, finish: Finish) -> dict[str, Any]:
        """Return the fields of a batch, images and masks ready."""
        develop, lent = self._develop, message.shared_bytes > 0
        before, drawn = finish, None
        if develop is not None:
            before = develop.before(finish)
            if message.drawn is not None:
                drawn = Drawn.of(message.drawn, message.data)
        fields = {
            name: self._finished(name, value, before, lent=lent)
            for name, value in message.data.items()
        }
        return fields if develop is None else develop(fields, message, drawn)

    def _finished(self, name: str, value: Any, finish: Finish, *, lent: bool) -> Any:  # noqa: ANN401  # arrays
        if isinstance(value, np.ndarray) and value.ndim and value.dtype.kind in DENSE:
            if not lent and name not in finish.images:
                return as_tensors(value)
            value = _stack_of(value)
        if isinstance(value, Stack):
            if name in finish.images:
                return images_tensor(value, finish.of(name), self._buffers)
            return stack_tensor(value, self._buffers)
        if isinstance(value, list) and name in finish.images:
            table = finish.of(name)
            return [None if i is None else image_tensor(i, table) for i in value]
        return as_tensors(value, lent=lent)

    def _place(self, value: Any) -> Any:  # noqa: ANN401  # tensors, and what holds them
        if isinstance(value, torch.Tensor):
            if self._pin and value.device.type == "cpu" and not value.is_pinned():
                value = value.pin_memory()
            if self._device is None:
                return value
            return value.to(self._device, non_blocking=self._pin)
        if isinstance(value, list):
            return [self._place(item) for item in value]
        if isinstance(value, dict):
            return {name: self._place(item) for name, item in value.items()}
        return value


def _stack_of(array: NDArray[Any]) -> Stack:
    """Return rows that lie in one array as what becomes a tensor."""
    return Stack(list(array), array.shape[1:], array.dtype)


def _by_row(value: Any, views: int) -> Any:  # noqa: ANN401  # a tensor or a list
    """Return [B, V, ...], or a list of lists, of what has a row for each view."""
    if isinstance(value, torch.Tensor):
        return value.reshape(-1, views, *value.shape[1:])
    return [value[first : first + views] for first in range(0, len(value), views)]


def _texts(records: Records, views: int) -> list[Any]:
    texts = records.texts()
    if views == 1:
        return texts
    return [texts[first : first + views] for first in range(0, len(texts), views)]


class SampleFinisher:
    """Makes sample dicts for ``collate_fn``, in the worker."""

    def __init__(self, dataset: StreamingDataset) -> None:
        self._dataset = dataset

    def __call__(self, engine: Engine, made: Made, epoch: int) -> dict[str, Any]:
        """Return a sample as a plain torch DataLoader would collate it."""
        return finished(self._dataset, engine, made, epoch)
