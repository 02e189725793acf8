"""Losses of a GAN, a value for each row, with what goes with them.

Each loss is a sum over rows and takes no statistics of a batch. So the rows of a step
can be worked through in any number of parts, by any number of ranks, and give the same
gradient.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn.functional import softplus

from fiberaug.errors import UsageError

__all__ = ["LOSSES", "Loss", "loss_of"]

Rows = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A pair of losses of (real logits [B], generated logits [B]), each [B]."""

    name: str
    """As :class:`fiberaug.training.GANTrainer` takes it."""

    critic: Rows
    """What the critic makes small."""

    generator: Rows
    """What the generator makes small."""

    paired: bool
    """Whether the generator's loss looks at real photos."""

    penalty: Literal["zero-centred", "one-centred", "none"]
    """``zero-centred``: squared gradients at real and at generated images (R1, R2);
    ``one-centred``: distance of the gradient's norm from 1 between them."""

    gamma: str
    """Weight of the penalty over the run, see :class:`fiberaug.training.ramps.Ramp`;
    of a zero-centred one in units of px per image / images per step."""

    lr: str
    """Learning rate over the run."""

    betas: tuple[float, tuple[float, float]]
    """Adam's: the first, and the second at the begin and at the end of the run."""

    critic_steps: int = 1
    """Steps of the critic for one of the generator."""

    clip: float | None = None
    """Bound of each weight of the critic after a step; None: none."""


def _relativistic_critic(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return softplus(fake - real)


def _relativistic_generator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return softplus(real - fake)


def _cross_entropy_critic(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return softplus(-real) + softplus(fake)


def _cross_entropy_generator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    del real
    return softplus(-fake)


def _wasserstein_critic(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return fake - real


def _wasserstein_generator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    del real
    return -fake


LOSSES: Mapping[str, Loss] = {
    # Jolicoeur-Martineau 2018, "The relativistic discriminator", eq. 10 and 11, with
    # both penalties of Mescheder et al. 2018, eq. 9: Huang et al., "The GAN is dead;
    # long live the GAN!", NeurIPS 2024, section 2.
    "rpgan": Loss(
        name="rpgan", critic=_relativistic_critic, generator=_relativistic_generator,
        paired=True, penalty="zero-centred", gamma="cosine 0.8 0.08",
        lr="cosine 1e-3 1e-4", betas=(0.0, (0.9, 0.99)),
    ),
    # Goodfellow et al. 2014, section 3, the generator's not saturating; rates of
    # Radford et al. 2015 (DCGAN).
    "bce": Loss(
        name="bce", critic=_cross_entropy_critic, generator=_cross_entropy_generator,
        paired=False, penalty="none", gamma="0", lr="2e-4", betas=(0.5, (0.999, 0.999)),
    ),
    # Gulrajani et al. 2017, eq. 3 and algorithm 1.
    "wgan-gp": Loss(
        name="wgan-gp", critic=_wasserstein_critic, generator=_wasserstein_generator,
        paired=False, penalty="one-centred", gamma="10", lr="1e-4",
        betas=(0.0, (0.9, 0.9)), critic_steps=5,
    ),
    # Arjovsky et al. 2017, algorithm 1. A baseline: it does not learn well.
    "wgan-clip": Loss(
        name="wgan-clip", critic=_wasserstein_critic, generator=_wasserstein_generator,
        paired=False, penalty="none", gamma="0", lr="5e-5",
        betas=(0.9, (0.999, 0.999)), critic_steps=5, clip=0.01,
    ),
}  # fmt: skip


def loss_of(name: str) -> Loss:
    """Return the loss of a name.

    Raises:
        UsageError: There is none.
    """
    if name not in LOSSES:
        raise UsageError(f"loss must be one of {', '.join(LOSSES)}, got {name!r}")
    return LOSSES[name]
