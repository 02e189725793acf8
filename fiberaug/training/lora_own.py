"""Adapters of a diffusion model of ours: the task stays what it was."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from fiberaug.errors import UsageError
from fiberaug.synthetic.diffusions import DiffusionGenerator
from fiberaug.training.contracts import Source
from fiberaug.training.diffusion_task import SAMPLER, STEPS
from fiberaug.training.lora_adapters import Adapters, merged
from fiberaug.training.lora_models import LoRAModel
from fiberaug.training.lora_options import LoRAOptions
from fiberaug.training.lora_task import Sampler, Stepper
from fiberaug.training.noising import NoiseStep
from fiberaug.training.unets import MadeFor, check_unet

__all__ = ["OwnModel"]


class OwnModel(LoRAModel):
    """A diffusion model of ours, or one of a user's.

    Args:
        network: With adapters in it.
        made_for: What it is made for.
        classes: Names by label, as the generator had them; empty: it had none.
        options: How it is trained.
    """

    def __init__(
        self,
        network: nn.Module,
        made_for: MadeFor,
        classes: tuple[str, ...],
        options: LoRAOptions,
    ) -> None:
        self.network, self.made_for, self.image = network, made_for, made_for.image
        self.known, self.options = classes, options
        told = made_for.classes
        self.wants_labels = None if told is None else told > 0
        self.wants_places = made_for.places

    def fits(self, source: Source) -> None:
        """Refuse other classes than the network has."""
        check_unet(
            self.network, self.made_for, classes=len(source.classes),
            places=source.has_places,
        )  # fmt: skip
        if self.known and source.classes and source.classes != self.known:
            raise UsageError(
                f"the model knows the classes {', '.join(self.known):.200}, and the"
                f" data has {', '.join(source.classes):.200}: adapters cannot learn"
                " others; give labels of the same classes in the same order"
            )

    def row_shape(self) -> tuple[int, int, int]:
        """Return the shape of an image."""
        return self.image

    def stepper(self, source: Source) -> Callable[[nn.Module], Stepper]:
        """Return what makes a stepper."""
        options = self.options
        return partial(
            NoiseStep, classes=len(source.classes), min_snr=options.min_snr,
            seed=options.seed, dropped=options.dropped,
        )  # fmt: skip

    def sampler(self, source: Source) -> Sampler:
        """Return what makes images."""
        made = self._generator(self.network, source.classes, {})
        named = self.wants_places

        def sample(seeds: Any, labels: Any, places: Any) -> Any:  # noqa: ANN401
            told = labels if source.classes else None
            return made.generate(seeds, told, places=places if named else None)

        return sample

    def _generator(
        self, network: nn.Module, classes: Sequence[str], notes: Mapping[str, Any]
    ) -> DiffusionGenerator:
        return DiffusionGenerator(
            network, classes=classes, notes=notes, shape=self.image, sampler=SAMPLER,
            steps=STEPS,
        )  # fmt: skip

    def save(
        self,
        source: Source,
        notes: Mapping[str, Any],
        adapters: nn.Module,
        folder: Path,
    ) -> None:
        """Write the whole model with adapters added to it, and they alone beside it."""
        whole = merged(self.network)
        self._generator(whole, source.classes, notes).save(folder)
        (folder / "adapter").mkdir()
        assert isinstance(adapters, Adapters)  # noqa: S101  # for the type
        adapters.write(folder / "adapter", prefix="", scale=self.options.scale)
