"""Whether an operation can be built again from its description: tried, not believed."""

import torch
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.gpu.building import build_gpu, operations_of
from fiberaug.gpu.operation import Operation, Shape
from fiberaug.gpu.spec import spec_of

__all__ = ["why_not"]

_SHAPES = ((4, 3, 120, 240), (4, 3, 840, 1680), (4, 1, 120, 240))
"""Synthetic batches on which an operation is tried until it runs."""

_SEEDS = (0, 1, 2)


def why_not(operation: nn.Module | Operation) -> str | None:
    """Return None where the description makes the same operation, else the reason.

    It is built again, and draws and pixels are compared on synthetic batches.
    """
    try:
        ((_, first),) = operations_of(operation)
        (second,) = build_gpu([spec_of(first)])
    except UsageError as error:
        return error.message
    failed: Exception | None = None
    for shape in _SHAPES:
        try:
            return _compare(first, second, shape)
        except Exception as error:  # noqa: BLE001  # a crop that is too large, ...
            failed = failed or error
    return f"{first.name} cannot be tried on a synthetic batch: {failed}"


def _compare(first: Operation, second: Operation, shape: Shape) -> str | None:
    with torch.random.fork_rng(devices=[]):
        for seed in _SEEDS:
            torch.default_generator.manual_seed(seed)
            image = torch.rand(shape)
            pixels = []
            drawn = []
            for operation in (first, second):
                torch.default_generator.manual_seed(seed)
                drawn.append(operation.draw(shape))
                pixels.append(operation.run(image, drawn[-1]))
            one, other = drawn
            for name in sorted(one.keys() | other.keys()):
                if name not in one or name not in other:
                    return f"{first.name} built again does not draw {name} alike"
                if not torch.equal(one[name], other[name]):
                    return f"{first.name} built again draws another {name}"
            if not torch.equal(*pixels):
                return f"{first.name} built again gives other pixels"
    return None
