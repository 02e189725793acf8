"""Whether a generator makes the class that it is asked for."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.evaluate.feeding import batches, device_of

__all__ = ["ConditionedAccuracy", "conditioned_accuracy", "outputs_of", "predictions"]


class ConditionedAccuracy(NamedTuple):
    """How many generated images a classifier takes for what was asked for."""

    overall: float
    """Mean share over the classes, in [0, 1]."""

    per_class: dict[int, float]
    """Share of each class."""


def conditioned_accuracy(
    classifier: nn.Module,
    generate: Callable[[Sequence[int], Sequence[int]], NDArray[np.uint8]],
    classes: int,
    *,
    per_class: int = 100,
    batch_size: int = 256,
) -> ConditionedAccuracy:
    """Return which share of images a classifier takes for the class asked for.

    Compare with its accuracy on real photos, which bounds it.

    Args:
        classifier: Gives logits [B, K], K >= ``classes``, of images in [0, 1].
        generate: Makes images of seeds and labels, uint8 [N, H, W, C], such as
            ``generate`` of an :class:`fiberaug.ImageGenerator` or ``sample`` of a task.
        classes: Labels are 0 to ``classes`` - 1.
        per_class: Images of each; the seeds are 0, 1, 2, ...
        batch_size: Images that are made at a time.

    Raises:
        UsageError: A number is below 1, or the classifier has too few classes.
    """
    if min(classes, per_class, batch_size) < 1:
        raise UsageError(
            "classes, per_class and batch_size must be >= 1, got"
            f" {classes}, {per_class} and {batch_size}"
        )
    labels = np.repeat(np.arange(classes), per_class)
    hits: list[NDArray[np.bool_]] = []
    for at in range(0, len(labels), batch_size):
        asked = labels[at : at + batch_size]
        seeds = list(range(at, at + len(asked)))
        taken = predictions(classifier, generate(seeds, asked.tolist()), classes)
        hits.append(taken == asked)
    shares = np.concatenate(hits).reshape(classes, per_class).mean(1)
    return ConditionedAccuracy(
        float(shares.mean()), {i: float(one) for i, one in enumerate(shares)}
    )


def outputs_of(classifier: nn.Module, images: NDArray[np.uint8]) -> int:
    """Return how many classes a classifier tells apart; 0 where it gives no logits.

    Args:
        classifier: Of images in [0, 1].
        images: uint8 [N, H, W, C], N >= 1.
    """
    (logits,) = _logits(classifier, images[:1], batch_size=1)
    return int(logits.shape[1]) if logits.ndim == 2 else 0


def predictions(
    classifier: nn.Module,
    images: NDArray[np.uint8],
    classes: int = 1,
    *,
    batch_size: int = 256,
) -> NDArray[np.int64]:
    """Return what a classifier takes images for, int64 [N].

    It runs where it is, in evaluation mode, and is left as it was.

    Args:
        classifier: Gives logits [B, K] of images in [0, 1].
        images: uint8 [N, H, W, C].
        classes: Least K.
        batch_size: Images that it sees at a time.

    Raises:
        UsageError: It gives something else.
    """
    found: list[NDArray[np.int64]] = []
    for logits in _logits(classifier, images, batch_size=batch_size):
        if logits.ndim != 2 or logits.shape[1] < classes:
            raise UsageError(
                f"the classifier gives {list(logits.shape)}, logits of {classes}"
                f" classes are [B, {classes}]"
            )
        found.append(logits.argmax(1).cpu().numpy())
    return np.concatenate(found)


def _logits(
    classifier: nn.Module, images: NDArray[np.uint8], *, batch_size: int
) -> Iterator[torch.Tensor]:
    device = device_of(classifier)
    modes = {module: module.training for module in classifier.modules()}
    classifier.eval()
    try:
        with torch.no_grad():
            for batch in batches(images, batch_size=batch_size):
                yield classifier(batch.images.to(device))
    finally:
        for module, training in modes.items():
            module.training = training
