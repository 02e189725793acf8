"""What a training would take: memory and the levers for it, time, disk."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar

import torch
from torch import nn

from fiberaug.sizes import counted, format_bytes
from fiberaug.training.contracts import RealBatch
from fiberaug.training.footprint import footprint, pretended
from fiberaug.training.footprint_process import base_bytes
from fiberaug.training.levers import Levers
from fiberaug.training.memory import MemoryPlan, budget_bytes, plan_memory
from fiberaug.training.networks import weights

__all__ = ["Plan", "Workload", "plan_for"]

Step = Callable[..., object]
"""(batch, *, step, nimg) -> whatever."""

_STATES = 3  # on a disk: two that are kept, and one that is written
_GENERATORS = 3  # the best, the last, and one that is written
_BATCHES = 3  # of this process: the one at work, the next, its uint8
_SAMPLED = 32  # images that are sampled at a time


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a training would take."""

    levers: Levers
    """What makes a step need less memory."""

    peak: int
    """Bytes of memory at the worst moment, of this process or of its GPU."""

    budget: int
    """Bytes that it may use."""

    parameters: Mapping[str, int]
    """Weights of each network, by its name."""

    disk: int
    """Bytes of states and generators."""

    images: int
    """Photos to show."""

    said: tuple[str, ...] = ()
    """Levers that were taken, and why."""

    warned: tuple[str, ...] = ()
    """What a user should read before it begins."""

    seconds: float | None = None
    """Time it would take here, from a few steps; None: not tried."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, fit for JSON."""
        levers = {name: getattr(self.levers, name) for name in self.levers.__slots__}
        return {
            "levers": levers, "peak_bytes": self.peak, "budget_bytes": self.budget,
            **{f"{name}_parameters": one for name, one in self.parameters.items()},
            "disk_bytes": self.disk,
            "images": self.images, "said": list(self.said),
            "warned": list(self.warned), "seconds": self.seconds,
        }  # fmt: skip

    def __str__(self) -> str:
        """Return it as people read it."""
        counts = [f"{one:,} of the {name}" for name, one in self.parameters.items()]
        time = "not tried" if self.seconds is None else _duration(self.seconds)
        lines = [
            f"weights: {', '.join(counts)}",
            f"memory: {format_bytes(self.peak)} of {format_bytes(self.budget)}",
            *self.said,
            f"time: {time} for {counted(self.images, 'image')}",
            f"disk: {format_bytes(self.disk)}",
        ]
        return "\n".join([*lines, *(f"warning: {one}" for one in self.warned)])


def _duration(seconds: float) -> str:
    years = seconds / (365.25 * 86_400)
    if years > 10:
        return f"{years:,.0f} years"
    return str(timedelta(seconds=max(1, round(seconds))))


@dataclass(frozen=True, kw_only=True)
class Workload(ABC):
    """What is trained, and on what; nothing of it is changed."""

    rows: int
    """Images of a step, of this process."""

    conditioned: bool
    """Whether images have labels."""

    places: bool
    """Whether images are windows that have places."""

    averaged: ClassVar[str]
    """Which network is averaged and saved."""

    penalised: ClassVar[bool] = False
    """See :func:`fiberaug.training.levers.next_kind`."""

    @property
    @abstractmethod
    def networks(self) -> Mapping[str, nn.Module]:
        """What is trained, by name."""

    @property
    @abstractmethod
    def image(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""

    @abstractmethod
    def task(self, networks: Mapping[str, nn.Module], levers: Levers) -> Step:
        """Return what makes a step of networks as large as these."""

    @property
    def trained(self) -> Mapping[str, nn.Module]:
        """What has optimisers and states, by name; the others are frozen."""
        return self.networks

    @property
    def held_bytes(self) -> int:
        """Bytes of what this process has already, and a step counts once more."""
        return sum(
            weight.numel() * weight.element_size()
            for one in self.networks.values()
            for weight in one.parameters()
        )

    @property
    def worst_step(self) -> int:
        """Number of a step in which all networks take part."""
        return 0

    @property
    def device(self) -> torch.device:
        """Where it trains."""
        return next(next(iter(self.networks.values())).parameters()).device

    def needs(self, levers: Levers, *, base: int, beside: int) -> int:
        """Return the bytes that a step takes at its worst moment.

        Args:
            levers: How it is made.
            base: Bytes of the process without it.
            beside: Bytes of other things, such as batches that wait.
        """
        # All parts are alike: two tell the worst moment, in less time.
        some, rows = levers.two_parts(self.rows)

        def build() -> Any:  # noqa: ANN401  # what makes a step
            networks = {name: pretended(one) for name, one in self.networks.items()}
            advance, batch = self.task(networks, some), self._batch(rows)
            return lambda: advance(batch, step=self.worst_step, nimg=0)

        waiting = 4 * (self.rows - rows) * self._numbers
        found = footprint(
            build, device=self.device.type, base=base, beside=beside + waiting,
            at_once=some.recompute,
        )  # fmt: skip
        return found.total

    @property
    def _numbers(self) -> int:
        """Numbers of an image."""
        return math.prod(self.image)

    def _batch(self, rows: int) -> RealBatch:
        labels = torch.zeros(rows, dtype=torch.int64)
        return RealBatch(
            torch.empty(rows, *self.image),
            labels if self.conditioned else None,
            torch.empty(rows, 3) if self.places else None,
        )

    @property
    def beside(self) -> int:
        """Bytes of batches that wait, and of samples for pictures."""
        return self._numbers * (_BATCHES * 4 * self.rows + 6 * _SAMPLED)


def plan_for(
    work: Workload,
    *,
    images: int,
    memory: int | str | None,
    levers: Levers,
    may_bf16: bool,
    workers_bytes: int = 0,
    warned: Sequence[str] = (),
) -> Plan:
    """Return how a training fits into memory, and what else it takes.

    Args:
        work: What is trained.
        images: Photos to show.
        memory: Most that it may use; None: 85 % of what is free.
        levers: Those that are taken in any case.
        may_bf16: Whether bfloat16 may be a lever.
        workers_bytes: Of processes that read photos.
        warned: What a user should read.

    Raises:
        UsageError: It does not fit.
    """
    on_cpu = work.device.type != "cuda"
    counts = {
        name: weights(one) for name, one in {**work.networks, **work.trained}.items()
    }
    base = max(0, base_bytes() - work.held_bytes) if on_cpu else 0
    beside = work.beside + workers_bytes if on_cpu else 0
    budget = budget_bytes(memory, work.device)
    plan: MemoryPlan = plan_memory(
        lambda some: work.needs(some, base=base, beside=beside), budget, work.rows,
        levers=levers, may_bf16=may_bf16, penalised=work.penalised,
    )  # fmt: skip
    trained = {name: 4 * weights(one) for name, one in work.trained.items()}
    saved = trained[work.averaged]
    # weights, two moments each, their average
    state = 3 * sum(trained.values()) + saved
    return Plan(
        levers=plan.levers, peak=plan.predicted, budget=budget, parameters=counts,
        images=images, said=plan.said, disk=_STATES * state + _GENERATORS * saved,
        warned=tuple(warned),
    )  # fmt: skip


def with_time(plan: Plan, seconds_an_image: float) -> Plan:
    """Return a plan with the time that it would take."""
    return replace(plan, seconds=seconds_an_image * plan.images)
