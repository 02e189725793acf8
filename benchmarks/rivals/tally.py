"""Medians, spreads, and ratios round by round: what becomes of the runs."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["rates", "ratios", "spread"]


def spread(values: Iterable[float], digits: int = 3) -> dict[str, float]:
    """Return ``median``, ``min`` and ``max`` of values."""
    values = list(values)
    found = {"median": statistics.median(values), "min": min(values)}
    found["max"] = max(values)
    return {name: round(value, digits) for name, value in found.items()}


def rates(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the spread of images per CPU-second and per second over the rounds."""
    return {
        name: spread((run["images"] / run[seconds] for run in runs), 1)
        for name, seconds in (("per_cpu_s", "cpu_s"), ("per_s", "wall_s"))
    }


def ratios(
    ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, float]]:
    """Return how many times the images of theirs ours delivers in the same time.

    Runs of one round stood next to each other, so a machine that was slower for a
    while was slower for both. Rounds that one of them lacks are left out.
    """
    pairs = {run["round"]: [run] for run in ours}
    for run in theirs:
        pairs.get(run["round"], []).append(run)
    both = [pair for pair in pairs.values() if len(pair) == 2]
    return {
        name: spread(
            (a["images"] / a[seconds]) / (b["images"] / b[seconds]) for a, b in both
        )
        for name, seconds in (("cpu", "cpu_s"), ("wall", "wall_s"))
        if both
    }
