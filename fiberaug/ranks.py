"""Which part of a distributed run this process is, and who else would split it."""

import os
import sys
from typing import Any

import torch
from torch.utils.data import get_worker_info

from fiberaug.errors import UsageError

__all__ = ["Share", "accelerate_module", "group_rank", "same_world"]


def group_rank() -> tuple[int, int] | None:
    """Return (rank, world size) of torch.distributed, or None where it is not used."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return None


def accelerate_module() -> Any:  # noqa: ANN401  # a module without types
    """Return ``accelerate.state`` if this process uses Accelerate, else None.

    It is not imported: where the user did not, there is no state.
    """
    module = sys.modules.get("accelerate.state")
    # To ask for a PartialState would make one.
    if module is None or not module.PartialState._shared_state:  # noqa: SLF001
        return None
    return module


def same_world(began: tuple[int, int], now: tuple[int, int]) -> None:
    """Check that a pass goes on as the rank as which it began.

    Raises:
        UsageError: The process group was made or destroyed in between.
    """
    if began != now:
        raise UsageError(
            f"this pass began as rank {began[0]} of {began[1]}, and now this process is"
            f" rank {now[0]} of {now[1]}: other ranks would get the same samples; make"
            " the process group (or the Accelerator) before the first batch, or give"
            " rank= and world_size= to the data set"
        )


class Share:
    """Rank and number of ranks: as given, of torch.distributed, of the environment.

    They are found out when asked for, so that a loader can be older than the process
    group. A worker that is started anew has no group; it goes by what was noted when
    the data set was sent to it. Only a worker does: a data set that was pickled to a
    file belongs to no rank.

    Args:
        rank: As given by the user, or None.
        world_size: As given by the user, or None.

    Raises:
        UsageError: Only one is given, or the rank is not in [0, world size).
    """

    def __init__(self, rank: int | None = None, world_size: int | None = None) -> None:
        if (rank is None) != (world_size is None):
            raise UsageError(
                f"give both rank and world_size, or neither; got {rank}, {world_size}"
            )
        self._given: tuple[int, int] | None = None
        if rank is not None and world_size is not None:
            self._given = _checked(rank, world_size)
        self._noted: tuple[int, int] | None = None
        self._accelerate = 0

    def __getstate__(self) -> dict[str, Any]:
        """Note what a worker cannot find out for itself."""
        return {
            "_given": self._given,
            "_noted": group_rank() or self._told(),
            "_accelerate": self._accelerate_processes(),
        }

    def __call__(self) -> tuple[int, int]:
        """Return (rank, world size), as they are now.

        Raises:
            UsageError: The environment does not give both, or no such rank.
        """
        return self._given or _checked(
            *(group_rank() or self._told() or _of_environment())
        )

    def _told(self) -> tuple[int, int] | None:
        return self._noted if get_worker_info() is not None else None

    def _accelerate_processes(self) -> int:
        module = accelerate_module()
        if module is not None:
            return int(module.PartialState().num_processes)
        return self._accelerate if get_worker_info() is not None else 0

    def refuse_second_split(self, *, in_loader: bool) -> None:
        """Check that nobody else deals the samples of a torch DataLoader out again.

        Accelerate rebuilds a torch DataLoader that it prepares: it splits the batches
        of one rank among all, so that only a part of the set is ever seen.

        Args:
            in_loader: The data set is in a :class:`fiberaug.DataLoader`.

        Raises:
            UsageError: Accelerate runs several processes and the rank is automatic; or
                Accelerate runs and has put the data set of our loader into one of its
                own.
        """
        processes = self._accelerate_processes()
        if processes and in_loader:
            raise UsageError(
                "this data set is in a fiberaug.DataLoader, and a torch DataLoader was"
                " made of it: accelerate.skip_first_batches() and the resume of the"
                " Trainer do so, and it would begin at another epoch; resume with"
                " loader.load_state_dict(), in the Trainer with"
                " fiberaug.integrations.trainer, or open the data set twice"
            )
        if processes > 1 and self._given is None:
            raise UsageError(
                "a torch DataLoader over a StreamingDataset under Accelerate with"
                f" {processes} processes: prepare() would split the samples of each"
                " rank a second time and lose most of them; give the data set to"
                " fiberaug.DataLoader, which prepare() leaves alone, or leave the split"
                " to Accelerate with rank=0, world_size=1, or do not prepare() the"
                " loader and give rank=accelerator.process_index,"
                " world_size=accelerator.num_processes"
            )


def _checked(rank: int, world_size: int) -> tuple[int, int]:
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
