"""Classification accuracy score: is a synthetic set good enough to learn from?

Source: S. Ravuri and O. Vinyals, Classification Accuracy Score for Conditional
Generative Models (NeurIPS 2019): train on synthetic images, test on real ones.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any

import torch
from torch import nn

from fiberaug.bars import ProgressBar
from fiberaug.errors import UsageError
from fiberaug.evaluate.endless import endless
from fiberaug.evaluate.feeding import (
    Batch,
    batches,
    device_of,
    held_arrays,
    limited_threads,
)

__all__ = ["ClassificationAccuracy", "classification_accuracy_score"]

_logger = logging.getLogger("fiberaug")

MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassificationAccuracy:
    """How well classifiers that were trained on one set do on another."""

    accuracies: tuple[float, ...]
    """Share of test images classified rightly, one a seed, in [0, 1]."""

    per_class: dict[int, float]
    """The same for each class of the test set, the mean over seeds."""

    seeds: tuple[int, ...]
    """Of the classifiers."""

    steps: int
    """Optimiser steps of each."""

    untrained: tuple[int, ...]
    """Classes of the test set that training never showed."""

    @property
    def mean(self) -> float:
        """Mean accuracy over seeds."""
        return mean(self.accuracies)

    @property
    def sd(self) -> float | None:
        """Standard deviation over seeds; None: there is one seed."""
        return stdev(self.accuracies) if len(self.accuracies) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name with ``mean`` and ``sd``, fit for JSON."""
        return asdict(self) | {"mean": self.mean, "sd": self.sd}


def classification_accuracy_score(
    train: Any,  # noqa: ANN401  # arrays or any loader
    test: Any,  # noqa: ANN401  # arrays or any loader
    model: Callable[[int], nn.Module],
    *,
    steps: int,
    seeds: Sequence[int] = (0, 1, 2),
    batch_size: int = 64,
    optimizer: MakeOptimizer | None = None,
    threads: int = 1,
    progress: bool | None = None,
) -> ClassificationAccuracy:
    """Return how well the user's classifier, trained on ``train``, does on ``test``.

    With synthetic images alone to train on this is the classification accuracy score;
    with real ones its ceiling; with real and synthetic ones the answer to whether
    mixing helps. Compare at equal ``steps``, not epochs, and over seeds.

    On a CPU the result is a function of the arguments: torch's generator is seeded for
    each classifier and restored. The rate of learning falls to 0 along a cosine.

    Args:
        train: Images and class ids or shares, see
            :func:`fiberaug.evaluate.feeding.batches`. Pairs of arrays are shuffled by
            the seed; loaders with ``set_epoch`` begin at epoch 0 for each seed, and
            deal all of them the same.
        test: Real images and their class ids.
        model: Returns a new classifier of a seed, on its device; its output is
            [B, K], the classes are 0 to K - 1.
        steps: Optimiser steps, >= 1.
        seeds: Of the classifiers, at least one.
        batch_size: Images of a step, where ``train`` has no batches of its own.
        optimizer: Makes one of parameters; None: AdamW with a rate of 0.001.
        threads: Of torch meanwhile.
        progress: Show a bar; None: where a terminal is.

    Raises:
        UsageError: An argument is out of range, images have no labels or unknown ones,
            a set is empty, or the loss is not finite.
    """
    seeds = tuple(seeds)
    if steps < 1 or not seeds:
        raise UsageError(
            f"steps must be >= 1 and seeds not empty, got {steps} and {list(seeds)}"
        )
    known = held_arrays(test)
    if known is not None:
        _check_ids(known.labels)  # before anything is trained
    shown: set[int] = set()
    accuracies: list[float] = []
    shares: list[dict[int, float]] = []
    hidden = None if progress is None else not progress
    with (
        limited_threads(threads),
        ProgressBar(unit="img", desc="CAS", disable=hidden) as bar,
    ):
        for seed in seeds:
            with torch.random.fork_rng(_used_devices()):
                torch.manual_seed(seed)
                images = endless(train, batch_size=batch_size, seed=seed, steps=steps)
                trained = _train(
                    model(seed), images, steps, optimizer or _adamw, shown, bar
                )
                accuracy, by_class = _test(trained, test)
            accuracies.append(accuracy)
            shares.append(by_class)
    untrained = tuple(sorted(shares[0].keys() - shown)) if shown else ()
    if untrained:
        _logger.warning(
            "classes %s of the test set are not in the training set", list(untrained)
        )
    return ClassificationAccuracy(
        accuracies=tuple(accuracies), seeds=seeds, steps=steps, untrained=untrained,
        per_class={label: mean(s[label] for s in shares) for label in shares[0]},
    )  # fmt: skip


def _used_devices() -> list[int]:
    """Return the GPUs whose generators are in use, without starting one."""
    begun = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    there = torch.cuda.device_count() if begun else 0
    return list(range(there))


def _adamw(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-3)


def _train(
    model: nn.Module,
    data: Iterator[Batch],
    steps: int,
    make_optimizer: MakeOptimizer,
    shown: set[int],
    bar: ProgressBar,
) -> nn.Module:
    device = device_of(model)
    optimizer = make_optimizer(model.parameters())
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    for step, (images, labels) in enumerate(data):
        if labels is None:
            raise UsageError("train has images without labels: give (images, labels)")
        output = model(images.to(device))
        classes = labels if labels.ndim == 1 else labels.argmax(1)
        _check_labels(classes, output, "train")
        shown.update(classes.tolist())
        loss = nn.functional.cross_entropy(output, labels.to(device))
        if not math.isfinite(loss.item()):
            raise UsageError(
                f"the loss is {loss.item()} at step {step}: the images hold NaN or the"
                " rate of learning is too high; give another optimizer="
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        bar.update(len(images))
    return model


def _test(model: nn.Module, data: Any) -> tuple[float, dict[int, float]]:  # noqa: ANN401  # any loader
    """Return the accuracy, and that of each class."""
    device = device_of(model)
    right: list[torch.Tensor] = []
    known: list[torch.Tensor] = []
    model.eval()
    with torch.no_grad():
        for images, labels in batches(data):
            ids = _check_ids(labels)
            output = model(images.to(device))
            _check_labels(ids, output, "test")
            right.append(output.argmax(1).cpu() == ids.cpu())
            known.append(ids.cpu())
    if not sum(map(len, known)):
        raise UsageError("test has no images; give a loader that can be read again")
    hits, classes = torch.cat(right).double(), torch.cat(known)
    return float(hits.mean()), {
        label: float(hits[classes == label].mean())
        for label in sorted(set(classes.tolist()))
    }


def _check_ids(labels: torch.Tensor | None) -> torch.Tensor:
    if labels is None or labels.ndim != 1:
        raise UsageError("test must have class ids: give (images, labels)")
    return labels


def _check_labels(labels: torch.Tensor, output: torch.Tensor, name: str) -> None:
    if output.ndim != 2 or len(output) != len(labels):
        raise UsageError(
            f"the model must give [B, K] logits, got {list(output.shape)} for"
            f" {len(labels)} images"
        )
    if not len(labels):
        return
    least, most = int(labels.min()), int(labels.max())
    if least < 0 or most >= output.shape[1]:
        raise UsageError(
            f"{name} has labels from {least} to {most}, the model has classes 0 to"
            f" {output.shape[1] - 1}; give it as many as the data"
        )
