"""What a generator starts from and what it gives: latents of seeds, levels."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from fiberaug.errors import UsageError

__all__ = ["latents", "seeds_of", "to_levels"]

_HALF_STEP = 2.0**-54  # half of the distance of two uniform draws: never 0, never 1
_MOST_SEED = 2**63


def latents(
    seeds: Sequence[int],
    shape: int | Sequence[int],
    *,
    truncation: float | None = None,
) -> torch.Tensor:
    """Return a latent for each seed, float32 [N, *shape], on the CPU.

    A row depends on its own seed alone, on all 63 bits of it: torch's own generator on
    the CPU looks at the lower 32. Numbers are the inverse of the normal distribution at
    uniform draws, so truncation moves each of them continuously.

    Args:
        seeds: Each in [0, 2**63).
        shape: Of one latent.
        truncation: Most magnitude of a number, > 0: less is less varied and more like
            the typical image (Brock et al., "Large Scale GAN Training", ICLR 2019,
            section 3.1). None: no bound.

    Raises:
        UsageError: A seed or ``truncation`` is out of its range.

    >>> latents([3, 4], 2)[1:].equal(latents([4], 2))
    True
    """
    sides = (shape,) if isinstance(shape, int) else tuple(shape)
    share = 1.0 if truncation is None else _share_within(truncation)
    found = np.empty((len(seeds), math.prod(sides)))
    for i, seed in enumerate(seeds_of(seeds)):
        found[i] = np.random.default_rng(seed).random(found.shape[1])
    uniform = torch.from_numpy((found + _HALF_STEP - 0.5) * share + 0.5)
    drawn: torch.Tensor = torch.special.ndtri(uniform)
    if truncation is not None:
        drawn = drawn.clamp(-truncation, truncation)  # the inverse rounds
    return drawn.float().reshape(len(seeds), *sides)


def seeds_of(seeds: object) -> list[int]:
    """Return seeds that a user gives, as integers.

    Raises:
        UsageError: They are no list of integers in [0, 2**63).
    """
    if not isinstance(seeds, Iterable) or isinstance(seeds, str | bytes):
        raise UsageError(f"seeds must be a list, one for each image, got {seeds!r:.80}")
    found = list(seeds)
    for seed in found:
        whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
        if not whole or not 0 <= seed < _MOST_SEED:
            raise UsageError(
                f"a seed must be an integer in [0, 2**63), got {seed!r:.80}"
            )
    return [int(seed) for seed in found]


def _share_within(truncation: float) -> float:
    """Return the share of a normal distribution that lies within the bound."""
    number = type(truncation) in {int, float}
    if not number or not truncation > 0 or not math.isfinite(truncation):
        raise UsageError(
            f"truncation must be a number above 0, such as 0.7 or 2, got {truncation!r}"
        )
    return math.erf(truncation / math.sqrt(2))


def to_levels(images: torch.Tensor) -> NDArray[np.uint8]:
    """Return images as levels, uint8 [N, H, W, C], rounded half to even and cut.

    Args:
        images: float [N, C, H, W]; -1 is black, 1 is white.

    Raises:
        UsageError: A value is NaN.
    """
    scaled = (images.detach().float() + 1) * 127.5
    if bool(scaled.isnan().any()):
        raise UsageError(
            "images have values that are NaN: the weights are broken, or the training"
            " has diverged"
        )
    levels = scaled.round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(levels.permute(0, 2, 3, 1).cpu().numpy())
