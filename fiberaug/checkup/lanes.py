"""Which lanes the ranks and workers of a run read, as shares: a closed form.

Offset o of the row that units are dealt in, o in [0, b0 V), lies in lane o // b0. A
worker's batches begin at offsets that go round in steps of g = gcd(step, b0 V), so how
often its rows hit an offset follows from the offset modulo g alone.
"""

from math import gcd

import numpy as np
from numpy.typing import NDArray

from fiberaug.order import EpochOrder
from fiberaug.plan import Plan, lane_start

__all__ = ["lane_bytes", "lane_shares", "readers_of_shards"]


def lane_shares(plan: Plan, *, first: int, rows: int, step: int) -> NDArray[np.float64]:
    """Return the share of each lane in the samples of a rank or worker, float64 [V].

    Args:
        plan: A shuffled plan with counts.
        first: Position of the first batch's first row.
        rows: Rows of each batch.
        step: Positions from one of its batches to the next.
    """
    lanes = plan.lanes or 1
    around = plan.unit * lanes
    g = gcd(step, around)
    hits = np.full(g, rows // g, np.int64)
    hits[(first + np.arange(rows % g)) % g] += 1
    by_lane = hits[np.arange(around) % g].reshape(lanes, plan.unit).sum(1)
    shares: NDArray[np.float64] = by_lane / by_lane.sum()
    return shares


def lane_bytes(
    plan: Plan, order: EpochOrder, shard_bytes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the mean bytes of a sample in each lane, float64 [V].

    Args:
        plan: A plan with counts.
        order: Its order of an epoch.
        shard_bytes: Size of each shard in the set's order, bytes.
    """
    starts = np.asarray([lane_start(plan, v) for v in range((plan.lanes or 1) + 1)])
    ends = np.concatenate([[0], order._ends])  # noqa: SLF001  # the other half of one law
    sizes = np.concatenate([[0], np.cumsum(shard_bytes[order._shards])])  # noqa: SLF001
    before = np.interp(starts, ends, sizes.astype(np.float64))
    mean: NDArray[np.float64] = np.diff(before) / np.maximum(1, np.diff(starts))
    return mean


def readers_of_shards(
    plan: Plan, order: EpochOrder, shares: NDArray[np.float64]
) -> float:
    """Return by how many readers a shard is read in an epoch, on the average.

    Args:
        plan: A plan with counts.
        order: Its order of an epoch.
        shares: Share of each lane in what each reader reads, [readers, V].
    """
    starts = [lane_start(plan, v) for v in range((plan.lanes or 1) + 1)]
    ends = order._ends  # noqa: SLF001  # as above
    begins = np.concatenate([[0], ends[:-1]])
    full = ends > begins
    first = np.searchsorted(starts, begins[full], side="right") - 1
    last = np.searchsorted(starts, ends[full] - 1, side="right") - 1
    reads = np.concatenate(
        [np.zeros((len(shares), 1), np.int64), np.cumsum(shares > 0, axis=1)], axis=1
    )
    spans, shards = np.unique(np.stack([first, last]), axis=1, return_counts=True)
    readers = (reads[:, spans[1] + 1] > reads[:, spans[0]]).sum(0)
    return float((readers * shards).sum() / max(1, shards.sum()))
