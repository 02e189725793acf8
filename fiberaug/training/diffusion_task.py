"""A diffusion model as the loop trains it: a network, its optimiser, its average."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fiberaug.synthetic.diffusions import DiffusionGenerator
from fiberaug.training.contracts import RealBatch
from fiberaug.training.diffusion_options import DiffusionOptions
from fiberaug.training.levers import Levers
from fiberaug.training.noising import NoiseStep
from fiberaug.training.ranking import Ranks
from fiberaug.training.stepping import Share
from fiberaug.training.tasks import NetworksTask, Save, own_randomness

__all__ = ["SAMPLER", "STEPS", "DiffusionTask"]

SAMPLER, STEPS = "dpmsolver++", 10
"""How images are sampled while a model is trained."""

_FORWARD = 1 / 3  # of the time that an image of a step takes


class DiffusionTask(NetworksTask):
    """A network that takes noise out of images, in training.

    Args:
        unet: (noisy images, times, conditions) to v, on its device.
        options: How it is trained.
        image: (channels, height, width) of an image.
        classes: Names by label; empty: none.
        total: Images that are shown in all.
        levers: What makes a step need less memory.
        ranks: The processes that train.
        save: Writes the averaged network into a folder; (module, folder, notes).
    """

    kind = "diffusion"
    sample_cost = STEPS * _FORWARD

    def __init__(
        self,
        unet: nn.Module,
        options: DiffusionOptions,
        *,
        image: tuple[int, int, int],
        classes: tuple[str, ...],
        total: int,
        levers: Levers,
        ranks: Ranks,
        save: Save,
    ) -> None:
        self.options, self.total, self.unet = options, total, unet
        self.image, self.classes = image, classes
        self.stepper = NoiseStep(
            unet, classes=len(classes), min_snr=options.min_snr, seed=options.seed,
            dropped=options.dropped,
        )  # fmt: skip
        super().__init__(
            {"unet": unet}, averaged="unet", half_life=options.half_life,
            seed=options.seed, levers=levers, ranks=ranks, save=save,
            same={"predicts": "v"},
        )  # fmt: skip

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
        rows = len(batch.images)
        share = Share(self.ranks.rank * rows, self.ranks.world * rows)
        self.stepper.levers = self.levers
        with own_randomness(self.seed, step, self.ranks.rank):
            found = self.stepped(
                "unet",
                lambda: self.stepper.gradient(batch, step=step, share=share),
                lr=self.options.lr_at(nimg, self.total), betas=self.options.betas,
                longest=self.options.longest,
            )  # fmt: skip
        self.average.update(self.unet, images=share.total, nimg=nimg + share.total)
        return found

    def sample(
        self,
        seeds: Sequence[int],
        labels: Sequence[int],
        places: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        """Return images of the averaged weights, uint8 [N, H, W, C]."""
        made = DiffusionGenerator(
            self.average.module,
            classes=self.classes,
            shape=self.image,
            sampler=SAMPLER,
            steps=STEPS,
        )
        where = places if "places" in self.stepper.names else None
        return made.generate(seeds, labels if self.classes else None, places=where)
