"""Adapters as the loop trains them: they alone have optimisers, averages, states."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fiberaug.training.contracts import RealBatch
from fiberaug.training.levers import Levers
from fiberaug.training.lora_adapters import Adapters
from fiberaug.training.lora_options import LoRAOptions
from fiberaug.training.ranking import Ranks
from fiberaug.training.stepping import Share
from fiberaug.training.tasks import NetworksTask, Save, own_randomness

__all__ = ["LoRATask", "Sampler", "Stepper"]

_FORWARD = 1 / 3  # of the time that an image of a step takes

Sampler = Callable[
    [Sequence[int], Sequence[int], NDArray[np.float32] | None], NDArray[np.uint8]
]
"""(seeds, labels, places) -> images, uint8 [N, H, W, C], of the adapters of now."""


class Stepper(Protocol):
    """What makes gradients."""

    levers: Levers

    def gradient(
        self, batch: RealBatch, *, step: int, share: Share
    ) -> dict[str, torch.Tensor]:
        """Add the gradient to the adapters and return figures, sums over rows."""
        ...


class LoRATask(NetworksTask):
    """Adapters of a network, in training; the network itself is frozen.

    Args:
        network: With adapters in it, on its device.
        options: How they are trained.
        stepper: Makes gradients.
        total: Images that are shown in all.
        levers: What makes a step need less memory.
        ranks: The processes that train.
        save: Writes the averaged adapters into a folder; (adapters, folder, notes).
        sampler: Makes images.
        each: Rows for each photo: 2 with a prior.
    """

    kind = "lora"
    part: ClassVar[str] = "adapters"
    """What is trained, as states call it."""

    def __init__(
        self,
        network: nn.Module,
        options: LoRAOptions,
        *,
        stepper: Stepper,
        total: int,
        levers: Levers,
        ranks: Ranks,
        save: Save,
        sampler: Sampler,
        each: int = 1,
    ) -> None:
        self.options, self.total, self.stepper = options, total, stepper
        self.network, self.adapters = network, self.of(network)
        self._sampler, self._each = sampler, each
        super().__init__(
            {self.part: self.adapters}, averaged=self.part,
            half_life=options.half_life, seed=options.seed, levers=levers, ranks=ranks,
            save=save,
        )  # fmt: skip
        if options.eight_bit:
            self.optimisers = {self.part: _eight_bit(self.adapters)}

    @classmethod
    def of(cls, network: nn.Module) -> Adapters:
        """Return what is trained of a network."""
        return Adapters(network)

    def computed(self) -> Iterable[nn.Module]:
        """Return the network: its blocks compute again, not the adapters alone."""
        return [self.network]

    def step(self, batch: RealBatch, *, step: int, nimg: int) -> dict[str, float]:
        """Make a step and return figures by name.

        ``loss`` is weighted by the noise of each row, ``error`` is the plain mean
        square of what is predicted.
        """
        found = self.told(self.advance(batch, step=step, nimg=nimg))
        return found | {"lr": self.slowed * self.options.lr_at(nimg, self.total)}

    def advance(
        self, batch: RealBatch, *, step: int, nimg: int
    ) -> dict[str, torch.Tensor]:
        """Make a step and return its figures where they are; no value is read."""
        photos = len(batch.images) // self._each
        share = Share(self.ranks.rank * photos, self.ranks.world * photos)
        self.stepper.levers = self.levers
        with own_randomness(self.seed, step, self.ranks.rank):
            found = self.stepped(
                self.part,
                lambda: self.stepper.gradient(batch, step=step, share=share),
                lr=self.options.lr_at(nimg, self.total), betas=self.options.betas,
                longest=self.options.longest,
            )  # fmt: skip
        seen = nimg + share.total
        self.average.update(self.adapters, images=share.total, nimg=seen)
        return found

    def sample(
        self,
        seeds: Sequence[int],
        labels: Sequence[int],
        places: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        """Return images of the averaged adapters, uint8 [N, H, W, C]."""
        with self.adapters.holding(self.average.module):
            return self._sampler(seeds, labels, places)

    def save_generator(self, folder: Path, notes: Mapping[str, Any]) -> None:
        """Write the averaged adapters into an empty folder."""
        with self.adapters.holding(self.average.module):
            self._save(self.adapters, folder, notes)

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return all tensors of its state, by file and by name."""
        return {
            # bitsandbytes counts its steps in a number
            file: {name: torch.as_tensor(one) for name, one in some.items()}
            for file, some in super().tensors().items()
        }

    def restore(
        self,
        tensors: Mapping[str, Mapping[str, torch.Tensor]],
        facts: Mapping[str, Any],
    ) -> None:
        """Go on from a state.

        Raises:
            StateMismatch: It is of other adapters or of another base.
        """
        super().restore(tensors, facts)
        if self.options.eight_bit:
            for held in self.optimisers[self.part].state.values():
                held["step"] = int(held["step"])


def _eight_bit(adapters: nn.Module) -> Any:  # noqa: ANN401
    """Return Adam with moments in 8 bits; options say that it is installed."""
    import bitsandbytes  # noqa: PLC0415  # not everybody has it

    return bitsandbytes.optim.Adam8bit(adapters.parameters())
