"""A small classifier of end faces, and what it takes to stop it and go on."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fiberaug.bars import ProgressBar
from fiberaug.dataset import StreamingDataset
from fiberaug.demo.pipelines import training_pipeline, validation_pipeline
from fiberaug.errors import UsageError
from fiberaug.loader import DataLoader

__all__ = [
    "BATCH",
    "STEPS_PER_S",
    "Accuracy",
    "Kept",
    "Training",
    "make_loader",
    "planned_steps",
    "read_validation",
    "unbroken",
]

BATCH = 32
"""Images of a training step."""

STEPS_PER_S = 9.0
"""Training steps a second on two cores: a time becomes a number of steps, so that the
demo trains the same way whenever it is run."""

_SEED = 7
_RATE = 0.006
_WARM = 0.25
_LEAST_STEPS = 8

Batch = dict[str, Any]
_Moments = dict[int, dict[str, torch.Tensor]]


def make_loader(shards: Path, *, workers: int, log: Path | None = None) -> DataLoader:
    """Return the training loader; ``workers`` and ``log`` change no batch."""
    data = StreamingDataset(shards, transform=training_pipeline(), seed=_SEED)
    return DataLoader(data, batch_size=BATCH, num_workers=workers, log=log)


def planned_steps(train_s: float, per_epoch: int) -> tuple[int, int]:
    """Return (steps of the training, step after which it is stopped, in mid-epoch)."""
    total = max(_LEAST_STEPS, round(train_s * STEPS_PER_S))
    begun = int(0.4 * total) // per_epoch
    stop = begun * per_epoch + max(1, per_epoch // 2)
    return total, min(stop, total - 1)


def unbroken(shards: Path, *, epoch: int, skip: int, count: int) -> list[Batch]:
    """Return batches of a pass that begins with its epoch and is never interrupted.

    Args:
        shards: The training shards.
        epoch: Epoch, from 0.
        skip: Batches of the epoch that are passed over, but made.
        count: Batches to return; the next epoch follows where this one ends.
    """
    with make_loader(shards, workers=0) as loader:
        loader.set_epoch(epoch)
        return list(islice(_for_ever(loader), skip, skip + count))


def _for_ever(loader: DataLoader) -> Iterator[Batch]:
    while True:
        yield from loader


class _Network(nn.Module):
    """Four convolutions over an image whose own light and contrast are taken out."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        sizes = ((3, 24, 2), (24, 32, 2), (32, 64, 1), (64, 96, 2))
        self.features = nn.Sequential(*(_block(*size) for size in sizes))
        self.head = nn.Linear(2 * sizes[-1][1], classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits [B, classes] of images [B, 3, H, W]."""
        mean = image.mean((2, 3), keepdim=True)
        deviation = image.std((2, 3), keepdim=True)
        features = self.features((image - mean) / (deviation + 1e-3))
        # A defect is small: its strongest response says more than the mean.
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        logits: torch.Tensor = self.head(pooled)
        return logits


def _block(inputs: int, outputs: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def read_validation(shards: Path) -> tuple[list[Batch], tuple[str, ...]]:
    """Return the batches of the validation set, and the class names."""
    data = StreamingDataset(shards, transform=validation_pipeline(), train=False)
    with DataLoader(data, batch_size=BATCH) as loader:
        return list(loader), data.classes


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """Right answers of the validation set."""

    right: int
    """Images classified rightly; padding rows are not counted."""

    images: int
    """Images of the set."""

    @property
    def share(self) -> float:
        """Right answers as a share of the images, in [0, 1]."""
        return self.right / max(1, self.images)

    def __str__(self) -> str:
        """Return the accuracy with its counts."""
        return f"{self.share:.1%} ({self.right} of {self.images} images)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """One row of a training batch, kept to be compared with its replay."""

    epoch: int
    position: int
    image: torch.Tensor
    """float32 [3, H, W], normalised, as the network saw it."""


class Training:
    """A network in the middle of its training.

    Args:
        validation: Batches of :func:`read_validation`.
        classes: Number of classes.
        steps: Steps of the whole training; the learning rate follows them.
        seed: Of the first weights.
    """

    def __init__(
        self, validation: list[Batch], *, classes: int, steps: int, seed: int = _SEED
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = _Network(classes)
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(), weight_decay=0.02
        )
        self._validation = validation
        self.steps, self.step = steps, 0
        self.losses: list[float] = []
        self.accuracies: list[tuple[int, Accuracy]] = []
        self._kept: Kept | None = None

    @property
    def parameters(self) -> int:
        """Trainable numbers of the network."""
        return sum(p.numel() for p in self.network.parameters())

    @property
    def kept(self) -> Kept:
        """A row of the first batch, the one to which most was done.

        Raises:
            UsageError: There was no step yet.
        """
        if self._kept is None:
            raise UsageError("train before asking for a row of the first batch")
        return self._kept

    def run(self, loader: DataLoader, *, until: int, keep: int = 0) -> list[Batch]:
        """Train up to a step; return the first ``keep`` batches.

        Torch gets one thread meanwhile: the workers use the other cores, and sums come
        out alike on every number of them.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        first: list[Batch] = []
        bar = ProgressBar(
            total=until - self.step, desc="train", unit="step", disable=None
        )
        try:
            with bar:
                for batch in islice(_for_ever(loader), until - self.step):
                    if len(first) < keep:
                        first.append(batch)
                    self._learn(batch)
                    bar.update()
                    if self.step % len(loader) == 0 or self.step == self.steps:
                        self.evaluate()
        finally:
            torch.set_num_threads(threads)
        return first

    def _learn(self, batch: Batch) -> None:
        self.network.train()
        for group in self._optimizer.param_groups:
            group["lr"] = _one_cycle(self.step / self.steps)
        logits = self.network(batch["image"])
        loss = nn.functional.cross_entropy(logits, batch["label"])
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self.losses.append(loss.item())
        self.step += 1
        if self._kept is None:
            records = list(batch["record"])
            row = max(
                range(len(records)), key=lambda i: len(records[i].applied_transforms)
            )
            image = batch["image"][row].clone()
            record = records[row]
            self._kept = Kept(epoch=record.epoch, position=record.position, image=image)

    @torch.no_grad()
    def _answers(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return labels and guesses of the validation set, padding rows left out."""
        self.network.eval()
        labels, guesses = [], []
        for batch in self._validation:
            real = ~batch["is_pad"]
            labels.append(batch["label"][real])
            guesses.append(self.network(batch["image"][real]).argmax(1))
        return torch.cat(labels), torch.cat(guesses)

    def evaluate(self) -> Accuracy:
        """Return the accuracy on the validation set, and keep it for the curve."""
        labels, guesses = self._answers()
        right = int((labels == guesses).sum())
        accuracy = Accuracy(right=right, images=len(labels))
        self.accuracies.append((self.step, accuracy))
        return accuracy

    def per_class(self, classes: Sequence[str]) -> list[tuple[str, Accuracy]]:
        """Return the accuracy on the validation images of each class."""
        labels, guesses = self._answers()
        result = []
        for number, name in enumerate(classes):
            own = labels == number
            right = int((guesses[own] == number).sum())
            result.append((name, Accuracy(right=right, images=int(own.sum()))))
        return result

    def save(self, folder: Path, loader_state: Mapping[str, Any]) -> list[Path]:
        """Write tensors and, as JSON, step and loader state; return the paths."""
        tensors = {
            "network": self.network.state_dict(),
            "moments": self._optimizer.state_dict()["state"],
        }
        paths = [folder / "checkpoint.pt", folder / "checkpoint.json"]
        torch.save(tensors, paths[0])
        text = json.dumps({"step": self.step, "loader": loader_state}, indent=1)
        paths[1].write_text(text, encoding="utf-8")
        return paths

    def load(self, folder: Path) -> dict[str, Any]:
        """Go on from what :meth:`save` wrote; return the loader's state."""
        tensors = torch.load(folder / "checkpoint.pt", weights_only=True)
        self.network.load_state_dict(tensors["network"])
        moments: _Moments = tensors["moments"]
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})
        saved = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
        self.step = saved["step"]
        state: dict[str, Any] = saved["loader"]
        return state


def _one_cycle(done: float) -> float:
    """Return the learning rate: up in a quarter of the training, then down to 0.

    Source: L. Smith, N. Topin, "Super-convergence", 2018, arXiv:1708.07120.
    """
    if done < _WARM:
        return _RATE * (0.05 + 0.95 * done / _WARM)
    return _RATE * max(0.002, (1.0 - done) / (1.0 - _WARM))
