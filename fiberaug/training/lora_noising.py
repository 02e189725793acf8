"""The gradient of adapters of a text-to-image model, the same however rows are divided.

Loss and weights are those of diffusers: noise is added to latents by the model's own
schedule, and the UNet is to give the noise or v, whichever it gave before.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fiberaug.training.contracts import RealBatch
from fiberaug.training.drawing import generator_of
from fiberaug.training.levers import Levers
from fiberaug.training.stepping import Share, parts

__all__ = ["LatentDraws", "LatentStep", "Prompts", "Schedule"]

_FLOAT16 = 1024.0  # the loss times that, so that no gradient is below what float16 has


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """Noise by time, and what is predicted."""

    kept: torch.Tensor
    """Share of the latent's variance that is left at each time, float32 [T]."""

    predicts: str
    """``epsilon`` or ``v_prediction``."""

    scale: float = 1.0
    """Latents are (what the VAE gives - shift) times this."""

    shift: float = 0.0

    def weights(self, times: torch.Tensor, most: float | None) -> torch.Tensor:
        """Return what rows count by their times, float [B].

        min(SNR, most) / SNR where noise is predicted, / (SNR + 1) where v is: Hang et
        al., "Efficient diffusion training via min-SNR weighting", 2023. At None, 1.

        Args:
            times: int64 [B].
            most: > 0, or None.
        """
        kept = self.kept.to(times.device)[times]
        if most is None:
            return torch.ones_like(kept)
        # as diffusers computes it, to the last digits
        snr = (kept.sqrt() / (1 - kept).sqrt()) ** 2
        beside = 1 if self.predicts == "v_prediction" else 0
        # at a time of nothing but noise a UNet that predicts it counts fully
        least = torch.finfo(snr.dtype).tiny
        return snr.clamp(min=least, max=most) / (snr.clamp(min=least) + beside)


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompts:
    """What the UNet is told, by the number of a prompt."""

    told: torch.Tensor
    """Embedded prompts, float32 [P + 1, tokens, numbers]; the last one is empty."""

    weights: torch.Tensor
    """What a row with each prompt counts, float32 [P]."""


@dataclass(frozen=True, slots=True)
class LatentDraws:
    """What a step draws."""

    times: torch.Tensor
    """int64 [B]."""

    noise: torch.Tensor
    """float32 [B, C, h, w], standard normal, with what a channel has in common."""

    inside: torch.Tensor
    """float32 [B, C, h, w], standard normal: where in what the VAE gives."""

    dropped: torch.Tensor
    """bool [B]: rows that learn with the empty prompt."""


