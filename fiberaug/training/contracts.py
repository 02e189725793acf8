"""What the parts of a training hand each other: batches, tasks, sources, watchers.

The loop knows no network and no loss: a task makes steps, a source gives photos, and
watchers look on. What trains a GAN and what trains a diffusion model differ in the
task alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

__all__ = [
    "Photos",
    "RealBatch",
    "Source",
    "Task",
    "Verdict",
    "View",
    "Watcher",
]


class RealBatch(NamedTuple):
    """Real photos of one step, or windows of them; this rank's rows."""

    images: torch.Tensor
    """float32 [B, C, H, W] in [-1, 1]."""

    labels: torch.Tensor | None = None
    """int64 [B], or None where nothing is conditioned."""

    places: torch.Tensor | None = None
    """float32 [B, 3] where windows are cut from larger photos: how far down and to
    the right the window's middle is, from -1 to 1, and log2 of photo px per window px.
    """

    context: torch.Tensor | None = None
    """float32 [B, D], what else images are conditioned on; a row of zeros: nothing.
    A GAN does not look at it."""


class Photos(NamedTuple):
    """Photos that figures are taken against, in a fixed order."""

    images: NDArray[np.uint8]
    """uint8 [N, H, W, C]."""

    labels: NDArray[np.int64] | None = None
    """int64 [N]."""

    places: NDArray[np.float32] | None = None
    """float32 [N, 3], see :class:`RealBatch`."""


class Source(Protocol):
    """Real photos, in an exact order that can be gone on with."""

    size: tuple[int, int]
    """(height, width) of what it gives, px."""

    channels: int
    """Of its images, 1 to 4."""

    classes: tuple[str, ...]
    """Names by label; empty where nothing is conditioned."""

    photos: int
    """Photos to train on, without those that are held out."""

    has_places: bool
    """Whether batches say where their windows lie."""

    def batches(self) -> Iterator[RealBatch]:
        """Yield this rank's rows of one step after the other, without end."""
        ...

    def reference(self, count: int, *, held_out: bool = False) -> Photos:
        """Return at most ``count`` photos, the same ones at every call.

        Args:
            count: Most of them, spread over the classes as the data is.
            held_out: Those that are never trained on; none where nothing is held out.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the batch that came last; fit for JSON."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on at that position."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what the data is: fingerprint, counts, how it is read; for JSON."""
        ...

    def close(self) -> None:
        """End its processes."""
        ...


class Task(Protocol):
    """What is trained: networks, a loss, optimisers."""

    kind: str
    """Such as ``gan``: what ``generator.json`` and the state call it."""

    sample_cost: float
    """Photos that are trained on in the time in which one image is sampled, about."""

    def step(self, batch: RealBatch, *, step: int, nimg: int) -> dict[str, float]:
        """Make one step of all optimisers and return figures by name.

        Args:
            batch: This rank's rows.
            step: Number of the step, from 0.
            nimg: Images shown before it, over all ranks.
        """
        ...

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return all tensors of its state, by file and by name."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return the rest of its state, fit for JSON."""
        ...

    def restore(
        self,
        tensors: Mapping[str, Mapping[str, torch.Tensor]],
        facts: Mapping[str, Any],
    ) -> None:
        """Go on from a state.

        Raises:
            StateMismatch: It is of other networks or of another loss.
        """
        ...

    def sample(
        self,
        seeds: Sequence[int],
        labels: Sequence[int],
        places: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        """Return images of the averaged weights, uint8 [N, H, W, C]."""
        ...

    def save_generator(self, folder: Path, notes: Mapping[str, Any]) -> None:
        """Write what :func:`fiberaug.load` opens into an empty folder."""
        ...

    def relieve(self, rows: int) -> str | None:
        """Take the next lever and return what it is; None: there is none left.

        Args:
            rows: Of this process in a step.
        """
        ...

    def slow_down(self, times: int) -> None:
        """Halve the learning rates so many times, counted from the begin of the run."""
        ...

    def finite(self) -> bool:
        """Return whether all weights are finite."""
        ...

    def modules(self) -> dict[str, nn.Module]:
        """Return the networks by name."""
        ...


@dataclass(slots=True)
class View:
    """What a watcher sees of a training; of the first rank alone."""

    task: Task
    source: Source
    out: Path
    total: int
    """Images to show in all."""

    step: int = 0
    """Steps made."""

    nimg: int = 0
    """Images shown, over all ranks."""

    figures: dict[str, float] = field(default_factory=dict)
    """Of the last step: ``loss_critic``, ``loss_generator``, ``gap`` and others of the
    task; ``lr``; later also what watchers found, such as ``judge/kid``."""

    images_per_s: float = 0.0
    """Over the last steps."""

    seconds: float = 0.0
    """Of training so far, without what came before a resume."""

    notes: list[str] = field(default_factory=list)
    """What a user should read: levers that were taken, warnings."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a watcher wants of the loop."""

    stop: str = ""
    """Why training should end; empty: it should not."""

    best: bool = False
    """Whether the generator of now is the best so far, and is to be kept."""

    rewind: str = ""
    """Why to go back to the last state that was saved; empty: no need."""


class Watcher(Protocol):
    """Looks on at each step, of the first rank alone, and is part of the state.

    A class that derives from it may leave out whatever it does not need.
    """

    def begin(self, view: View) -> None:
        """See a training that begins or goes on."""

    def step(self, view: View) -> Verdict | None:
        """See a step; None where there is nothing to say."""
        del view
        return None

    def end(self, view: View) -> None:
        """See the end, also one by an error or Ctrl-C."""

    def state_dict(self) -> dict[str, Any]:
        """Return what it must know to go on, fit for JSON."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
