"""How adapters are trained; everything is checked before a model is opened."""

from dataclasses import dataclass, fields
from importlib.util import find_spec
from numbers import Real
from typing import Any

from fiberaug.errors import UsageError
from fiberaug.seeding import check_seed
from fiberaug.training.ramps import Ramp

__all__ = ["TARGETS", "LoRAOptions"]

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""The projections of attention, as diffusers calls them."""

_MOST_RANK = 1024


@dataclass(frozen=True, kw_only=True)
class LoRAOptions:
    """Size of the adapters, rates, weights."""

    rank: int = 8
    """Columns of each adapter, 1 to 1,024 (Hu et al., "LoRA", 2021)."""

    alpha: float | None = None
    """What an adapter adds is multiplied by alpha / rank, > 0; None: by 1."""

    targets: tuple[str, ...] = TARGETS
    """Ends of the names of the modules that get adapters."""

    lr: str | float = 1e-4
    """Learning rate over the run, such as ``"cosine 1e-4 1e-6"``."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's, each in [0, 1)."""

    min_snr: float | None = 5.0
    """Most signal-to-noise ratio that a time is weighted with, > 0; None: each time
    counts alike (Hang et al. 2023)."""

    dropped: float = 0.0
    """Share of rows that learn with an empty prompt, or without their class, 0 to 1."""

    noise_offset: float = 0.0
    """Standard deviation of noise that a whole channel has in common, >= 0."""

    prior_weight: float = 1.0
    """What an image of the prior counts beside a photo, >= 0 (Ruiz et al.,
    "DreamBooth", 2022, equation 2)."""

    longest: float = 1.0
    """Most norm of a gradient, > 0; longer ones are shortened to it."""

    half_life: float = 200
    """Images after which a weight counts half in the averaged adapters, > 0."""

    eight_bit: bool = False
    """Adam's moments in 8 bits, by bitsandbytes."""

    seed: int = 0
    """Of everything drawn, in [0, 2**64)."""

    def __post_init__(self) -> None:
        """Check the arguments.

        Raises:
            UsageError: One is out of range, or bitsandbytes is not installed.
        """
        check_seed(self.seed)
        if type(self.rank) is not int or not 1 <= self.rank <= _MOST_RANK:
            raise UsageError(
                f"rank must be an integer from 1 to {_MOST_RANK}, got {self.rank!r:.80}"
            )
        targets: Any = self.targets
        named = isinstance(targets, tuple) and targets
        if not named or not all(isinstance(one, str) and one for one in targets):
            raise UsageError(
                "targets must be names of modules, such as ('to_q', 'to_v'), got"
                f" {targets!r:.80}"
            )
        if Ramp.of(self.lr).least < 0:
            raise UsageError(f"lr must be >= 0 at all times, got {self.lr!r}")
        betas: Any = self.betas
        pair = isinstance(betas, tuple | list) and len(betas) == 2
        if not pair or not all(_is_number(one) and 0 <= one < 1 for one in betas):
            raise UsageError(f"betas must be two numbers in [0, 1), got {betas!r:.80}")
        if self.eight_bit and find_spec("bitsandbytes") is None:
            raise UsageError(
                "eight_bit=True needs bitsandbytes, which is not installed: pip install"
                ' "fiberaug[eightbit]", or leave it out (of adapters Adam needs little)'
            )
        self._check_numbers()

    def _check_numbers(self) -> None:
        if not _is_number(self.dropped) or not 0 <= self.dropped <= 1:
            raise UsageError(f"dropped must be in [0, 1], got {self.dropped!r:.80}")
        for name, least in (("noise_offset", 0.0), ("prior_weight", 0.0)):
            value: Any = getattr(self, name)
            if not _is_number(value) or not value >= least:
                raise UsageError(f"{name} must be >= 0, got {value!r:.80}")
        for name in ("alpha", "min_snr", "longest", "half_life"):
            value = getattr(self, name)
            if value is None and name in {"alpha", "min_snr"}:
                continue
            if not _is_number(value) or not value > 0:
                raise UsageError(f"{name} must be > 0, got {value!r:.80}")

    @property
    def scale(self) -> float:
        """What the product of an adapter's two matrices is multiplied by."""
        return 1.0 if self.alpha is None else self.alpha / self.rank

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
        found["betas"], found["targets"] = list(self.betas), list(self.targets)
        if isinstance(self.lr, Ramp):
            found["lr"] = str(self.lr)
        return found


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
