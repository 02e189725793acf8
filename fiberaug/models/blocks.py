"""What both networks are made of: residual blocks without normalisation, resampling.

Nothing looks at other rows of a batch: micro-batches give the very gradients of a whole
one. Blocks begin as the identity: their last convolution is zero (Zhang, Dauphin, Ma,
"Fixup Initialization", ICLR 2019; Huang et al., "The GAN is dead; long live the GAN!",
NeurIPS 2024, section 3.3).
"""

import math
from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional

from fiberaug.models.config import Block

__all__ = [
    "GAIN",
    "SLOPE",
    "Down",
    "Residual",
    "Up",
    "fan_in",
    "pointwise",
    "recomputed_modules",
]

SLOPE = 0.2
"""Of the leaky rectifiers, for negative values."""

GAIN = math.sqrt(2 / (1 + SLOPE**2))
"""What keeps the variance of values through a rectifier and the layer before it."""

_GROUP = 16  # channels of a group
_EXPANSION = 2  # inner channels of a grouped block per channel

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


class Residual(nn.Module):
    """Values plus a small network of them; what recomputation wraps.

    Args:
        width: Channels.
        block: ``dense`` or ``grouped``, see :data:`fiberaug.models.config.Block`.
    """

    def __init__(self, width: int, block: Block = "dense") -> None:
        super().__init__()
        if block == "dense":
            self.enter = nn.Conv2d(width, width, 3, padding=1)
            self.middle: nn.Conv2d | None = None
            self.exit = nn.Conv2d(width, width, 3, padding=1, bias=False)
        else:
            inner = _EXPANSION * width
            groups = inner // math.gcd(_GROUP, inner)
            self.enter = nn.Conv2d(width, inner, 1)
            self.middle = nn.Conv2d(inner, inner, 3, padding=1, groups=groups)
            self.exit = nn.Conv2d(inner, width, 1, bias=False)
            fan_in(self.middle, GAIN)
        fan_in(self.enter, GAIN)
        nn.init.zeros_(self.exit.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return values of the same shape, [B, width, H, W]."""
        inner = functional.leaky_relu(self.enter(x), SLOPE)
        if self.middle is not None:
            inner = functional.leaky_relu(self.middle(inner), SLOPE)
        out: torch.Tensor = x + self.exit(inner)
        return out


class Up(nn.Module):
    """Doubles both sides, bilinearly, after the channels are brought to their number.

    Args:
        before: Channels that come.
        after: Channels that go.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.mix = pointwise(before, after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return [B, after, 2H, 2W] of [B, before, H, W]."""
        x = self.mix(x)
        return functional.interpolate(
            x, scale_factor=2.0, mode="bilinear", align_corners=False
        )


class Down(nn.Module):
    """Halves both sides and brings channels to their number: one 2x2 convolution.

    It begins as the mean of 2x2 px with the channels mixed, and learns what is better.

    Args:
        before: Channels that come.
        after: Channels that go.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(before, after, 2, stride=2, bias=False)
        with torch.no_grad():
            mean = torch.randn(after, before, 1, 1) / (4 * math.sqrt(before))
            self.mix.weight.copy_(mean.expand_as(self.mix.weight))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return [B, after, H / 2, W / 2] of [B, before, H, W]."""
        mixed: torch.Tensor = self.mix(x)
        return mixed


def pointwise(before: int, after: int) -> nn.Module:
    """Return a 1x1 convolution that keeps the variance; none where none is needed."""
    if before == after:
        return nn.Identity()
    return fan_in(nn.Conv2d(before, after, 1, bias=False), 1.0)


def fan_in(layer: Layer, gain: float) -> Layer:
    """Return a layer with weights of variance gain^2 / fan-in and biases of zero.

    He et al., "Delving Deep into Rectifiers", ICCV 2015, section 2.2.
    """
    inputs = layer.weight[0].numel()
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def recomputed_modules(network: nn.Module) -> list[nn.Module]:
    """Return the blocks of a network whose values a backward pass can compute again."""
    return [module for module in network.modules() if isinstance(module, Residual)]
