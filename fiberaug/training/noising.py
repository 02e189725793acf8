"""One step of a diffusion model: its gradient, the same however rows are divided."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fiberaug.models.calling import conditions_of
from fiberaug.synthetic.samplers import TIMES, training_schedule
from fiberaug.training.contracts import RealBatch
from fiberaug.training.drawing import generator_of
from fiberaug.training.levers import Levers
from fiberaug.training.stepping import Share, parts

__all__ = ["CONDITIONS", "NoiseDraws", "NoiseStep", "null_class", "weight_of"]

CONDITIONS = ("labels", "places", "context")
"""What a network can take beside noisy images and times."""


@dataclass(frozen=True, slots=True)
class NoiseDraws:
    """What a step draws."""

    times: torch.Tensor
    """int64 [B], 0 to 999."""

    noise: torch.Tensor
    """float32 [B, C, H, W], standard normal."""

    dropped: torch.Tensor
    """bool [B]: rows that learn without their condition."""


def weight_of(snr: torch.Tensor, most: float | None) -> torch.Tensor:
    """Return what a row counts by its signal-to-noise ratio, where v is predicted.

    min(snr, most) / (snr + 1): Hang et al. 2023, section 3.4. At None, 1.

    Args:
        snr: float [B].
        most: > 0, or None.
    """
    if most is None:
        return torch.ones_like(snr)
    return snr.clamp(max=most) / (snr + 1)


def null_class(module: nn.Module, classes: int) -> int:
    """Return the label that stands for no class: the one after the last.

    Args:
        module: A network.
        classes: Of the data.
    """
    config = getattr(module, "config", None)
    known = getattr(config, "num_class_embeds", None)  # of diffusers' own networks
    if isinstance(known, int):
        return known - 1
    made_for = getattr(config, "classes", None)
    return made_for if isinstance(made_for, int) else classes


class NoiseStep:
    """The gradient of a network that predicts v = alpha noise - sigma image.

    Every row is a term of its own and everything that is drawn follows from (seed,
    step) and the row, so the gradient is the same for any micro-batches and ranks, but
    for the order in which numbers are added.

    Args:
        module: (noisy images, times, conditions that it takes) to v.
        classes: Of the data; 0: none.
        min_snr: See :func:`weight_of`.
        dropped: Share of rows that learn without their condition, 0 to 1.
        seed: Of everything drawn.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        classes: int,
        min_snr: float | None,
        dropped: float,
        seed: int,
    ) -> None:
        self.module, self.min_snr = module, min_snr
        self.dropped, self.seed = dropped, seed
        self.null = null_class(module, classes)
        self.names = conditions_of(module, 2, CONDITIONS)
        self.kept: torch.Tensor = training_schedule().alphas_cumprod
        """Share of the image's variance that is left at each time, float32 [1000]."""

        self.levers = Levers()

    def draws(self, step: int, share: Share, image: torch.Size) -> NoiseDraws:
        """Return what is drawn for this process's rows.

        Times are spread evenly over the rows of all ranks, which makes the loss less
        noisy (Kingma et al., "Variational diffusion models", 2021, section G.1).

        Args:
            step: Number of the step.
            share: Which rows are this process's.
            image: (channels, height, width).
        """
        source, rows = generator_of(self.seed, step, "diffusion"), share.total
        spread = torch.randperm(rows, generator=source)
        moved = torch.rand((), generator=source, dtype=torch.float64)
        times = (((spread + moved) / rows) % 1 * TIMES).long()
        noise = torch.randn(rows, *image, generator=source)
        dropped = torch.rand(rows, generator=source) < self.dropped
        mine = slice(share.first, None)
        return NoiseDraws(times[mine], noise[mine], dropped[mine])

    def gradient(
        self, batch: RealBatch, *, step: int, share: Share
    ) -> dict[str, torch.Tensor]:
        """Add the gradient to the weights and return figures, sums over rows.

        Args:
            batch: This process's rows, on any device.
            step: Number of the step.
            share: Which rows they are.
        """
        draws = self.draws(step, share, batch.images.shape[1:])
        device = next(self.module.parameters()).device
        found: dict[str, torch.Tensor] = {}
        for rows in parts(len(batch.images), self.levers.micro_batches):
            losses, plain = self.losses(batch, draws, rows, device)
            value = losses.sum() / share.total
            value.backward()  # type: ignore[no-untyped-call]
            told = {"loss": value.detach(), "error": plain.sum() / share.total}
            found = {name: found.get(name, 0) + one for name, one in told.items()}
        return found

    def losses(
        self, batch: RealBatch, draws: NoiseDraws, rows: slice, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what each row is to make small, and its plain squared error.

        Args:
            batch: This process's rows.
            draws: Of the same rows.
            rows: Which of them.
            device: Where the network is.
        """
        images, noise = batch.images[rows].to(device), draws.noise[rows].to(device)
        times = draws.times[rows].to(device)
        kept = self.kept.to(device)[times]
        alpha, sigma = (
            one.sqrt()[:, None, None, None].to(images.dtype) for one in (kept, 1 - kept)
        )
        wanted = alpha * noise - sigma * images
        conditions = self._conditions(batch, draws, rows, device)
        on = self.levers.bf16 and device.type != "meta"
        kind = "cpu" if device.type == "meta" else device.type
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=on):
            made = _tensor(
                self.module(alpha * images + sigma * noise, times, **conditions)
            )
        errors = (made.float() - wanted).square().mean((1, 2, 3))
        return errors * weight_of(kept / (1 - kept), self.min_snr), errors.detach()

    def _conditions(
        self, batch: RealBatch, draws: NoiseDraws, rows: slice, device: torch.device
    ) -> dict[str, torch.Tensor]:
        dropped = draws.dropped[rows].to(device)
        found = {}
        for what, name in self.names.items():
            value: torch.Tensor | None = getattr(batch, what)
            if value is None:
                continue
            value = value[rows].to(device)
            if what == "labels":
                value = torch.where(dropped, self.null, value)
            elif what == "context":
                value = torch.where(dropped[:, None], torch.zeros_like(value), value)
            found[name] = value
        return found


def _tensor(made: Any) -> torch.Tensor:  # noqa: ANN401  # or what diffusers wraps it in
    found: torch.Tensor = getattr(made, "sample", made)
    return found
