"""How a GAN is trained; everything is checked before anything is allocated."""

from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

from fiberaug.errors import UsageError
from fiberaug.gpu.differentiable import DifferentiableAugment
from fiberaug.seeding import check_seed
from fiberaug.training.losses import Loss, loss_of
from fiberaug.training.ramps import Ramp

__all__ = ["GANOptions"]

_FEW, _MANY = 1_000, 50_000  # photos: below the first all rows are augmented


@dataclass(frozen=True, kw_only=True)
class GANOptions:
    """Loss, rates and averages of a GAN; None: what goes with the loss."""

    loss: str = "rpgan"
    """``rpgan``, ``bce``, ``wgan-gp`` or ``wgan-clip``, see
    :data:`fiberaug.training.losses.LOSSES`."""

    gamma: str | float | None = None
    """Weight of the penalty over the run, such as ``"cosine 0.8 0.08"``; zero-centred
    ones in units of px per image / images per step."""

    lr: str | float | None = None
    """Learning rate of both networks over the run."""

    critic_lr: str | float | None = None
    """Of the critic alone; None: as ``lr``."""

    betas: tuple[float, float] | None = None
    """Adam's, each in [0, 1)."""

    critic_steps: int | None = None
    """Steps of the critic for one of the generator, >= 1."""

    augment: str = "color,translation,cutout"
    """What the critic sees images through, see
    :class:`fiberaug.gpu.differentiable.DifferentiableAugment`; empty: nothing."""

    augment_share: float | None = None
    """Share of images that is augmented, 0 to 1; None: 1 below 1,000 photos, 0.3 above
    50,000."""

    half_life: float = 500_000
    """Images after which a weight counts half in the averaged generator, > 0."""

    seed: int = 0
    """Of everything drawn, in [0, 2**64)."""

    def __post_init__(self) -> None:
        """Check the arguments.

        Raises:
            UsageError: One is out of range.
        """
        check_seed(self.seed)
        loss_of(self.loss)
        if not isinstance(self.augment, str):
            raise UsageError(
                'augment must be text such as "color,translation", empty for nothing,'
                f" got {self.augment!r:.80}"
            )
        DifferentiableAugment(self.augment)
        for name in ("gamma", "lr", "critic_lr"):
            value = getattr(self, name)
            if value is not None and Ramp.of(value).least < 0:
                raise UsageError(f"{name} must be >= 0 at all times, got {value!r}")
        betas: Any = (0, 0) if self.betas is None else self.betas
        pair = isinstance(betas, tuple | list) and len(betas) == 2
        if not pair or not all(_is_number(one) and 0 <= one < 1 for one in betas):
            raise UsageError(f"betas must be two numbers in [0, 1), got {betas!r:.80}")
        steps = self.critic_steps
        if steps is not None and (type(steps) is not int or steps < 1):
            raise UsageError(f"critic_steps must be an integer >= 1, got {steps!r}")
        share = 0 if self.augment_share is None else self.augment_share
        if not _is_number(share) or not 0 <= share <= 1:
            raise UsageError(f"augment_share must be in [0, 1], got {share!r:.80}")
        if not _is_number(self.half_life) or not self.half_life > 0:
            raise UsageError(
                f"half_life must be > 0 images, got {self.half_life!r:.80}"
            )

    @property
    def made(self) -> Loss:
        """The loss."""
        return loss_of(self.loss)

    @property
    def steps_of_critic(self) -> int:
        """Steps of the critic for one of the generator."""
        return self.critic_steps or self.made.critic_steps

    def gamma_at(self, nimg: int, total: int, *, pixels: int, rows: int) -> float:
        """Return the weight of the penalty.

        Args:
            nimg: Images shown.
            total: Images to show.
            pixels: Of one image, in one channel.
            rows: Images of a step.
        """
        ramp = Ramp.of(self.made.gamma if self.gamma is None else self.gamma)
        scale = pixels / rows if self.made.penalty == "zero-centred" else 1.0
        return ramp.at(nimg, total) * scale

    def lr_at(self, nimg: int, total: int, *, of_critic: bool = False) -> float:
        """Return the learning rate."""
        value = self.made.lr if self.lr is None else self.lr
        if of_critic and self.critic_lr is not None:
            value = self.critic_lr
        return Ramp.of(value).at(nimg, total)

    def betas_at(self, nimg: int, total: int) -> tuple[float, float]:
        """Return Adam's betas."""
        if self.betas is not None:
            return self.betas
        first, (begin, end) = self.made.betas
        return first, Ramp.of(f"cosine {begin} {end}").at(nimg, total)

    def share_of(self, photos: int) -> float:
        """Return which share of images is augmented, of so many photos."""
        if self.augment_share is not None:
            return self.augment_share
        few = (_MANY - min(max(photos, _FEW), _MANY)) / (_MANY - _FEW)
        return 0.3 + 0.7 * few

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, fit for JSON."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        if self.betas is not None:
            found["betas"] = list(self.betas)
        for name in ("gamma", "lr", "critic_lr"):
            if isinstance(found[name], Ramp):
                found[name] = str(found[name])
        return found


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
