"""What can get adapters: a text-to-image model, or a diffusion model of ours.

The trainer asks both the same questions; they answer differently.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from fiberaug.training.contracts import Source
from fiberaug.training.lora_task import Sampler, Stepper
from fiberaug.training.lora_workload import Part

__all__ = ["LoRAModel"]


class LoRAModel(ABC):
    """A frozen network with adapters, and what is around it."""

    network: nn.Module
    image: tuple[int, int, int]
    """(channels, height, width) of an image."""

    each: int = 1
    """Rows for each photo."""

    wants_labels: bool | None
    wants_places: bool

    @abstractmethod
    def fits(self, source: Source) -> None:
        """Refuse a source that it cannot be trained on.

        Raises:
            UsageError: It needs what the source has not.
        """

    @abstractmethod
    def row_shape(self) -> tuple[int, int, int]:
        """Return the shape of a row of a batch."""

    @abstractmethod
    def stepper(self, source: Source) -> Callable[[nn.Module], Stepper]:
        """Return what makes a stepper of a network as large as this one."""

    @abstractmethod
    def sampler(self, source: Source) -> Sampler:
        """Return what makes images of the adapters of now."""

    @abstractmethod
    def save(
        self,
        source: Source,
        notes: Mapping[str, Any],
        adapters: nn.Module,
        folder: Path,
    ) -> None:
        """Write what the adapters are, or make, into an empty folder."""

    def parts(self) -> Sequence[Part]:
        """Return what takes memory beside steps."""
        return ()

    def helpers(self) -> int:
        """Return the bytes of weights that are freed before steps are made."""
        return 0
