"""Penalties on how fast a critic changes with its images, a value for each row.

All are taken with respect to the augmented images, so nothing goes backward twice
through an augmentation.
"""

from collections.abc import Callable

import torch

__all__ = ["SIGMA", "one_centred", "squared_gradient", "squared_slope"]

Critic = Callable[[torch.Tensor], torch.Tensor]

SIGMA = 0.01
"""Length of the step of :func:`squared_slope` in each pixel, of images in [-1, 1]."""


def squared_gradient(logits: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Return the squared norm of the gradient, [B].

    Mescheder et al. 2018, "Which training methods for GANs do actually converge?",
    eq. 9 and 10, without gamma / 2.

    Args:
        logits: What the critic said, [B], a row of each image alone.
        images: What it saw, [B, C, H, W]; they require a gradient.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.float().square().sum((1, 2, 3))


def squared_slope(
    critic: Critic, logits: torch.Tensor, images: torch.Tensor, along: torch.Tensor
) -> torch.Tensor:
    """Return ((D(x + s n) - D(x)) / s)**2, [B]: in expectation the squared gradient.

    Without a second backward pass. Lin et al. 2025, "Diffusion adversarial
    post-training", eq. 6.

    Args:
        critic: Images to logits.
        logits: What it said of ``images``, [B].
        images: [B, C, H, W].
        along: Directions from a normal distribution, of the same shape.
    """
    return ((critic(images + SIGMA * along) - logits) / SIGMA).square()


def one_centred(
    critic: Critic, real: torch.Tensor, fake: torch.Tensor, between: torch.Tensor
) -> torch.Tensor:
    """Return (|gradient| - 1)**2 at points between real and generated images, [B].

    Gulrajani et al. 2017, eq. 3.

    Args:
        critic: Images to logits.
        real: [B, C, H, W].
        fake: Of the same shape.
        between: Where between them, [B], 0 is real.
    """
    at = torch.lerp(real, fake, between[:, None, None, None]).requires_grad_()
    gradients = squared_gradient(critic(at), at)
    return (gradients.add(1e-12).sqrt() - 1).square()
