"""Weights averaged over a run: what is sampled from and kept."""

import copy
from typing import Any

import torch
from torch import nn

__all__ = ["Average"]


class Average:
    """A copy of a network whose weights follow it, by an exponential mean.

    Yazici et al. 2019, "The unusual effectiveness of averaging in GAN training". The
    half-life grows with the run at first, so that the first weights are forgotten.

    Args:
        module: The network.
        half_life: Images after which a weight counts half.
        share: The half-life is at most this share of the images shown so far.
    """

    def __init__(
        self, module: nn.Module, *, half_life: float = 500_000, share: float = 0.05
    ) -> None:
        self.module = _copied(module)
        self.half_life, self.share = half_life, share

    @torch.no_grad()
    def update(self, module: nn.Module, *, images: int, nimg: int) -> None:
        """Follow a network by one step.

        Args:
            module: The network after the step.
            images: Images of the step.
            nimg: Images shown so far, with those of the step.
        """
        half_life = min(self.half_life, self.share * nimg)
        keep = 0.5 ** (images / half_life) if half_life > 0 else 0.0
        mine: list[torch.Tensor] = list(self.module.parameters())
        theirs = [one.detach() for one in module.parameters()]
        torch._foreach_lerp_(mine, theirs, 1 - keep)  # Adam's own way
        for kept, now in zip(self.module.buffers(), module.buffers(), strict=True):
            kept.copy_(now)


def _copied(module: nn.Module) -> nn.Module:
    """Return a copy for evaluation, whose weights have no gradient."""
    # Tensors are cloned here: deepcopy reads addresses, which pretended ones have not.
    memo: dict[int, Any] = {
        id(one): nn.Parameter(one.detach().clone(), requires_grad=False)
        for one in module.parameters()
    }
    memo |= {id(one): one.detach().clone() for one in module.buffers()}
    return copy.deepcopy(module, memo).eval()
