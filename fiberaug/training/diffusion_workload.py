"""What a diffusion model's step takes, found before it is made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from fiberaug.training.diffusion_options import DiffusionOptions
from fiberaug.training.diffusion_task import DiffusionTask
from fiberaug.training.levers import Levers
from fiberaug.training.plans import Step, Workload
from fiberaug.training.ranking import Ranks

__all__ = ["DiffusionWorkload"]


@dataclass(frozen=True, kw_only=True)
class DiffusionWorkload(Workload):
    """A network that is to be trained to take noise out of images."""

    averaged: ClassVar[str] = "unet"

    unet: nn.Module
    """(noisy images, times, conditions) to v."""

    options: DiffusionOptions
    """How it is trained."""

    shape: tuple[int, int, int]
    """(channels, height, width) of an image."""

    classes: tuple[str, ...]
    """Names by label; empty: none."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """What is trained, by name."""
        return {"unet": self.unet}

    @property
    def image(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        return self.shape

    def task(self, networks: Mapping[str, nn.Module], levers: Levers) -> Step:
        """Return what makes a step of networks as large as these."""
        return DiffusionTask(
            networks["unet"], self.options, image=self.image, classes=self.classes,
            total=2**40, levers=levers, ranks=Ranks.alone(), save=lambda *_: None,
        ).advance  # fmt: skip
