"""What a training would take: memory and the levers for it, time, disk."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
from torch import nn

from fiberaug.sizes import counted, format_bytes
from fiberaug.training.contracts import RealBatch
from fiberaug.training.footprint import footprint, pretended
from fiberaug.training.footprint_process import base_bytes
from fiberaug.training.gan_options import GANOptions
from fiberaug.training.gan_task import GANTask
from fiberaug.training.levers import Levers
from fiberaug.training.memory import MemoryPlan, budget_bytes, plan_memory
from fiberaug.training.networks import weights
from fiberaug.training.ranking import Ranks
from fiberaug.training.shapes import Shapes

__all__ = ["Plan", "Workload", "plan_for"]

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

    parameters: tuple[int, int]
    """Weights of the generator and of the critic."""

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
            "generator_parameters": self.parameters[0],
            "critic_parameters": self.parameters[1], "disk_bytes": self.disk,
            "images": self.images, "said": list(self.said),
            "warned": list(self.warned), "seconds": self.seconds,
        }  # fmt: skip

    def __str__(self) -> str:
        """Return it as people read it."""
        made, judged = self.parameters
        time = "not tried" if self.seconds is None else _duration(self.seconds)
        lines = [
            f"weights: {made:,} of the generator, {judged:,} of the critic",
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
class Workload:
    """What is trained, and on what; nothing of it is changed."""

    generator: nn.Module
    """Latents to images."""

    critic: nn.Module
    """Images to logits."""

    options: GANOptions
    """How they are trained."""

    shapes: Shapes
    """What they are made for."""

    rows: int
    """Images of a step, of this process."""

    photos: int
    """Real photos there are."""

    conditioned: bool
    """Whether images have labels."""

    places: bool
    """Whether images are windows that have places."""

    @property
    def device(self) -> torch.device:
        """Where it trains."""
        return next(self.generator.parameters()).device

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
            networks = [pretended(one) for one in (self.generator, self.critic)]
            task = GANTask(
                networks[0], networks[1], self.options, latent=self.shapes.latent,
                photos=self.photos, total=2**40, levers=some, ranks=Ranks.alone(),
                save=lambda *_: None,
            )  # fmt: skip
            batch = self._batch(rows)
            # a step in which the generator takes part, too
            last = self.options.steps_of_critic - 1
            return lambda: task.advance(batch, step=last, nimg=0)

        waiting = 4 * (self.rows - rows) * self._numbers
        found = footprint(
            build, device=self.device.type, base=base, beside=beside + waiting
        )
        return found.total

    @property
    def _numbers(self) -> int:
        """Numbers of an image."""
        height, width = self.shapes.size
        return self.shapes.channels * height * width

    def _batch(self, rows: int) -> RealBatch:
        shape = (rows, self.shapes.channels, *self.shapes.size)
        labels = torch.zeros(rows, dtype=torch.int64)
        return RealBatch(
            torch.empty(shape),
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
    held = 4 * (weights(work.generator) + weights(work.critic))  # there already
    base = max(0, base_bytes() - held) if on_cpu else 0
    beside = work.beside + workers_bytes if on_cpu else 0
    budget = budget_bytes(memory, work.device)
    plan: MemoryPlan = plan_memory(
        lambda some: work.needs(some, base=base, beside=beside), budget, work.rows,
        levers=levers, may_bf16=may_bf16,
    )  # fmt: skip
    made, judged = weights(work.generator), weights(work.critic)
    state = 4 * (4 * made + 3 * judged)  # weights, their average, two moments each
    return Plan(
        levers=plan.levers, peak=plan.predicted, budget=budget,
        parameters=(made, judged), images=images, said=plan.said,
        disk=_STATES * state + _GENERATORS * 4 * made, warned=tuple(warned),
    )  # fmt: skip


def with_time(plan: Plan, seconds_an_image: float) -> Plan:
    """Return a plan with the time that it would take."""
    return replace(plan, seconds=seconds_an_image * plan.images)
