"""What each batch operation costs by itself: its draws in a worker, its pixels."""

import statistics
import time
from typing import NamedTuple

import torch

from fiberaug.benching.opened import Opened, single_threaded
from fiberaug.benching.timed import synchronize
from fiberaug.gpu.program import Program
from fiberaug.stacks import Stack

__all__ = ["BatchCost", "measure_batch_operations"]

_LEAST_TIMES = 3


class BatchCost(NamedTuple):
    """A batch operation."""

    seconds: float
    """By the clock for an image, over all images, run by itself (not fused): on the
    device, or on CPU tensors with all of torch's threads."""

    applied: float
    """Share of the images to which it was applied, in [0, 1]."""

    draw_s: float
    """CPU seconds of an image for its draws, in a worker."""


def measure_batch_operations(opened: Opened, seconds: float) -> list[BatchCost]:
    """Return the cost of each batch operation of a set, in their order.

    Each is given images that the ones before it have been done to.

    Args:
        opened: The set; its images come in one size.
        seconds: How long, at most, s; each runs 3 times in any case.

    Raises:
        UsageError: An operation refuses these images.
    """
    stage = opened.stage
    if stage is None or stage.program is None:
        return []
    program, unit, seed = stage.program, stage.unit, stage.seed
    image = _images(opened)
    costs = []
    for path, operation in zip(program.paths, program.operations, strict=True):
        alone = Program([(path, operation)], unit=unit, seed=seed, fused=False)
        cost, image = _measure(alone, image, seconds / len(program.paths))
        costs.append(cost)
    return costs


def _images(opened: Opened) -> torch.Tensor:
    """Return the images of a batch [B, C, H, W] as workers send them, on the device."""
    collate = opened.dataset.collate(mode=opened.mode, pad_to=1)
    engine, request = opened.engine, opened.requests(opened.batch_size)[0]
    with single_threaded():
        rows = [
            engine.deliver(request.epoch, request.first + i)
            for i in range(request.global_batch)
        ]
    data = collate([made.fields for made in rows], [made.packed.key for made in rows])
    found = data["image"]
    array = found.array() if isinstance(found, Stack) else found
    image = torch.from_numpy(array).permute(0, 3, 1, 2).contiguous()
    return image.to(opened.device)


def _measure(
    program: Program, image: torch.Tensor, seconds: float
) -> tuple[BatchCost, torch.Tensor]:
    size = len(image)
    shape = (image.shape[1], image.shape[2], image.shape[3])
    rows = [(position, 0) for position in range(size)]
    spent: list[float] = []
    draw_s: list[float] = []
    applied = 0
    ends = time.perf_counter() + seconds
    made = image
    # The first time is no measure: memory and kernels are not there yet.
    while len(spent) <= _LEAST_TIMES or time.perf_counter() < ends:
        with single_threaded():
            started = time.process_time()
            drawn, found = program.draw(len(spent), rows, shape)  # of a new epoch
            draw_s.append(time.process_time() - started)
        applied += sum(bool(row.operations) for row in found)
        synchronize(image.device)
        started = time.perf_counter()
        made = program.run(image, drawn)
        synchronize(image.device)
        spent.append(time.perf_counter() - started)
    cost = BatchCost(
        seconds=statistics.median(spent[1:]) / size,
        applied=applied / (size * len(spent)),
        draw_s=statistics.median(draw_s[1:]) / size,
    )
    return cost, made
