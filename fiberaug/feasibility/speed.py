"""How fast this machine computes, from three convolutions such as a large UNet has."""

import statistics
import time

import torch
from torch.nn import functional

__all__ = ["operations_per_s"]

_CHANNELS, _SIDE, _STEPS = 320, 64, 3
_FLOPS = 2 * _SIDE**2 * _CHANNELS**2 * 9 * 2


def operations_per_s(device: torch.device) -> float:
    """Return the operations a second of a convolution, the median of three.

    It is that of the first level of Stable Diffusion's UNet: 320 channels of 64x64, two
    rows; float32 on a CPU, float16 on a GPU.

    Args:
        device: Where it is computed.
    """
    cuda = device.type == "cuda"
    dtype = torch.float16 if cuda else torch.float32
    rows = torch.zeros(2, _CHANNELS, _SIDE, _SIDE, dtype=dtype, device=device)
    weight = torch.zeros(_CHANNELS, _CHANNELS, 3, 3, dtype=dtype, device=device)
    taken = []
    with torch.no_grad():
        for _ in range(_STEPS + 1):
            started = time.perf_counter()
            functional.conv2d(rows, weight, padding=1)
            if cuda:
                torch.cuda.synchronize(device)
            taken.append(time.perf_counter() - started)
    return _FLOPS / statistics.median(taken[1:])
