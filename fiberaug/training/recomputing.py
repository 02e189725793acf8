"""Blocks that forget what they computed and compute it again in the backward pass.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016: of a block its input
is kept, and what it computed is made again when its gradient is due.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from fiberaug.models.blocks import recomputed_modules

__all__ = ["Recomputing", "recompute"]

_OF_DIFFUSERS = ("ResnetBlock2D", "BasicTransformerBlock", "Attention")
Forward = Callable[..., torch.Tensor]


class _Again:
    """A forward pass that keeps its inputs alone."""

    def __init__(self, forward: Forward) -> None:
        self.forward = forward

    def __call__(self, *args: Any, **kwargs: Any) -> torch.Tensor:  # noqa: ANN401
        if not torch.is_grad_enabled():
            return self.forward(*args, **kwargs)
        found: torch.Tensor = checkpoint(
            self.forward, *args, use_reentrant=False, **kwargs
        )
        return found


class _InParts:
    """The forward pass of a ``Sequential``, of some layers at a time."""

    def __init__(self, module: nn.Sequential) -> None:
        layers = list(module)
        each = math.ceil(math.sqrt(len(layers)))
        parts = [layers[at : at + each] for at in range(0, len(layers), each)]
        self.parts = [
            _Again(_Chain(part)) if _is_pure(part) else _Chain(part) for part in parts
        ]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.parts:
            x = part(x)
        return x


class _Chain:
    """One layer after the other."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self.layers = layers

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Recomputing:
    """What was done to a network, and how it is undone.

    Args:
        changed: Modules, each with the forward pass that it gets.
    """

    def __init__(self, changed: Sequence[tuple[nn.Module, Forward]]) -> None:
        self.modules = [module for module, _ in changed]
        for module, forward in changed:
            module.__dict__["forward"] = forward

    def __len__(self) -> int:
        """Return how many modules compute again."""
        return len(self.modules)

    def undo(self) -> None:
        """Let all modules compute once."""
        for module in self.modules:
            module.__dict__.pop("forward", None)
        self.modules = []

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(self, *_: object) -> None:
        """Undo it."""
        self.undo()


def recompute(network: nn.Module) -> Recomputing:
    """Let the blocks of a network compute again in the backward pass.

    Values and names of weights stay what they are. Of our networks and of those of
    diffusers each residual block is one, and each attention, of transformers with what
    follows it; of others the layers of each outermost ``Sequential`` are, a few at a
    time: of n layers about sqrt(n). Layers with buffers, such as batch normalisation
    and spectral normalisation, compute once: a second time would change them again.

    Args:
        network: Changed in place, until :meth:`Recomputing.undo`.
    """
    blocks = recomputed_modules(network) or _of_diffusers(network)
    blocks = [one for one in blocks if _is_pure([one])]
    if blocks:
        return Recomputing([(one, _Again(one.forward)) for one in blocks])
    found = [one for one in _outermost(network) if len(one) > 1]
    return Recomputing([(one, _InParts(one)) for one in found])


def _of_diffusers(module: nn.Module) -> list[nn.Module]:
    """Return the outermost blocks of a network of diffusers."""
    if type(module).__name__ in _OF_DIFFUSERS:
        return [module]
    return [found for child in module.children() for found in _of_diffusers(child)]


def _is_pure(modules: Sequence[nn.Module]) -> bool:
    return all(next(one.buffers(), None) is None for one in modules)


def _outermost(module: nn.Module) -> list[nn.Sequential]:
    if isinstance(module, nn.Sequential):
        return [module]
    return [found for child in module.children() for found in _outermost(child)]
