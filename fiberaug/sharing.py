"""Which positions of a global batch a rank has, and which batches a worker builds."""

from fiberaug.errors import UsageError

__all__ = ["rank_range", "steps", "worker_batches"]


def steps(samples: int, global_batch: int, *, drop_last: bool, start: int = 0) -> int:
    """Return the number of global batches from position ``start`` to the end."""
    left = max(0, samples - start)
    return left // global_batch if drop_last else -(-left // global_batch)


def rank_range(  # six numbers that belong together
    samples: int, global_batch: int, k: int, rank: int, world_size: int, start: int = 0
) -> tuple[range, int]:
    """Return the positions of a rank's part of global batch ``k``, and its padding.

    Args:
        samples: Samples of the epoch, N.
        global_batch: Rows of a global batch, B; a multiple of ``world_size``.
        k: Number of the batch, counted from ``start``.
        rank: This rank, in [0, world_size).
        world_size: Number of ranks, R.
        start: Position at which the run was resumed.

    Returns:
        The positions, and how many rows are missing to the ceil(n / R) that every rank
        has in a batch of n positions.

    Raises:
        UsageError: ``global_batch`` is not a multiple of ``world_size``.

    >>> [rank_range(10, 4, 2, rank, 2) for rank in range(2)]
    [(range(8, 9), 0), (range(9, 10), 0)]
    """
    if global_batch % world_size:
        raise UsageError(
            f"the global batch must be a multiple of world_size {world_size},"
            f" got {global_batch}"
        )
    first = start + k * global_batch
    last = max(first, min(first + global_batch, samples))
    rows = -(-(last - first) // world_size)
    low = min(first + rank * rows, last)
    high = min(low + rows, last)
    return range(low, high), rows - (high - low)


def worker_batches(total: int, worker: int, workers: int) -> range:
    """Return the numbers of the batches that one worker of ``workers`` builds."""
    return range(worker, total, workers)
