"""How the network of a judge learns to see: from real photos, in a minute.

Two lessons at once. Views of one photo are to look alike and those of others not: T.
Chen, S. Kornblith, M. Norouzi and G. Hinton, A Simple Framework for Contrastive
Learning of Visual Representations (ICML 2020), equation (1). And classes are to be told
apart, where photos have some.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fiberaug.evaluate.feeding import scaled
from fiberaug.training.drawing import generator_of
from fiberaug.training.judges import JudgeNetwork

__all__ = ["teach"]

_ROWS = 64  # photos of a step, each in two views
_RATE = 1e-3  # of learning, at its highest
_CROP = 0.25  # share of a side that a view may lack
_LIGHT = 0.3  # by which contrast changes, twice that of brightness
_GRAIN = 0.05  # most noise, of levels from 0 to 1
_TEMPERATURE = 0.2


def teach(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64] | None,
    *,
    outputs: int = 1,
    shown: int,
    seed: int = 0,
    device: torch.device | None = None,
) -> JudgeNetwork:
    """Return a network that has seen so many photos; a function of the arguments.

    Args:
        images: uint8 [N, H, W, C].
        labels: int64 [N] below ``outputs``; None: there are none.
        outputs: Classes.
        shown: Photos to look at in all, each time one is looked at.
        seed: In [0, 2**64).
        device: Where it learns and stays; None: in memory.
    """
    here = device or torch.device("cpu")
    steps = max(1, shown // _ROWS)
    known = None if labels is None else torch.from_numpy(labels)
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_of(seed, 0, "judge").initial_seed())
        network = JudgeNetwork(images.shape[1:3], images.shape[3], outputs)
        width = network.head.in_features
        aside = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 64))
    network.to(here)
    aside.to(here)
    learned = [*network.parameters(), *aside.parameters()]
    optimizer = torch.optim.AdamW(learned, lr=_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, _RATE, total_steps=steps + 1, pct_start=0.1
    )
    for step in range(steps):
        draw = generator_of(seed, step + 1, "judge")
        rows = torch.randint(len(pixels), (_ROWS,), generator=draw)
        photos = scaled(pixels[rows])
        both = torch.cat([_view(photos, draw), _view(photos, draw)]).to(here)
        seen = network.embed(both)
        loss = _pairs(aside(seen))
        if known is not None:
            classes = known[rows].repeat(2).to(here)
            loss = loss + nn.functional.cross_entropy(network.head(seen), classes)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network.requires_grad_(requires_grad=False).eval()


def _view(photos: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """Return each photo cropped, in another light and with noise, float [B, C, H, W].

    It is not mirrored: digits and letters are others in a mirror.
    """
    count = len(photos)
    spread = torch.rand(count, 7, generator=draw)
    side = 1 - _CROP * spread[:, 0]
    stretch = 1 + 0.2 * (spread[:, 1] - 0.5)
    place = torch.zeros(count, 2, 3)
    place[:, 0, 0], place[:, 1, 1] = side * stretch, side / stretch
    place[:, :, 2] = _CROP * (2 * spread[:, 2:4] - 1)
    grid = nn.functional.affine_grid(place, list(photos.shape), align_corners=False)
    cut = nn.functional.grid_sample(
        photos, grid, padding_mode="border", align_corners=False
    )
    contrast, brightness, grain = spread[:, 4:, None, None, None].unbind(1)
    middle = cut.mean((1, 2, 3), keepdim=True)
    light = (cut - middle) * (1 + _LIGHT * (2 * contrast - 1))
    light = light + middle + _LIGHT * (brightness - 0.5)
    return light + _GRAIN * grain * torch.randn(light.shape, generator=draw)


def _pairs(seen: torch.Tensor) -> torch.Tensor:
    """Return the loss of equation (1): rows i and i + B are views of one photo."""
    count = len(seen) // 2
    unit = nn.functional.normalize(seen, dim=1)
    alike = unit @ unit.T / _TEMPERATURE
    alike = alike.masked_fill(
        torch.eye(2 * count, dtype=torch.bool, device=seen.device), float("-inf")
    )
    partner = torch.arange(2 * count, device=seen.device).roll(count)
    return nn.functional.cross_entropy(alike, partner)
