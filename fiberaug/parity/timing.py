"""Two loaders side by side: images a second, and images for each second of a CPU.

Turns alternate, so that a machine which is busy for a while slows both. A turn begins
with the second batch: starting workers is not what an epoch is made of.
"""

import gc
import os
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fiberaug.processes import process_stat

__all__ = ["Speed", "cpu_seconds", "side_by_side", "turn"]


class Speed(NamedTuple):
    """Images a second."""

    wall: float
    per_cpu: float
    """For each second of user and system time of this process and its workers."""

    images: int


def cpu_seconds() -> float:
    """Return user and system time of this process and all that it started, s.

    Sources: getrusage(2); proc(5) for those that still run.
    """
    own = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(who) for who in own]
    total = sum(u.ru_utime + u.ru_stime for u in used)
    tick = os.sysconf("SC_CLK_TCK")
    return total + sum(ticks / tick for ticks in _living(os.getpid()))


def _living(parent: int) -> Iterator[int]:
    """Yield the ticks of each process below a process."""
    parents: dict[int, tuple[int, int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        words = process_stat(path.name)
        if words:  # else it has ended
            ticks = sum(map(int, words[11:15]))  # with those of its own ended children
            parents[int(path.name)] = int(words[1]), ticks
    for pid, (above, ticks) in parents.items():
        seen = {pid}
        while above not in {parent, 0} and above in parents and above not in seen:
            seen.add(above)
            above = parents[above][0]  # noqa: PLW2901  # up the tree
        if above == parent:
            yield ticks


def turn(batches: Iterable[Any], count: Callable[[Any], int], most: int) -> Speed:
    """Return how fast at most so many batches come, the first not counted.

    Args:
        batches: A loader; one pass is begun.
        count: Images of a batch.
        most: Batches that are counted.
    """
    images = 0
    iterator = iter(batches)
    try:
        first = next(iterator, None)
        wall, cpu = time.perf_counter(), cpu_seconds()
        for _ in range(most):
            batch = next(iterator, None)
            if batch is None:
                break
            images += count(batch)
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        if not images and first is not None:  # a set of one batch
            return Speed(0.0, 0.0, 0)
    finally:
        del iterator
        gc.collect()  # torch ends its workers when the iterator goes
    return Speed(images / max(wall, 1e-9), images / max(cpu, 1e-2), images)


def side_by_side(
    rivals: dict[str, Callable[[], Speed]], turns: int = 3
) -> dict[str, Speed]:
    """Return the median speed of each rival over alternating turns.

    Args:
        rivals: By name, what runs one turn.
        turns: How often each has its turn.
    """
    rows: dict[str, list[Speed]] = {name: [] for name in rivals}
    for _ in range(turns):
        for name, run in rivals.items():
            rows[name].append(run())
    return {
        name: Speed(
            statistics.median(s.wall for s in speeds),
            statistics.median(s.per_cpu for s in speeds),
            sum(s.images for s in speeds),
        )
        for name, speeds in rows.items()
    }
