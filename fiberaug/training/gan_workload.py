"""What a GAN's step takes, found before it is made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from fiberaug.training.gan_options import GANOptions
from fiberaug.training.gan_task import GANTask
from fiberaug.training.levers import Levers
from fiberaug.training.plans import Step, Workload
from fiberaug.training.ranking import Ranks
from fiberaug.training.shapes import Shapes

__all__ = ["GANWorkload"]


@dataclass(frozen=True, kw_only=True)
class GANWorkload(Workload):
    """A generator and a critic that are to be trained."""

    averaged: ClassVar[str] = "generator"
    penalised: ClassVar[bool] = True

    generator: nn.Module
    """Latents to images."""

    critic: nn.Module
    """Images to logits."""

    options: GANOptions
    """How they are trained."""

    shapes: Shapes
    """What they are made for."""

    photos: int
    """Real photos there are."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """What is trained, by name."""
        return {"generator": self.generator, "critic": self.critic}

    @property
    def image(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        return self.shapes.channels, *self.shapes.size

    @property
    def worst_step(self) -> int:
        """Number of a step in which the generator takes part, too."""
        return self.options.steps_of_critic - 1

    def task(self, networks: Mapping[str, nn.Module], levers: Levers) -> Step:
        """Return what makes a step of networks as large as these."""
        return GANTask(
            networks["generator"], networks["critic"], self.options,
            latent=self.shapes.latent, photos=self.photos, total=2**40, levers=levers,
            ranks=Ranks.alone(), save=lambda *_: None,
        ).advance  # fmt: skip
