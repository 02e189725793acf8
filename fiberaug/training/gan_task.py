"""A GAN as the loop trains it: networks, optimisers, averaged weights."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fiberaug.synthetic.gans import GANGenerator
from fiberaug.training.contracts import RealBatch
from fiberaug.training.drawing import Augmenter
from fiberaug.training.gan_options import GANOptions
from fiberaug.training.levers import Levers
from fiberaug.training.networks import Network
from fiberaug.training.ranking import Ranks
from fiberaug.training.stepping import GANStep, Share
from fiberaug.training.tasks import NetworksTask, Save, own_randomness

__all__ = ["GANTask"]


class GANTask(NetworksTask):
    """A generator and a critic in training.

    Args:
        generator: Latents to images, on its device.
        critic: Images to logits.
        options: How they are trained.
        latent: Shape of one latent.
        photos: Real photos there are, from which the share of augmentation follows.
        total: Images that are shown in all.
        levers: What makes a step need less memory.
        ranks: The processes that train.
        save: Writes the averaged generator into a folder; (module, folder, notes).
    """

    kind = "gan"
    penalised = True

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        options: GANOptions,
        *,
        latent: tuple[int, ...],
        photos: int,
        total: int,
        levers: Levers,
        ranks: Ranks,
        save: Save,
    ) -> None:
        self.options, self.total = options, total
        self.generator = Network(generator, "generator")
        self.critic = Network(critic, "critic")
        self.augmenter = Augmenter(options.augment, options.share_of(photos))
        self.stepper = GANStep(
            self.generator, self.critic, options.made, latent=latent,
            augmenter=self.augmenter, seed=options.seed,
        )  # fmt: skip
        self._half_done = -1
        self._figures: dict[str, torch.Tensor] = {}
        super().__init__(
            {"generator": generator, "critic": critic}, averaged="generator",
            half_life=options.half_life, seed=options.seed, levers=levers, ranks=ranks,
            save=save, same={"loss": options.loss},
        )  # fmt: skip

    def step(self, batch: RealBatch, *, step: int, nimg: int) -> dict[str, float]:
        """Make a step of both networks and return figures by name.

        Called again after an error of memory it goes on with the half that failed.
        """
        found = self.told(self.advance(batch, step=step, nimg=nimg))
        gamma = self._gamma(batch, nimg)
        lr = self.slowed * self.options.lr_at(nimg, self.total)
        return found | {"lr": lr, "gamma": gamma}

    def _gamma(self, batch: RealBatch, nimg: int) -> float:
        height, width = batch.images.shape[2:]
        rows = self.ranks.world * len(batch.images)
        return self.options.gamma_at(nimg, self.total, pixels=height * width, rows=rows)

    def advance(
        self, batch: RealBatch, *, step: int, nimg: int
    ) -> dict[str, torch.Tensor]:
        """Make a step and return its figures where they are; no value is read."""
        rows = len(batch.images)
        share = Share(self.ranks.rank * rows, self.ranks.world * rows)
        gamma = self._gamma(batch, nimg)
        self.stepper.levers = self.levers
        with own_randomness(self.seed, step, self.ranks.rank):
            if self._half_done != step:
                self._figures = self._half(
                    "critic",
                    lambda: self.stepper.critic_half(
                        batch, step=step, share=share, gamma=gamma
                    ),
                    nimg,
                )
                self._clip()
                self._half_done = step
            if (step + 1) % self.options.steps_of_critic == 0:
                self._figures |= self._half(
                    "generator",
                    lambda: self.stepper.generator_half(batch, step=step, share=share),
                    nimg,
                )
                every = share.total * self.options.steps_of_critic
                self.average.update(
                    self.generator.module, images=every, nimg=nimg + share.total
                )
        return self._figures

    def _half(
        self, name: str, gradients: Callable[[], dict[str, torch.Tensor]], nimg: int
    ) -> dict[str, torch.Tensor]:
        return self.stepped(
            name, gradients, betas=self.options.betas_at(nimg, self.total),
            lr=self.options.lr_at(nimg, self.total, of_critic=name == "critic"),
        )  # fmt: skip

    def _clip(self) -> None:
        bound = self.options.made.clip
        if bound is not None:
            with torch.no_grad():
                for one in self.critic.module.parameters():
                    one.clamp_(-bound, bound)

    def restore(
        self,
        tensors: Mapping[str, Mapping[str, torch.Tensor]],
        facts: Mapping[str, Any],
    ) -> None:
        """Go on from a state.

        Raises:
            StateMismatch: It is of other networks or of another loss.
        """
        super().restore(tensors, facts)
        self._half_done = -1

    def sample(
        self,
        seeds: Sequence[int],
        labels: Sequence[int],
        places: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        """Return images of the averaged weights, uint8 [N, H, W, C]."""
        made = GANGenerator(self.average.module, latent=self.stepper.latent)
        where = places if self.generator.placed else None
        return made.generate(seeds, labels, places=where)
