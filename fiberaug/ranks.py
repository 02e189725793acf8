"""Which part of a distributed run this process is."""

import os

import torch

from fiberaug.errors import UsageError

__all__ = ["group_rank", "resolve_rank"]


def group_rank() -> tuple[int, int] | None:
    """Return (rank, world size) of torch.distributed, or None where it is not used."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return None


def resolve_rank(
    rank: int | None, world_size: int | None, noted: tuple[int, int] | None = None
) -> tuple[int, int]:
    """Return (rank, world size): as given, of torch.distributed, of the environment.

    Args:
        rank: As given by the user.
        world_size: As given by the user.
        noted: What the main process found, for a worker that has no process group.

    Raises:
        UsageError: Only one is given, or the rank is not in [0, world size).
    """
    if (rank is None) != (world_size is None):
        raise UsageError(
            f"give both rank and world_size, or neither; got {rank}, {world_size}"
        )
    if rank is None or world_size is None:
        rank, world_size = group_rank() or noted or _of_environment()
    if not 0 <= rank < world_size:
        raise UsageError(f"rank must be in [0, {world_size}), got {rank}")
    return rank, world_size


def _of_environment() -> tuple[int, int]:
    rank, world_size = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if rank is None and world_size is None:
        return 0, 1
    try:
        return int(rank or ""), int(world_size or "")
    except ValueError:
        raise UsageError(
            "RANK and WORLD_SIZE of the environment must both be integers, got"
            f" {rank!r}, {world_size!r}; set both, or give rank= and world_size="
        ) from None
