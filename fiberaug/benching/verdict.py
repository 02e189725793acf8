"""What limits, how many workers are worth it, and whether a training step waits."""

from typing import NamedTuple

from fiberaug.benching.photos import Ceilings
from fiberaug.benching.stages import StageTimes
from fiberaug.benching.turns import LoaderSpeed

__all__ = ["LIMITS", "Verdict", "best_of", "judge", "parts"]

LIMITS = (
    "reading", "decode", "augment", "draw", "collate", "transport", "finish", "batch",
    "consumer", "device", "store",
)  # fmt: skip
"""What can limit: a stage that takes most of the CPU time of an image; ``consumer``,
the main process; ``device``, the GPU that runs batch operations; ``store``, from where
samples come for the first time."""

_WITHIN = 0.05  # of the best speed
_BUSY = 0.85
_DISTURBED = 0.15  # of the CPUs


class Verdict(NamedTuple):
    """What limits."""

    limit: str
    """One of :data:`LIMITS`."""

    share: float
    """Of the CPU time of an image, where it is a stage; else how busy the main process
    or the GPU is, or by how much the store is too slow, in [0, 1]."""

    workers: int
    """The smallest number within 5 % of the best."""

    images_per_s: float
    """With so many."""

    cpus: float
    """CPUs that are busy then."""

    others: float
    """CPUs that other programs kept busy meanwhile, as far as is known."""

    full: bool
    """Whether these are all there are."""

    sure: bool
    """Whether CPUs were free for the workers that were tried."""

    more: bool
    """Whether the most workers that were tried are the best, and CPUs are left."""


def parts(times: StageTimes, ceilings: Ceilings) -> dict[str, float]:
    """Return CPU seconds of a sample by stage, reading apart from decoding."""
    stages = times.stages
    read = min(ceilings.read, stages.decode)
    return {
        "reading": read, "decode": stages.decode - read, "augment": stages.augment,
        "draw": stages.draw, "collate": stages.collate, "transport": stages.transport,
        "finish": stages.finish, "batch": stages.batch,
    }  # fmt: skip


def best_of(speeds: list[LoaderSpeed]) -> LoaderSpeed:
    """Return the loader with the fewest workers within 5 % of the fastest."""
    most = max(speed.images_per_s for speed in speeds)
    return next(
        speed for speed in sorted(speeds) if speed.images_per_s >= (1 - _WITHIN) * most
    )


def judge(
    times: StageTimes, ceilings: Ceilings, speeds: list[LoaderSpeed], cpus: float
) -> Verdict:
    """Return what limits.

    Args:
        times: What a sample costs.
        ceilings: What reading and decoding take by themselves.
        speeds: Whole loaders.
        cpus: CPUs that this process may use.
    """
    best, stages = best_of(speeds), parts(times, ceilings)
    limit = max(stages, key=lambda name: stages[name])
    share = stages[limit] / max(times.stages.whole, 1e-12)
    busy = best.images_per_s * times.received
    on_gpu = best.images_per_s * times.developed * times.gpu
    # Several workers read side by side; a store has one line for all of them.
    lines = 1 if ceilings.store_bytes_per_s else max(1, best.workers)
    first_per_s = lines / max(ceilings.first_read, 1e-12)
    if first_per_s < (1 - _WITHIN) * best.images_per_s:
        limit, share = "store", 1 - first_per_s / best.images_per_s
    elif on_gpu >= max(busy, _BUSY):
        limit, share = "device", min(1.0, on_gpu)
    elif best.workers and busy >= _BUSY:
        limit, share = "consumer", min(1.0, busy)
    others = best.others or 0.0
    full = best.cpus + others >= _BUSY * cpus
    last = best.workers == max(speed.workers for speed in speeds)
    return Verdict(
        limit, share, best.workers, best.images_per_s, best.cpus, others, full,
        sure=others < _DISTURBED * cpus,
        more=last and not full and limit not in {"consumer", "device", "store"},
    )  # fmt: skip
