"""Both halves of mixes and batch operations, with a clock.

The halves are the loader's own. What they take is a part of building and of finishing a
batch, and a clock inside of them is the only way to tell it from the rest.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import torch

from fiberaug.batching import BatchFinisher
from fiberaug.developing import Developer, SideStream
from fiberaug.gpu.running import Drawn
from fiberaug.making import Made
from fiberaug.staging import BatchStage, Staged
from fiberaug.transport import Message

__all__ = ["Clock", "TimedFinisher", "TimedStage", "synchronize"]


@dataclass
class Clock:
    """What was spent since it was read."""

    cpu_s: float = 0.0
    """CPU seconds."""

    waited_s: float = 0.0
    """CPU seconds of waiting for the device, which a loader does not do."""

    wall_s: float = 0.0
    """Seconds by the clock, until the device is done."""

    def read(self) -> tuple[float, float, float]:
        """Return (CPU, waited, wall) and begin again."""
        found = self.cpu_s, self.waited_s, self.wall_s
        self.cpu_s = self.waited_s = self.wall_s = 0.0
        return found


def synchronize(device: torch.device) -> None:
    """Wait until a device has done what it was given; memory has nothing to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True, kw_only=True)
class TimedStage(BatchStage):
    """The worker's half."""

    clock: Clock = field(default_factory=Clock)

    @classmethod
    def of(cls, stage: BatchStage) -> Self:
        """Return a stage that does the same."""
        return cls(**{f.name: getattr(stage, f.name) for f in fields(BatchStage)})

    def __call__(
        self,
        rows: Sequence[Made],
        epoch: int,
        reach: Callable[[int], int],
        deliver: Callable[[int], Made],
    ) -> Staged:
        """Return a batch, mixed and drawn; making partners is not counted."""
        making = 0.0

        def made(position: int) -> Made:
            nonlocal making
            asked = time.process_time()
            sample = deliver(position)
            making += time.process_time() - asked
            return sample

        started = time.process_time()
        staged = super().__call__(rows, epoch, reach, made)
        self.clock.cpu_s += time.process_time() - started - making
        return staged


class _TimedDeveloper(Developer):
    def __init__(self, stage: BatchStage, stream: SideStream, clock: Clock) -> None:
        super().__init__(stage, stream)
        self._clock, self._device = clock, stream.device

    def __call__(
        self, batch: dict[str, Any], message: Message, drawn: Drawn | None
    ) -> dict[str, Any]:
        synchronize(self._device)
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        made = super().__call__(batch, message, drawn)
        launched_s = time.process_time()
        synchronize(self._device)
        self._clock.cpu_s += launched_s - cpu_s
        self._clock.waited_s += time.process_time() - launched_s
        self._clock.wall_s += time.perf_counter() - wall_s
        return made


class TimedFinisher(BatchFinisher):
    """The main process' half; its clock is that of mixes and batch operations.

    Args:
        stage: Mixes and batch operations.
        given: See :class:`fiberaug.batching.BatchFinisher`.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401  # its own
        stage: BatchStage | None,
        **given: Any,  # noqa: ANN401  # its own
    ) -> None:
        super().__init__(*args, stage=stage, **given)
        self.clock = Clock()
        if stage is not None:
            self._develop = _TimedDeveloper(stage, self.stream, self.clock)
