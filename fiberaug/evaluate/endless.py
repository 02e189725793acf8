"""As many training batches as asked for, from a set that may be smaller."""

from collections.abc import Iterator
from typing import Any

import torch

from fiberaug.dataset import StreamingDataset
from fiberaug.errors import UsageError
from fiberaug.evaluate.feeding import Batch, batches, held_arrays, scaled
from fiberaug.loader import DataLoader

__all__ = ["endless"]


def endless(
    data: Any,  # noqa: ANN401  # arrays or any loader
    *,
    batch_size: int,
    seed: int,
    steps: int,
) -> Iterator[Batch]:
    """Yield ``steps`` batches, one pass behind the other.

    Args:
        data: See :func:`fiberaug.evaluate.feeding.batches`. Arrays are shuffled anew in
            each pass, and all their batches are full; a data set or a loader with
            ``set_epoch`` begins at epoch 0.
        batch_size: Images of a batch, where it is made here.
        seed: Of the shuffle.
        steps: Batches.

    Raises:
        UsageError: There is no image, or a pass gives none.
    """
    if batch_size < 1:
        raise UsageError(f"batch_size must be >= 1, got {batch_size}")
    whole = held_arrays(data)
    if whole is not None:
        yield from _shuffled(whole, batch_size, seed, steps)
    elif isinstance(data, StreamingDataset):
        with DataLoader(data, batch_size=batch_size) as loader:
            yield from _passes(loader, steps)
    else:
        if hasattr(data, "set_epoch"):
            data.set_epoch(0)
        yield from _passes(data, steps)


def _passes(loader: Any, steps: int) -> Iterator[Batch]:  # noqa: ANN401  # any loader
    done = 0
    while True:
        before = done
        for batch in batches(loader):
            if len(batch.images):
                yield batch
                done += 1
            if done == steps:
                return
        if done == before:
            raise UsageError(
                f"train ended at step {done} of {steps}: a pass gave no image; give a"
                " loader that can be read again, not an iterator"
            )


def _shuffled(whole: Batch, batch_size: int, seed: int, steps: int) -> Iterator[Batch]:
    images, labels = whole
    if not len(images):
        raise UsageError("train has no images")
    generator = torch.Generator().manual_seed(seed)
    batch = min(batch_size, len(images))
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if len(order) < batch:
            new = torch.randperm(len(images), generator=generator)
            order = torch.cat([order, new])
        some, order = order[:batch], order[batch:]
        yield Batch(scaled(images[some]), None if labels is None else labels[some])
