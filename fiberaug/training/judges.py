"""A small network that looks at photos, for the features that figures are taken of."""

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.files import write_atomically

__all__ = ["JudgeNetwork", "read_network", "write_network"]

_SMALLEST = 8  # about the shorter side of the last map, px
_CELLS = 3  # of a side of the last map that are described apart
_HEADER = 1 << 16  # bytes before the weights in a file, at most
_GROUPS = 8  # of channels that are normalised together


class JudgeNetwork(nn.Module):
    """A classifier whose features tell photos apart, also within a class.

    No layer mixes the rows of a batch: an image's features depend on nothing else.

    Args:
        size: (height, width) of the images, px.
        channels: Of the images, 1 to 4.
        outputs: Classes that :meth:`forward` tells apart, >= 1.
        width: Numbers that describe an image, a multiple of 32.

    Raises:
        UsageError: An argument is out of range.
    """

    def __init__(
        self, size: tuple[int, int], channels: int, outputs: int, *, width: int = 128
    ) -> None:
        super().__init__()
        if min(*size, channels, outputs) < 1 or width < 32 or width % 32:
            raise UsageError(
                "a judge needs sides, channels and outputs >= 1 and a width that is a"
                f" multiple of 32, got {size}, {channels}, {outputs} and {width}"
            )
        sides = [max(math.ceil(side / 2), 1) for side in size]
        widths = [16]
        while min(sides) > _SMALLEST:
            sides = [math.ceil(side / 2) for side in sides]
            widths.append(min(2 * widths[-1], 64))
        widths.append(64)
        self.entry = nn.Conv2d(channels, widths[0], 4, 2, 2)
        self.levels = nn.Sequential(
            *(_Level(inner, outer) for inner, outer in pairwise(widths))
        )
        self.pool = nn.AdaptiveAvgPool2d(_CELLS)
        self.describe = nn.Linear(widths[-1] * _CELLS**2, width)
        self.head = nn.Linear(width, outputs)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return what is seen in images, float [B, width].

        Args:
            images: float [B, C, H, W] in [0, 1].
        """
        seen = self.pool(self.levels(self.entry(images * 2 - 1)))
        described: torch.Tensor = self.describe(seen.flatten(1))
        return described

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits of classes, float [B, outputs]; images as for :meth:`embed`."""
        logits: torch.Tensor = self.head(self.embed(images))
        return logits


def write_network(path: Path, network: nn.Module) -> None:
    """Write weights as safetensors.

    Raises:
        StoreError: The file cannot be written.
    """
    held = {n: one.detach().cpu().contiguous() for n, one in _state(network)}
    write_atomically(path, save(held))


def read_network(
    path: Path, size: tuple[int, int], channels: int, outputs: int
) -> JudgeNetwork | None:
    """Return the network whose weights are in a file; None: no such ones are.

    Args:
        path: File that :func:`write_network` wrote.
        size: See :class:`JudgeNetwork`.
        channels: See there.
        outputs: See there.
    """
    with torch.random.fork_rng(devices=[]):
        network = JudgeNetwork(size, channels, outputs)
    mine = dict(_state(network))
    most = _HEADER + sum(one.numel() * one.element_size() for one in mine.values())
    if not path.is_file() or path.stat().st_size > most:
        return None
    try:
        held = load(path.read_bytes())
    except SafetensorError:
        return None
    if _kinds(held) != _kinds(mine):
        return None
    network.load_state_dict(held)
    return network.requires_grad_(requires_grad=False).eval()


def _kinds(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[object, object]]:
    return {name: (one.shape, one.dtype) for name, one in tensors.items()}


def _state(network: nn.Module) -> Iterable[tuple[str, torch.Tensor]]:
    found: Mapping[str, torch.Tensor] = network.state_dict()
    return found.items()


class _Level(nn.Module):
    """A block at half the size."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.change = nn.Conv2d(inner, outer, 3, 2, 1)
        self.first = nn.GroupNorm(_GROUPS, outer)
        self.inside = nn.Conv2d(outer, outer, 3, 1, 1)
        self.second = nn.GroupNorm(_GROUPS, outer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.relu(self.first(self.change(x)))
        return nn.functional.relu(x + self.second(self.inside(x)))
