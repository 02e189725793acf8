"""How a diffusion model is trained; everything is checked before it is allocated."""

from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

from fiberaug.errors import UsageError
from fiberaug.seeding import check_seed
from fiberaug.training.ramps import Ramp

__all__ = ["DiffusionOptions"]


@dataclass(frozen=True, kw_only=True)
class DiffusionOptions:
    """Rates, weights and averages of a diffusion model."""

    lr: str | float = "cosine 1e-3 1e-5"
    """Learning rate over the run."""

    betas: tuple[float, float] = (0.9, 0.99)
    """Adam's, each in [0, 1)."""

    min_snr: float | None = 5.0
    """Most signal-to-noise ratio that a time is weighted with, > 0; None: each time
    counts alike (Hang et al., "Efficient diffusion training via min-SNR weighting",
    2023, with 5)."""

    dropped: float = 0.1
    """Share of rows that learn without their condition, 0 to 1, so that guidance has
    something to compare with."""

    longest: float = 1.0
    """Most norm of a gradient, > 0; longer ones are shortened to it."""

    half_life: float = 50_000
    """Images after which a weight counts half in the averaged network, > 0."""

    seed: int = 0
    """Of everything drawn, in [0, 2**64)."""

    def __post_init__(self) -> None:
        """Check the arguments.

        Raises:
            UsageError: One is out of range.
        """
        check_seed(self.seed)
        if Ramp.of(self.lr).least < 0:
            raise UsageError(f"lr must be >= 0 at all times, got {self.lr!r}")
        betas: Any = self.betas
        pair = isinstance(betas, tuple | list) and len(betas) == 2
        if not pair or not all(_is_number(one) and 0 <= one < 1 for one in betas):
            raise UsageError(f"betas must be two numbers in [0, 1), got {betas!r:.80}")
        if not _is_number(self.dropped) or not 0 <= self.dropped <= 1:
            raise UsageError(f"dropped must be in [0, 1], got {self.dropped!r:.80}")
        for name in ("min_snr", "longest", "half_life"):
            value: Any = getattr(self, name)
            if value is None and name == "min_snr":
                continue
            if not _is_number(value) or not value > 0:
                raise UsageError(f"{name} must be > 0, got {value!r:.80}")

    def lr_at(self, nimg: int, total: int) -> float:
        """Return the learning rate.

        Args:
            nimg: Images shown.
            total: Images to show.
        """
        return Ramp.of(self.lr).at(nimg, total)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, fit for JSON."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        found["betas"] = list(self.betas)
        if isinstance(self.lr, Ramp):
            found["lr"] = str(self.lr)
        return found


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
