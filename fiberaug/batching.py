"""A worker's message to the batch that the user receives."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fiberaug.augment.normalize import NormalizeTable
from fiberaug.collate import normalize_batch, shape_targets
from fiberaug.dataset import StreamingDataset
from fiberaug.engine import Engine, Made
from fiberaug.passes import finished
from fiberaug.record import Records
from fiberaug.transport import Message

__all__ = ["TARGETS", "BatchFinisher", "SampleFinisher"]

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
    ) -> None:
        self._dataset, self._targets, self._output = dataset, targets, output
        self._device, self._pads = device, pads
        self._pin = pin_memory and torch.cuda.is_available()

    def records(self, message: Message, epoch: int) -> Records | None:
        """Return the records of a message, or None where none are kept."""
        if self._dataset.record == "none":
            return None
        return Records(message.packed, self._dataset.context(epoch))

    def __call__(
        self, message: Message, records: Records | None, table: NormalizeTable | None
    ) -> Any:  # noqa: ANN401  # a dict, a tuple, or what collate_fn returns
        """Return the batch.

        Args:
            message: What a worker sent.
            records: Its records.
            table: Normalises uint8 images.
        """
        if "" in message.data:  # of the user's collate_fn
            return message.data[""]
        batch: dict[str, Any] = {}
        for name, value in message.data.items():
            if name == "image" and isinstance(value, list):
                batch[name] = [normalize_batch(image, table) for image in value]
            elif name == "image":
                batch[name] = normalize_batch(value, table)
            elif isinstance(value, list):
                batch[name] = [_tensor(item) for item in value]
            else:
                batch[name] = _tensor(value)
        batch = shape_targets(batch, self._targets)
        if self._pads:
            batch["is_pad"] = torch.tensor(message.is_pad)
        if self._device is not None or self._pin:
            batch = {name: self._place(value) for name, value in batch.items()}
        batch["__key__"], batch["__url__"] = message.keys, message.urls
        if records is not None:
            text = self._dataset.record == "text"
            batch["record"] = records.texts() if text else records
        if self._output is None:
            return batch
        return tuple(batch[name] for name in self._output)

    def _place(self, value: Any) -> Any:  # noqa: ANN401  # tensors, and what holds them
        if isinstance(value, torch.Tensor):
            if self._pin:
                value = value.pin_memory()
            if self._device is None:
                return value
            return value.to(self._device, non_blocking=self._pin)
        if isinstance(value, list):
            return [self._place(item) for item in value]
        if isinstance(value, dict):
            return {name: self._place(item) for name, item in value.items()}
        return value


def _tensor(value: Any) -> Any:  # noqa: ANN401
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


class SampleFinisher:
    """Makes sample dicts for ``collate_fn``, in the worker."""

    def __init__(self, dataset: StreamingDataset) -> None:
        self._dataset = dataset

    def __call__(self, engine: Engine, made: Made, epoch: int) -> dict[str, Any]:
        """Return a sample as a plain torch DataLoader would collate it."""
        return finished(self._dataset, engine, made, epoch)
