"""The processes of a distributed training, or the one there is."""

from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import distributed

__all__ = ["Ranks"]


class Ranks:
    """What the processes of torch.distributed agree on; of one process: nothing.

    Gradients are summed here and not by DistributedDataParallel: a loss is divided by
    the rows of all ranks, and penalties go backward twice, which its hooks do not see.
    """

    def __init__(self) -> None:
        there = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank() if there else 0
        self.world = distributed.get_world_size() if there else 1

    @classmethod
    def alone(cls) -> Self:
        """Return those of one process, whatever torch.distributed says."""
        found = cls()
        found.rank, found.world = 0, 1
        return found

    @property
    def is_first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def sum_(self, tensors: Iterable[torch.Tensor | None]) -> None:
        """Replace tensors by their sums over all ranks, in one message."""
        some = [one for one in tensors if one is not None]
        if self.world == 1 or not some:
            return
        flat = torch.cat([one.reshape(-1).float() for one in some])
        distributed.all_reduce(flat)
        lengths = [one.numel() for one in some]
        for one, found in zip(some, torch.split(flat, lengths), strict=True):
            one.copy_(found.view_as(one))

    def any(self, said: bool) -> bool:  # noqa: FBT001  # what it asks
        """Return whether any rank says so."""
        if self.world == 1:
            return said
        flag = torch.tensor([float(said)], device=self._device())
        distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
        return bool(flag.item())

    def told(self, value: Any) -> Any:  # noqa: ANN401  # plain values
        """Return what the first rank gives."""
        if self.world == 1:
            return value
        held = [value]
        distributed.broadcast_object_list(held, src=0, device=self._device())
        return held[0]

    def same_(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace tensors by those of the first rank."""
        if self.world > 1:
            for one in tensors:
                distributed.broadcast(one, src=0)

    @staticmethod
    def _device() -> torch.device:
        nccl = distributed.get_backend() == "nccl"
        return (
            torch.device("cuda", torch.cuda.current_device())
            if nccl
            else (torch.device("cpu"))
        )
