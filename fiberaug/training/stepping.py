"""One step of a GAN: gradients of both networks, the same however rows are divided."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fiberaug.training.contracts import RealBatch
from fiberaug.training.drawing import Augmenter, Draws, generator_of
from fiberaug.training.levers import Levers
from fiberaug.training.losses import Loss
from fiberaug.training.networks import Conditions, Network
from fiberaug.training.penalties import one_centred, squared_gradient, squared_slope

__all__ = ["GANStep", "Share"]


@dataclass(frozen=True, slots=True)
class Share:
    """Which rows of a step's batch this process has."""

    first: int
    """Number of its first row."""

    total: int
    """Rows of all ranks."""


class GANStep:
    """Gradients of a generator and a critic.

    Every term is a sum over rows divided by the rows of all ranks, and everything that
    is drawn follows from (seed, step) and the row. So the gradient is the same, but for
    the order in which numbers are added, for any micro-batches and, summed over ranks,
    for any ranks. Networks that take statistics of a batch are the exception.

    Args:
        generator: Latents to images.
        critic: Images to logits.
        loss: What is made small.
        latent: Shape of one latent.
        augmenter: What the critic sees images through.
        seed: Of everything drawn.
        levers: How the rows are worked through; may be changed between steps.
    """

    def __init__(
        self,
        generator: Network,
        critic: Network,
        loss: Loss,
        *,
        latent: tuple[int, ...],
        augmenter: Augmenter,
        seed: int = 0,
        levers: Levers | None = None,
    ) -> None:
        self.generator, self.critic, self.loss = generator, critic, loss
        self.latent, self.augmenter, self.seed = latent, augmenter, seed
        self.levers = levers or Levers()

    def draws(self, half: str, step: int, share: Share, image: torch.Size) -> Draws:
        """Return what a half draws for all rows of all ranks.

        Args:
            half: ``critic`` or ``generator``.
            step: Number of the step.
            share: Which rows are this process's.
            image: (channels, height, width).
        """
        source = generator_of(self.seed, step, f"gan/{half}")
        rows, shape = share.total, (share.total, *image)
        latents = torch.randn(rows, *self.latent, generator=source)
        real = self.augmenter.draw(shape, source)
        fake = self.augmenter.draw(shape, source)
        along = between = None
        if half == "critic" and self.loss.penalty == "one-centred":
            between = torch.rand(rows, generator=source)
        if self._slopes and half == "critic":
            source = generator_of(self.seed, step, "gan/slopes")
            along = torch.randn(2, *shape, generator=source)
        mine = slice(share.first, None)
        return Draws(latents, real, fake, along, between).rows(
            mine, torch.device("cpu")
        )

    @property
    def _slopes(self) -> bool:
        return self.levers.finite_difference and self.loss.penalty == "zero-centred"

    def critic_half(
        self, batch: RealBatch, *, step: int, share: Share, gamma: float
    ) -> dict[str, torch.Tensor]:
        """Add the critic's gradient to its weights and return figures.

        Args:
            batch: This process's rows, on any device.
            step: Number of the step.
            share: Which rows they are.
            gamma: Weight of the penalty.
        """
        draws = self.draws("critic", step, share, batch.images.shape[1:])

        def part(rows: slice, device: torch.device) -> dict[str, torch.Tensor]:
            real, conditions = _rows(batch, rows, device)
            drawn = draws.rows(rows, device)
            with torch.no_grad(), self._autocast(device):
                fake = self.generator(drawn.latents, conditions).float()
                seen = [self.augmenter(real, drawn.real)]
                seen.append(self.augmenter(fake, drawn.fake))
            return self._critic_part(seen, conditions, drawn, gamma, share.total)

        with _no_gradient(self.generator.module):
            return self._worked(part, len(batch.images), self.critic.module)

    def _critic_part(
        self,
        seen: list[torch.Tensor],
        conditions: Conditions,
        drawn: Draws,
        gamma: float,
        total: int,
    ) -> dict[str, torch.Tensor]:
        """Go backward through a part of the critic's half."""

        def critic(images: torch.Tensor) -> torch.Tensor:
            return self.critic.logits(images, conditions)

        device = seen[0].device
        exact = self.loss.penalty == "zero-centred" and gamma > 0 and not self._slopes
        seen = [one.detach().requires_grad_(exact) for one in seen]
        # The difference of two logits is far below what bfloat16 can hold.
        with self._autocast(device, usual=not (self._slopes and gamma > 0)):
            logits = [critic(one) for one in seen]
            terms = self.loss.critic(*logits)
            slopes: list[torch.Tensor] = []
            if exact:
                slopes = [
                    squared_gradient(told, one)
                    for told, one in zip(logits, seen, strict=True)
                ]
            elif self._slopes and gamma > 0 and drawn.along is not None:
                slopes = [
                    squared_slope(critic, told, one, along)
                    for told, one, along in zip(logits, seen, drawn.along, strict=True)
                ]
            value = terms.sum() / total
            penalty = torch.zeros((), device=device)
            if slopes:
                penalty = (
                    gamma / 2 * torch.stack([one.sum() for one in slopes]).sum() / total
                )
            elif drawn.between is not None and gamma > 0:
                found = one_centred(critic, seen[0], seen[1], drawn.between)
                penalty = gamma * found.sum() / total
        (value + penalty).backward()  # type: ignore[no-untyped-call]
        real, fake = (one.detach() for one in logits)
        return {
            "loss_critic": value.detach(),
            "penalty": penalty.detach(),
            "gap": (real - fake).sum() / total,
            "right": (real > fake).sum() / total,
        }

    def generator_half(
        self, batch: RealBatch, *, step: int, share: Share
    ) -> dict[str, torch.Tensor]:
        """Add the generator's gradient to its weights and return figures.

        Args:
            batch: See :meth:`critic_half`; what is generated is conditioned as it is.
            step: Number of the step.
            share: Which rows they are.
        """
        draws = self.draws("generator", step, share, batch.images.shape[1:])

        def part(rows: slice, device: torch.device) -> dict[str, torch.Tensor]:
            real, conditions = _rows(batch, rows, device)
            drawn = draws.rows(rows, device)
            with self._autocast(device):
                told = torch.zeros(len(real), device=device)
                if self.loss.paired:
                    with torch.no_grad():
                        seen = self.augmenter(real, drawn.real)
                        told = self.critic.logits(seen, conditions)
                fake = self.generator(drawn.latents, conditions).float()
                logits = self.critic.logits(
                    self.augmenter(fake, drawn.fake), conditions
                )
                value = self.loss.generator(told, logits).sum() / share.total
            value.backward()  # type: ignore[no-untyped-call]
            spread = fake.detach().std((1, 2, 3), correction=0).sum() / share.total
            return {"loss_generator": value.detach(), "contrast": spread}

        with _no_gradient(self.critic.module):
            return self._worked(part, len(batch.images), self.generator.module)

    def _worked(
        self,
        part: Callable[[slice, torch.device], dict[str, torch.Tensor]],
        rows: int,
        module: nn.Module,
    ) -> dict[str, torch.Tensor]:
        """Return the sums of what the parts of a batch give."""
        device = next(module.parameters()).device
        found: dict[str, torch.Tensor] = {}
        for some in parts(rows, self.levers.micro_batches):
            for name, value in part(some, device).items():
                found[name] = found[name] + value if name in found else value
        return found

    def _autocast(self, device: torch.device, *, usual: bool = True) -> Any:  # noqa: ANN401  # torch's
        on = usual and self.levers.bf16 and device.type != "meta"
        kind = "cpu" if device.type == "meta" else device.type
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=on)


def parts(rows: int, count: int) -> Iterator[slice]:
    """Yield slices of about equal length, the longer ones first."""
    count = max(1, min(count, rows))
    first = 0
    for number in range(count):
        length = rows // count + (number < rows % count)
        yield slice(first, first + length)
        first += length


def _rows(
    batch: RealBatch, rows: slice, device: torch.device
) -> tuple[torch.Tensor, Conditions]:
    conditions = Conditions(batch.labels, batch.places).rows(rows).to(device)
    return batch.images[rows].to(device), conditions


@contextmanager
def _no_gradient(module: nn.Module) -> Iterator[None]:
    """Let no weight of a module get a gradient meanwhile."""
    weights = [one for one in module.parameters() if one.requires_grad]
    for one in weights:
        one.requires_grad_(False)  # noqa: FBT003  # torch's own
    try:
        yield
    finally:
        for one in weights:
            one.requires_grad_(True)  # noqa: FBT003
