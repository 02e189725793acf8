"""What each operation of a pipeline costs."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from fiberaug.benching.opened import Opened, single_threaded
from fiberaug.errors import DataRefused

__all__ = ["OperationCost", "measure_operations", "within"]

_LEAST_SAMPLES = 128


class OperationCost(NamedTuple):
    """An operation."""

    path: str
    """Where it stands in the pipeline: ``2.0`` is the first child of the third."""

    name: str
    seconds: float
    """CPU seconds of a sample: over all samples, also where it was not applied."""

    applied: float
    """Share of the samples to which it was applied, in [0, 1]."""


def measure_operations(
    opened: Opened,
    samples: int,
    seconds: float,
) -> list[OperationCost]:
    """Return the cost of each operation that ran, the most expensive first.

    The pipeline runs on decoded photos, so that no decoding hides in a crop. The time
    from one operation's end to the next one's is what the next one costs, its draws
    included. A photo that was decoded whole is not in the CPU's cache, which a window
    is: :func:`within` takes the shares alone.

    Args:
        opened: The set.
        samples: How many samples, at most.
        seconds: How long, at most, s; 128 samples are looked at in any case.
    """
    engine = opened.engine
    if engine.augment is None:
        return []
    leaves = engine.augment.leaves
    spent = [0.0] * len(leaves)
    applied = [0] * len(leaves)
    last = 0.0
    seen: set[int] = set()

    def step(number: int, _fields: Mapping[str, Any]) -> None:
        nonlocal last
        now = time.process_time()
        if number >= 0:
            spent[number] += now - last
            seen.add(number)
        last = time.process_time()

    made = 0
    ends = time.perf_counter() + seconds
    refs = {ref.name: i for i, ref in enumerate(opened.dataset.setup.refs)}
    with single_threaded():
        for position in range(*opened.span(samples)):
            if made >= _LEAST_SAMPLES and time.perf_counter() > ends:
                break
            packed = engine.deliver(0, position).packed
            tile = packed.tile[0] if packed.tile else None
            seen.clear()
            try:
                engine.make(
                    refs[packed.url], packed.number, 0, position, visit=packed.visit,
                    tile=tile, step=step,
                )  # fmt: skip
            except DataRefused:  # masked: it has a record, and no pixels
                continue
            made += 1
            for number in seen:
                applied[number] += 1
    costs = [
        OperationCost(path, name, spent[i] / max(1, made), applied[i] / max(1, made))
        for i, (path, name) in enumerate(leaves)
        if applied[i]
    ]
    return sorted(costs, key=lambda cost: -cost.seconds)


def within(costs: list[OperationCost], augment_s: float) -> list[OperationCost]:
    """Return the costs as parts of what augmenting takes.

    Args:
        costs: What operations cost by themselves.
        augment_s: CPU seconds of a sample in the stage.
    """
    whole = max(sum(cost.seconds for cost in costs), 1e-12)
    return [cost._replace(seconds=cost.seconds / whole * augment_s) for cost in costs]
