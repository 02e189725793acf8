"""What a generator and a critic are built from: numbers with bounds, fit for JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from fiberaug.errors import UsageError
from fiberaug.models.sizes import SizePlan, plan_size

__all__ = ["Block", "CriticConfig", "GeneratorConfig", "arguments_of"]

Block = Literal["dense", "grouped"]
"""``dense``: two 3x3 convolutions, fastest on a CPU. ``grouped``: 1x1, 3x3 in groups of
16 channels, 1x1, with fewer parameters."""

_BLOCKS = ("dense", "grouped")
_BOUNDS = {
    "classes": (0, 100_000),
    "channels": (1, 4),
    "width": (1, 4096),
    "z_dim": (1, 65_536),
    "blocks": (1, 16),
    "most_width": (1, 16_384),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Config:
    """What both networks have."""

    size: tuple[int, int]
    """(height, width) of the images, px; a size that doublings of a base give."""

    classes: int = 0
    """Classes that images are conditioned on, 0 to 100,000; 0: none."""

    channels: int = 3
    """Channels of the images, 1 to 4."""

    width: int = 64
    """Channels at the whole size, 1 to 4,096; doubled with each halving. Multiples of
    16 are fast."""

    places: bool = False
    """Whether windows of larger photos are made, which are told where they lie."""

    blocks: int = 1
    """Residual blocks of each level, 1 to 16."""

    block: Block = "dense"
    """Kind of the residual blocks."""

    most_width: int | None = None
    """Most channels of a level, ``width`` to 16,384; None: 4 times ``width``."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            UsageError: One is out of its range.
        """
        plan = plan_size(self.size)
        object.__setattr__(self, "size", plan.size)
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name, None)
            if value is None and (name == "most_width" or not hasattr(self, name)):
                continue
            if type(value) is not int or not least <= value <= most:
                raise UsageError(
                    f"{name} must be an integer from {least} to {most}, got {value!r}"
                )
        if self.most_width is not None and self.most_width < self.width:
            raise UsageError(
                f"most_width is {self.most_width} and must be at least width,"
                f" {self.width}"
            )
        if type(self.places) is not bool:
            raise UsageError(f"places must be True or False, got {self.places!r}")
        if self.block not in _BLOCKS:
            raise UsageError(
                f"block must be one of {', '.join(_BLOCKS)}, got {self.block!r:.60}"
            )

    @property
    def plan(self) -> SizePlan:
        """How the size is reached."""
        return plan_size(self.size)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, from the base to the whole size."""
        most = self.most_width or 4 * self.width
        halvings = range(self.plan.doublings, -1, -1)
        return tuple(min(most, self.width << times) for times in halvings)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, fit for JSON."""
        return asdict(self) | {"size": list(self.size)}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """Return what :meth:`to_dict` told; what is left out has its default.

        Raises:
            UsageError: A name is not known, there is no size, or a value is out of its
                range.
        """
        return cls(**arguments_of(cls, told))


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratorConfig(_Config):
    """What a :class:`fiberaug.models.Generator` is built from."""

    z_dim: int = 128
    """Numbers of a latent, 1 to 65,536."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CriticConfig(_Config):
    """What a :class:`fiberaug.models.Critic` is built from."""


def arguments_of(config: type, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a config with a ``size``, of what its ``to_dict`` told.

    Args:
        config: A dataclass.
        told: It may come from a stranger; values are checked by the dataclass.

    Raises:
        UsageError: It is no object, or has a name that is not known.
    """
    if not isinstance(told, Mapping):
        raise UsageError(f"a {config.__name__} is an object, got {told!r:.80}")
    names = {field.name for field in fields(config)}
    unknown = sorted({str(name) for name in told} - names)
    if unknown:
        raise UsageError(
            f"a {config.__name__} has no {', '.join(unknown):.200}; there are"
            f" {', '.join(sorted(names))}"
        )
    size = told.get("size")
    return {**told, "size": tuple(size) if isinstance(size, list) else size}