class LatentStep:
    """The gradient of the adapters of a UNet.

    Args:
        unet: Of diffusers; (latents, times, prompts) to noise or v.
        schedule: Its own.
        prompts: By number.
        min_snr: See :meth:`Schedule.weights`.
        dropped: Share of rows that learn with the empty prompt, 0 to 1.
        noise_offset: Standard deviation of noise that a channel has in common.
        seed: Of everything drawn.
        each: Rows for each photo: 2 with an image of the prior beside it.
    """

    def __init__(
        self,
        unet: nn.Module,
        schedule: Schedule,
        prompts: Prompts,
        *,
        min_snr: float | None,
        dropped: float,
        noise_offset: float,
        seed: int,
        each: int = 1,
    ) -> None:
        self.unet, self.schedule, self.prompts = unet, schedule, prompts
        self.min_snr, self.dropped, self.noise_offset = min_snr, dropped, noise_offset
        self.seed, self.each = seed, each
        self.levers = Levers()

    def draws(self, step: int, share: Share, latent: torch.Size) -> LatentDraws:
        """Return what is drawn for this process's rows.

        Times are spread evenly over the rows of all ranks, as
        :meth:`fiberaug.training.noising.NoiseStep.draws` does.

        Args:
            step: Number of the step.
            share: Which photos are this process's.
            latent: (channels, height, width).
        """
        source = generator_of(self.seed, step, "lora")
        rows, steps = self.each * share.total, len(self.schedule.kept)
        spread = torch.randperm(rows, generator=source)
        moved = torch.rand((), generator=source, dtype=torch.float64)
        times = (((spread + moved) / rows) % 1 * steps).long()
        noise, inside = torch.randn(2, rows, *latent, generator=source)
        dropped = torch.rand(rows, generator=source) < self.dropped
        if self.noise_offset:
            common = torch.randn(rows, latent[0], 1, 1, generator=source)
            noise = noise + self.noise_offset * common
        mine = slice(self.each * share.first, None)
        return LatentDraws(times[mine], noise[mine], inside[mine], dropped[mine])

    def gradient(
        self, batch: RealBatch, *, step: int, share: Share
    ) -> dict[str, torch.Tensor]:
        """Add the gradient to the adapters and return figures, sums over rows.

        Args:
            batch: Mean and standard deviation of latents, [B, 2 C, h, w], and numbers
                of prompts as labels.
            step: Number of the step.
            share: Which photos they are.
        """
        channels, *sides = batch.images.shape[1:]
        latent = torch.Size([channels // 2, *sides])
        draws = self.draws(step, share, latent)
        device = next(self.unet.parameters()).device
        found: dict[str, torch.Tensor] = {}
        for rows in parts(len(batch.images), self.levers.micro_batches):
            losses, plain = self.losses(batch, draws, rows, device)
            value = losses.sum() / share.total
            (value * self.raised).backward()  # type: ignore[no-untyped-call]
            error = plain.sum() / (self.each * share.total)
            told = {"loss": value.detach(), "error": error}
            found = {name: found.get(name, 0) + one for name, one in told.items()}
        if self.raised != 1:
            for one in self.unet.parameters():
                if one.grad is not None:
                    one.grad /= self.raised
        return found

    @property
    def raised(self) -> float:
        """What the loss is multiplied by, and gradients are divided by."""
        held = next(self.unet.parameters()).dtype
        return _FLOAT16 if held == torch.float16 else 1.0

    def losses(
        self, batch: RealBatch, draws: LatentDraws, rows: slice, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what each row is to make small, and its plain squared error.

        Args:
            batch: See :meth:`gradient`.
            draws: Of the same rows.
            rows: Which of them.
            device: Where the UNet is.
        """
        mean, spread = batch.images[rows].to(device).chunk(2, 1)
        inside = draws.inside[rows].to(device)
        schedule = self.schedule
        latents = (mean + spread * inside - schedule.shift) * schedule.scale
        noise, times = draws.noise[rows].to(device), draws.times[rows].to(device)
        kept = schedule.kept.to(device)[times][:, None, None, None]
        alpha, sigma = kept.sqrt(), (1 - kept).sqrt()
        wanted = noise
        if schedule.predicts == "v_prediction":
            wanted = alpha * noise - sigma * latents
        made = self._made(
            alpha * latents + sigma * noise, times, self._told(batch, draws, rows)
        )
        errors = (made.float() - wanted).square().mean((1, 2, 3))
        counts = schedule.weights(times, self.min_snr)
        if batch.labels is not None:
            weights = self.prompts.weights.to(device)
            counts = counts * weights[batch.labels[rows].to(device)]
        return errors * counts, errors.detach()

    def _told(self, batch: RealBatch, draws: LatentDraws, rows: slice) -> torch.Tensor:
        """Return the prompts of rows, where some learn with the empty one."""
        device = next(self.unet.parameters()).device
        told = self.prompts.told.to(device)
        numbers = torch.zeros(len(batch.images), dtype=torch.int64)
        numbers = numbers if batch.labels is None else batch.labels
        empty = torch.full_like(numbers, len(told) - 1)
        dropped = draws.dropped.to(numbers.device)
        return told[torch.where(dropped, empty, numbers)[rows].to(device)]

    def _made(
        self, noisy: torch.Tensor, times: torch.Tensor, told: torch.Tensor
    ) -> torch.Tensor:
        held = next(self.unet.parameters()).dtype
        half = held if held != torch.float32 else torch.bfloat16
        device = noisy.device.type
        on = (self.levers.bf16 or held != torch.float32) and device != "meta"
        kind = "cpu" if device == "meta" else device
        with torch.autocast(kind, dtype=half, enabled=on):
            made: Any = self.unet(noisy.to(held), times, told.to(held))
        found: torch.Tensor = made.sample
        return found
