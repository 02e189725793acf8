"""How much memory a training takes, known before any of it is asked for.

The step itself is run on tensors that have shapes and no values, and every storage that
comes and goes is counted (:mod:`fiberaug.training.footprint_tracker`); to that come the
copies inside of convolutions, the holes that the allocator leaves, and the process.
"""

import copy
import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from fiberaug.sizes import format_bytes
from fiberaug.training.footprint_tracker import Tracker

__all__ = ["Footprint", "footprint", "pretended"]

Module = TypeVar("Module", bound=nn.Module)
_STEPS = 2  # optimisers make their state in the first


@dataclass(frozen=True, kw_only=True, slots=True)
class Footprint:
    """What a step takes, bytes."""

    kept: int
    """What is there between steps: weights, averages, state of optimisers."""

    tensors: int
    """Most that is in use at a time, with what is kept and with workspaces."""

    step: int
    """What the allocator holds for it."""

    worst: str = ""
    """The operation at which most is in use."""

    base: int = 0
    """The process without it, see :mod:`fiberaug.training.footprint_process`."""

    beside: int = 0
    """Batches that wait, and other things that are not of the step."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.step + self.base + self.beside

    def __str__(self) -> str:
        """Return it as people read it."""
        return (
            f"{format_bytes(self.total)}: {format_bytes(self.base)} the process,"
            f" {format_bytes(self.kept)} weights and optimisers,"
            f" {format_bytes(max(0, self.step - self.kept))} a step,"
            f" {format_bytes(self.beside)} batches"
        )


def footprint(
    build: Callable[[], Callable[[], object]],
    *,
    device: str = "cpu",
    base: int = 0,
    beside: int = 0,
    at_once: bool = False,
) -> Footprint:
    """Return what a step would take, without taking it.

    Args:
        build: Makes networks and optimisers, and returns what makes a step. It runs
            where tensors have no values: what is made in it takes no memory, and what
            was made before comes in by :func:`pretended`. It cannot read a value, as
            ``item()`` and ``tolist()`` do.
        device: Kind of device that is counted: ``cpu`` or ``cuda``.
        base: Bytes of the process without it.
        beside: Bytes of other things.
        at_once: See :func:`fiberaug.training.footprint_heap.heap_of`.
    """
    gc.collect()  # what waits to be collected would be counted as freed in between
    with (
        FakeTensorMode(allow_non_fake_inputs=True),
        Tracker(device, at_once=at_once) as tracker,
    ):
        step = build()
        for _ in range(_STEPS):
            step()
        kept = tracker.live
        del step
    return Footprint(
        kept=kept, tensors=tracker.most, step=tracker.heap.peak,
        worst=tracker.worst,
        base=base, beside=beside,
    )  # fmt: skip


def pretended(module: Module, device: torch.device | str | None = None) -> Module:
    """Return a copy of a module whose weights have shapes and no values.

    To be called by what :func:`footprint` is given.

    Args:
        module: Stays what it is.
        device: Where the copy pretends to be. None: where the module is.
    """
    with torch.no_grad():
        memo: dict[int, object] = {}
        for one in (*module.parameters(), *module.buffers()):
            empty = torch.empty_like(one, device=device or one.device)
            if isinstance(one, nn.Parameter):
                memo[id(one)] = nn.Parameter(empty, requires_grad=one.requires_grad)
            else:
                memo[id(one)] = empty
    return copy.deepcopy(module, memo)
