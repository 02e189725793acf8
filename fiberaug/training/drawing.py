"""What a step draws: for the whole batch of all ranks, so that each takes its rows."""

from dataclasses import dataclass

import torch

from fiberaug.gpu.differentiable import DifferentiableAugment
from fiberaug.seeding import key

__all__ = ["Augmenter", "Draws", "generator_of"]


def generator_of(seed: int, step: int, stage: str) -> torch.Generator:
    """Return a generator of random numbers that is a function of its arguments."""
    drawn = key(seed, 0, step, 0, 0, f"train/{stage}")
    number = int.from_bytes(drawn[:8], "little") >> 1
    return torch.Generator().manual_seed(number)


class Augmenter:
    """Augmentation that the critic sees real and generated images through.

    Args:
        policy: See :class:`fiberaug.gpu.differentiable.DifferentiableAugment`; empty:
            none.
        share: Share of the rows that is augmented, 0 to 1.
    """

    def __init__(self, policy: str, share: float) -> None:
        self.module = DifferentiableAugment(policy) if policy and share > 0 else None
        self.share = share

    def draw(
        self, shape: tuple[int, int, int, int], source: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """Return parameters for a batch; none where nothing is augmented."""
        if self.module is None:
            return {}
        drawn = self.module.draw(shape, source)
        chosen = torch.rand(shape[0], generator=source) < self.share
        return {**drawn, "chosen": chosen}

    def __call__(
        self, images: torch.Tensor, params: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """Return augmented images, of the type of the images."""
        if self.module is None:
            return images
        out: torch.Tensor = self.module(images, params)
        if self.share >= 1:
            return out
        chosen = params["chosen"].to(images.device)
        return torch.where(chosen[:, None, None, None], out, images)


@dataclass(frozen=True, slots=True)
class Draws:
    """What one half of a step draws."""

    latents: torch.Tensor
    """float32 [B, ...], normal."""

    real: dict[str, torch.Tensor]
    """Parameters of the augmentation of real images."""

    fake: dict[str, torch.Tensor]
    """Parameters of the augmentation of generated ones."""

    along: torch.Tensor | None
    """Directions of a penalty by differences, float32 [2, B, C, H, W]."""

    between: torch.Tensor | None
    """Where between real and generated images, float32 [B], from 0 to 1."""

    def rows(self, rows: slice, device: torch.device) -> "Draws":
        """Return those of some rows, on a device."""
        return Draws(
            self.latents[rows].to(device),
            {name: value[rows] for name, value in self.real.items()},
            {name: value[rows] for name, value in self.fake.items()},
            None if self.along is None else self.along[:, rows].to(device),
            None if self.between is None else self.between[rows].to(device),
        )
