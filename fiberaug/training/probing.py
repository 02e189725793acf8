"""How long a step takes here, from a few of them."""

import statistics
import time
from collections.abc import Callable

import torch

from fiberaug.errors import UsageError

__all__ = ["seconds_per_image"]


def seconds_per_image(
    step: Callable[[], object],
    rows: int,
    *,
    steps: int = 3,
    device: torch.device | None = None,
) -> float:
    """Return the seconds that a training takes for an image: of the middle step.

    One more step is made before and not counted: libraries start, memory is asked for.

    Args:
        step: Makes a step.
        rows: Images of a step, over all ranks.
        steps: Steps that are counted, >= 1.
        device: Waited for where it works on its own, as a GPU does.

    Raises:
        UsageError: ``rows`` or ``steps`` is below 1.
    """
    if rows < 1 or steps < 1:
        raise UsageError(f"rows and steps must be >= 1, got {rows} and {steps}")
    taken = []
    for _ in range(steps + 1):
        started = time.perf_counter()
        step()
        if device is not None and device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:]) / rows
