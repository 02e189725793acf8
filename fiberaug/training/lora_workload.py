"""What a training of adapters takes: the largest of its three parts.

Photos are encoded, then steps are made, and now and then a picture is painted. Weights
that are frozen are there already and leave no holes: they count as they are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import nn

from fiberaug.training.contracts import RealBatch
from fiberaug.training.footprint import footprint, pretended
from fiberaug.training.levers import Levers
from fiberaug.training.lora_options import LoRAOptions
from fiberaug.training.lora_task import LoRATask, Stepper
from fiberaug.training.plans import Step, Workload
from fiberaug.training.ranking import Ranks

__all__ = ["LoRAWorkload", "Part"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Something that is done apart from steps, without gradients."""

    network: nn.Module
    """What runs."""

    run: Callable[[Any], object]
    """Runs a copy of it on tensors without values."""

    beside: int = 0
    """Bytes of weights that are there meanwhile, and later not."""


@dataclass(frozen=True, kw_only=True)
class LoRAWorkload(Workload):
    """A frozen network with adapters in it."""

    averaged: ClassVar[str] = "adapters"
    task_type: ClassVar[type[LoRATask]] = LoRATask

    network: nn.Module
    """With adapters."""

    options: LoRAOptions
    """How they are trained."""

    stepper: Callable[[nn.Module], Stepper]
    """Makes what makes gradients, of a network as large as this one."""

    shape: tuple[int, int, int]
    """Of a row of a batch: (channels, height, width)."""

    picture: tuple[int, int, int]
    """Of an image: (channels, height, width), px."""

    each: int = 1
    """Rows for each photo."""

    parts: Sequence[Part] = ()
    """What is done beside steps."""

    helpers: int = 0
    """Bytes of weights in this process that are freed before steps are made."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """What runs, by name."""
        return {"network": self.network}

    @property
    def trained(self) -> Mapping[str, nn.Module]:
        """What has optimisers and states, by name."""
        return {self.averaged: self.task_type.of(self.network)}

    @property
    def held_bytes(self) -> int:
        """Bytes of weights in this process."""
        return super().held_bytes + self.helpers

    @property
    def image(self) -> tuple[int, int, int]:
        """(channels, height, width) of a row."""
        return self.shape

    def task(self, networks: Mapping[str, nn.Module], levers: Levers) -> Step:
        """Return what makes a step of a network as large as this."""
        network = networks["network"]
        return self.task_type(
            network, self.options, stepper=self.stepper(network), total=2**40,
            levers=levers, ranks=Ranks.alone(), save=lambda *_: None,
            sampler=_no_sampler, each=self.each,
        ).advance  # fmt: skip

    def _batch(self, rows: int) -> RealBatch:
        return super()._batch(self.each * rows)

    @property
    def beside(self) -> int:
        """Bytes of batches that wait, and of samples for pictures."""
        height, width = self.picture[1:]
        waiting = 3 * 4 * self.each * self.rows * self._numbers
        return waiting + 6 * 32 * self.picture[0] * height * width

    def needs(self, levers: Levers, *, base: int, beside: int) -> int:
        """Return the bytes that the worst moment of a training takes.

        Args:
            levers: How a step is made.
            base: Bytes of the process without its weights.
            beside: Bytes of other things, such as batches that wait.
        """
        step = super().needs(levers, base=base, beside=beside)
        step += self._without_holes(self.network, at_once=levers.recompute)
        return max(step, base + beside + self._beside_steps)

    @cached_property
    def _beside_steps(self) -> int:
        """Bytes of what takes most beside steps; no lever changes it."""
        return max([0, *(self._part(one) for one in self.parts)])

    def _part(self, part: Part) -> int:
        """Return the bytes that something beside steps takes."""

        def build() -> Any:  # noqa: ANN401  # what runs it
            copy = pretended(part.network)
            return lambda: part.run(copy)

        with torch.no_grad():
            found = footprint(build, device=self.device.type, base=part.beside)
        mine = self._without_holes(part.network, at_once=False)
        return found.total + mine + _bytes(self.network)

    def _without_holes(self, network: nn.Module, *, at_once: bool) -> int:
        """Return what is to be added to a trace: weights are what they are.

        A trace counts weights as if they came and went; here they are there already,
        without a hole between them.
        """

        def build() -> Any:  # noqa: ANN401  # what keeps them
            copy = pretended(network)
            return lambda: copy

        device = self.device.type
        traced = footprint(build, device=device, at_once=at_once).step
        return _bytes(network) - traced


def _no_sampler(*_: object) -> Any:  # noqa: ANN401  # a step makes no image
    raise NotImplementedError


def _bytes(network: nn.Module) -> int:
    return sum(one.numel() * one.element_size() for one in network.parameters())
