"""How images are made of noise: which sampler, how many steps, how much guidance."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.synthetic.samplers import check_name, check_steps

__all__ = ["Sampling", "check_strength", "given_context", "given_images"]

_MOST_GUIDANCE = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """What a sampler is told."""

    sampler: str = "dpmsolver++"
    """``ddpm``, ``ddim``, ``dpmsolver++`` or ``unipc``."""

    steps: int = 20
    """Steps from noise to image, 1 to 1,000."""

    guidance: float = 1.0
    """0 to 100; 1: as trained; more: more typical of its class, less varied."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: One is out of its range.
        """
        check_name(self.sampler)
        check_steps(self.steps)
        number = type(self.guidance) in {int, float} and math.isfinite(self.guidance)
        if not number or not 0 <= self.guidance <= _MOST_GUIDANCE:
            raise UsageError(
                f"guidance must be a number from 0 to {_MOST_GUIDANCE}, such as 1 (as"
                f" trained) or 2, got {self.guidance!r:.80}"
            )
        object.__setattr__(self, "guidance", float(self.guidance))

    def but(
        self,
        *,
        sampler: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> Self:
        """Return it with what is given in place of its own.

        Raises:
            UsageError: A value is out of its range.
        """
        given = {"sampler": sampler, "steps": steps, "guidance": guidance}
        more: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
        return replace(self, **more)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, fit for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: object) -> Self:
        """Return what :meth:`to_dict` told.

        Raises:
            UsageError: A name is not known, or a value is out of its range.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(told, Mapping) or not names.issuperset(told):
            raise UsageError(
                f"sampling must be an object of {', '.join(sorted(names))}, got"
                f" {told!r:.80}"
            )
        return cls(**told)


def check_strength(strength: object) -> float:
    """Return a share of the steps, in (0, 1].

    Raises:
        UsageError: It is none.
    """
    if type(strength) not in {int, float} or not 0 < strength <= 1:  # type: ignore[operator]  # a number
        raise UsageError(
            "strength must be a number above 0 (the image as it is) up to 1 (nothing of"
            f" it), got {strength!r:.80}"
        )
    return float(strength)  # type: ignore[arg-type]  # a number


def given_images(
    images: object, rows: int, shape: tuple[int, int, int]
) -> torch.Tensor:
    """Return images that a user gives, float32 [N, C, H, W] in [-1, 1].

    Args:
        images: uint8 [N, H, W, C], or [H, W, C] for all.
        rows: N.
        shape: (channels, height, width).

    Raises:
        UsageError: They are of another shape or type.
    """
    channels, height, width = shape
    found = np.asarray(images)
    whole = (rows, height, width, channels)
    if found.dtype != np.uint8 or found.shape not in {whole, whole[1:]}:
        raise UsageError(
            f"image must be uint8 {list(whole)}, or {list(whole[1:])} for all, got"
            f" {found.dtype} {list(found.shape)}: resize it first"
        )
    levels = torch.from_numpy(np.array(np.broadcast_to(found, whole)))
    return levels.permute(0, 3, 1, 2).float() / 127.5 - 1


def given_context(
    context: object, rows: int, numbers: int | None
) -> NDArray[np.float32]:
    """Return a context that a user gives, float32 [N, numbers].

    Args:
        context: Numbers [N, numbers], or [numbers] for all.
        rows: N.
        numbers: Of one row; None: any.

    Raises:
        UsageError: It is of another shape, or not finite.
    """
    try:
        found = np.asarray(context, np.float32)
        if found.ndim == 1:
            found = np.broadcast_to(found, (rows, *found.shape))
    except (TypeError, ValueError):
        found = np.empty(0, np.float32)
    if numbers is None:
        numbers = found.shape[-1]
    if found.shape != (rows, numbers) or not np.isfinite(found).all():
        raise UsageError(
            f"context must be finite numbers [{rows}, {numbers}], or [{numbers}] for"
            f" all, got {context!r:.80}"
        )
    return np.array(found)  # of its own memory: the user may write to theirs
