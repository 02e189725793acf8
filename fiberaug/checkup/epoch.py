"""What an epoch is for so many ranks and workers: steps, skew, lanes, live bytes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fiberaug.ahead import live_bytes
from fiberaug.checkup.findings import Finding, note, ok, problem
from fiberaug.checkup.lanes import lane_bytes, lane_shares, readers_of_shards
from fiberaug.errors import UsageError
from fiberaug.order import EpochOrder
from fiberaug.plan import Plan
from fiberaug.sharing import rank_range, steps, worker_batches
from fiberaug.sizes import counted, format_bytes

__all__ = ["Run", "check_epoch"]

_MOST_PARTS = 2048  # ranks or workers whose bytes are worked out, 0.1 ms each
_UNEVEN = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The run that is planned."""

    world_size: int = 1
    """Ranks, R."""

    workers: int = 2
    """Worker processes of each rank."""

    batch_size: int = 64
    """Rows of a rank's batch."""

    prefetch: int = 2
    """Batches that a worker makes ahead."""

    ranks_per_node: int = 8
    """Ranks that share a machine and its cache."""

    cache_limit: int = 50_000_000_000
    """Bytes of remote shards that are kept on a machine."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: A number is out of range.
        """
        for name in ("world_size", "batch_size", "prefetch", "ranks_per_node"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.workers < 0:
            raise UsageError(f"workers must be >= 0, got {self.workers}")

    @property
    def global_batch(self) -> int:
        """Rows of a global batch, B."""
        return self.batch_size * self.world_size

    @property
    def local_ranks(self) -> int:
        """Ranks of a full machine."""
        return min(self.ranks_per_node, self.world_size)


def check_epoch(
    counts: Sequence[int], shard_bytes: Sequence[int], run: Run, *, remote: bool = False
) -> Iterator[Finding]:
    """Yield what a shuffled epoch is.

    Args:
        counts: Samples of each shard.
        shard_bytes: Bytes of each shard.
        run: The run.
        remote: Whether the shards are in a store, and a cache has to hold them.
    """
    plan = Plan(counts=tuple(counts))
    if not plan.n:
        return
    yield _steps(plan.n, run)
    order, sizes = EpochOrder(plan, 0), np.asarray(shard_bytes, np.int64)
    yield _skew(plan, order, sizes, run)
    yield _lanes(plan, order, run)
    yield _live(plan, shard_bytes, run, remote=remote)


def _steps(n: int, run: Run) -> Finding:
    size = run.global_batch
    full, last = divmod(n, size)
    total = steps(n, size, drop_last=False)
    pads = sum(
        rank_range(n, size, total - 1, r, run.world_size)[1]
        for r in range(run.world_size)
    )
    figures = {
        "steps": total, "steps_drop_last": full, "padded": pads, "dropped": last,
        "global_batch": size, "world_size": run.world_size,
    }  # fmt: skip
    if not full:
        return note(
            "steps", f"a global batch of {size:,} is more than the {n:,} samples:"
            f" drop_last=True gives no step, drop_last=False one with {pads:,} padding"
            " rows", "use smaller batches or fewer ranks", figures,
        )  # fmt: skip
    ranks = f", equal on all {run.world_size:,} ranks" if run.world_size > 1 else ""
    text = f"{total:,} an epoch of {size:,} samples{ranks}"
    if last:
        text += (
            f"; drop_last=False pads {counted(pads, 'row')} of the last,"
            f" drop_last=True makes {full:,} and leaves out {counted(last, 'sample')}"
        )
    return ok("steps", text, figures)


def _parts(run: Run) -> list[tuple[int, int]]:
    workers = max(1, run.workers)
    parts = [(r, w) for r in range(run.world_size) for w in range(workers)]
    return parts[:: 1 + len(parts) // _MOST_PARTS]


def _samples(n: int, run: Run, rank: int, worker: int) -> int:
    """Return the samples of an epoch that one worker of one rank makes."""
    size, workers = run.global_batch, max(1, run.workers)
    total = steps(n, size, drop_last=False)
    mine = worker_batches(total, worker, workers)
    last = total - 1
    tail = len(rank_range(n, size, last, rank, run.world_size)[0])
    if last not in mine:
        return len(mine) * run.batch_size
    return (len(mine) - 1) * run.batch_size + tail


def _shares(plan: Plan, run: Run, rank: int, worker: int | None) -> NDArray[np.float64]:
    size = run.global_batch
    first, step = rank * run.batch_size, size
    if worker is not None:
        first, step = first + worker * size, size * max(1, run.workers)
    return lane_shares(plan, first=first, rows=run.batch_size, step=step)


def _skew(plan: Plan, order: EpochOrder, sizes: NDArray[np.int64], run: Run) -> Finding:
    of_lane = lane_bytes(plan, order, sizes)
    samples, volumes, n = [], [], plan.n
    for rank, worker in _parts(run):
        samples.append(_samples(n, run, rank, worker))
        volumes.append(samples[-1] * float(_shares(plan, run, rank, worker) @ of_lane))
    low, high = min(volumes), max(volumes)
    figures = {
        "samples": [min(samples), max(samples)], "bytes": [int(low), int(high)],
    }  # fmt: skip
    text = f"{min(samples):,} to {max(samples):,} samples,"
    text += f" {format_bytes(int(low))} to {format_bytes(int(high))}"
    text += " for a worker of a rank in an epoch"
    batches = steps(n, run.global_batch, drop_last=False)
    if low * _UNEVEN >= high or batches < 10 * max(1, run.workers):
        return ok("skew", text, figures)
    return note(
        "skew", text, "samples of some lanes are larger, and workers keep to lanes:"
        " another batch size, or shards in random order, evens it", figures,
    )  # fmt: skip


def _lanes(plan: Plan, order: EpochOrder, run: Run) -> Finding:
    nodes = [
        range(first, min(first + run.ranks_per_node, run.world_size))
        for first in range(0, run.world_size, run.ranks_per_node)
    ][:_MOST_PARTS]
    shares = np.stack(
        [sum(_shares(plan, run, r, None) for r in node) for node in nodes]
    )
    readers = readers_of_shards(plan, order, np.asarray(shares, np.float64))
    lanes = plan.lanes or 1
    units, rest = divmod(run.global_batch, plan.unit)
    divides = not rest and lanes % units == 0
    text = f"V = {lanes}, windows of {plan.window:,} samples, units of b0 = {plan.unit}"
    figures = {
        "lanes": lanes, "window": plan.window, "unit": plan.unit, "divides": divides,
        "nodes": len(nodes), "nodes_per_shard": readers,
    }  # fmt: skip
    if len(nodes) == 1:
        return ok("lanes", f"{text}; one node reads every shard once", figures)
    ratio = f"B/b0 = {run.global_batch / plan.unit:g}"
    text += f"; {ratio} {'divides' if divides else 'does not divide'} V"
    text += f"; a shard is read by {readers:.2f} of {len(nodes)} nodes"
    if readers < 0.5 * (1 + len(nodes)) or divides:
        return ok("lanes", text, figures)
    return note(
        "lanes", text, "for remote shards: a global batch of 16, 32, 64, ... samples,"
        f" at most {plan.unit * lanes:,}, lets each node keep to its lanes", figures,
    )  # fmt: skip


def _live(plan: Plan, shard_bytes: Sequence[int], run: Run, *, remote: bool) -> Finding:
    live = live_bytes(plan, shard_bytes)
    text = (
        f"{format_bytes(live)} of shards are touched at one time; the cache of remote"
        f" ones holds {format_bytes(run.cache_limit)}"
    )
    figures = {"live_bytes": live, "cache_limit": run.cache_limit}
    if live <= run.cache_limit:
        return ok("cache", text, figures)
    remedy = f'give cache_limit="{-(-live // 10**9)}GB", or smaller shards'
    if remote:
        return problem("cache", f"{text}: refused at the start", remedy, figures)
    return note("cache", text, f"for remote shards: {remedy}", figures)
