"""The noise of a sample: of all bits of its seed, and of nothing else."""

from collections.abc import Sequence

import numpy as np
import torch

__all__ = ["generators_of", "noise_of"]

_KEY = 624  # words of the Mersenne twister
_AT = 24  # byte of torch's state at which they begin, uint64 each; no draw was made yet
_STREAM = 2  # beside those of latents and of places


def generators_of(seeds: Sequence[int]) -> list[torch.Generator]:
    """Return a generator for each seed, on the CPU.

    ``manual_seed`` looks at the lower 32 bits, so that two of 50,000 random seeds
    would often give the same image; here all bits of a seed fill the state.

    Args:
        seeds: Each in [0, 2**63).

    >>> one, two = generators_of([5, 5 + 2**40])
    >>> bool((torch.randn(4, generator=one) == torch.randn(4, generator=two)).any())
    False
    """
    made = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        state = generator.get_state()
        key = np.random.SeedSequence([seed, _STREAM]).generate_state(_KEY)
        words = torch.from_numpy(key.astype(np.int64))
        state[_AT : _AT + 8 * _KEY] = words.view(torch.uint8)
        generator.set_state(state)
        made.append(generator)
    return made


def noise_of(
    generators: Sequence[torch.Generator], shape: tuple[int, ...]
) -> torch.Tensor:
    """Return the next noise of each generator, float32 [B, *shape], on the CPU."""
    return torch.stack([torch.randn(shape, generator=one) for one in generators])
