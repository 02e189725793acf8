"""What tests of sources share."""

from collections import Counter
from itertools import islice

import numpy as np
import torch

__all__ = ["assert_same", "numbers_of", "stamped", "take"]


def take(source, count: int) -> list:
    """The next batches of a source."""
    return list(islice(source.batches(), count))


def assert_same(first, second) -> None:
    """Check that batches are equal in all that they hold."""
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        for value, again in zip(one, other, strict=True):
            assert (value is None) == (again is None)
            assert value is None or torch.equal(value, again)


def stamped(count: int, height: int = 8, width: int = 8) -> np.ndarray:
    """Gray photos [N, H, W, 1] whose level tells their number below 256."""
    levels = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(levels, (count, height, width, 1)).copy()


def numbers_of(batches) -> Counter:
    """How often each photo of :func:`stamped` came."""
    levels = torch.cat([batch.images[:, 0, 0, 0] for batch in batches])
    return Counter(((levels + 1) * 127.5).round().int().tolist())
