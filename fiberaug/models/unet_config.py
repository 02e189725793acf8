"""What a denoising UNet is built from: numbers with bounds, fit for JSON."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from fiberaug.errors import UsageError
from fiberaug.models.config import arguments_of
from fiberaug.models.sizes import sides_of

__all__ = ["MOST_TOKENS", "PLACE_CHANNELS", "UNetConfig", "unet_size"]

SHORTEST, LONGEST = 8, 1024
"""Sides that images may have, px."""

MOST_TOKENS = 4096
"""Of the smallest level: attention compares each of its pixels with each other."""

PLACE_CHANNELS = 5
"""Channels that tell where a window, and each pixel of it, lies."""

_GROWTH = (1, 2, 2, 4, 4)  # channels of each level, in widths
_LEAST_SIDE = 7  # of a level below the second
_FLAT = 3  # levels up to which one layer a level will do
_MOST_GROUPS, _GROUP, _HEAD = 32, 4, 64  # channels a group at least; a head at most
_NAMED = 3  # nearest sizes that an error names
_BOUNDS = {
    "classes": (0, 100_000),
    "context_dim": (0, 65_536),
    "channels": (1, 4),
    "width": (8, 1024),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class UNetConfig:
    """What a :class:`fiberaug.models.UNet` is built from."""

    size: tuple[int, int]
    """(height, width) of the images, px, each even and 8 to 1,024; the smallest level
    has at most 4,096 px."""

    classes: int = 0
    """Classes that images are conditioned on, 0 to 100,000; 0: none."""

    context_dim: int = 0
    """Numbers that images are conditioned on, 0 to 65,536; 0: none."""

    channels: int = 3
    """Channels of the images, 1 to 4."""

    width: int = 64
    """Channels at the whole size, a multiple of 8, 8 to 1,024."""

    places: bool = False
    """Whether windows of larger photos are made, which are told where they lie."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            UsageError: One is out of its range.
        """
        object.__setattr__(self, "size", unet_size(self.size))
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise UsageError(
                    f"{name} must be an integer from {least} to {most}, got {value!r}"
                )
        if self.width % 8:
            raise UsageError(f"width must be a multiple of 8, got {self.width}")
        if type(self.places) is not bool:
            raise UsageError(f"places must be True or False, got {self.places!r}")

    @property
    def levels(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of each level, px, from the whole size down."""
        height, width = self.size
        return tuple((height >> i, width >> i) for i in range(_levels(height, width)))

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, from the whole size down."""
        return tuple(self.width * times for times in _GROWTH[: len(self.levels)])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        return self.channels, *self.size

    @property
    def time_width(self) -> int:
        """Numbers that time and conditions are told in."""
        return 4 * self.width

    @property
    def inner(self) -> dict[str, Any]:
        """Arguments of diffusers' ``UNet2DModel``."""
        levels = len(self.levels)
        plain = levels - 1
        told: dict[str, Any] = {
            "sample_size": self.size,
            "in_channels": self.channels + PLACE_CHANNELS * self.places,
            "out_channels": self.channels,
            "block_out_channels": self.widths,
            "layers_per_block": 1 if levels <= _FLAT else 2,
            "down_block_types": ("DownBlock2D",) * plain + ("AttnDownBlock2D",),
            "up_block_types": ("AttnUpBlock2D",) + ("UpBlock2D",) * plain,
            "attention_head_dim": math.gcd(self.widths[-1], _HEAD),
            "norm_num_groups": _groups(self.width),
            "time_embedding_type": "positional",
        }
        if self.context_dim:
            told["class_embed_type"] = "identity"
        elif self.classes:
            told["num_class_embeds"] = self.classes + 1
        return told

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


def unet_size(size: int | tuple[int, int] | str) -> tuple[int, int]:
    """Return (height, width) of images that a UNet can make.

    Args:
        size: (height, width) in px; text such as ``"96x128"``; or one number for both.

    Raises:
        UsageError: It is no such size, a side is odd, or halving stops too early: the
            nearest sizes that are possible are named.

    >>> unet_size("96x128"), UNetConfig(size=(28, 28)).levels
    ((96, 128), ((28, 28), (14, 14), (7, 7)))
    """
    height, width = sides_of(size, SHORTEST, LONGEST)
    if _fits(height, width):
        return height, width
    base = tuple(side >> (_levels(height, width) - 1) for side in (height, width))
    why = "a side is odd"
    if not (height % 2 or width % 2):
        why = (
            f"halving stops at {base[0]}x{base[1]}, and attention there takes at most"
            f" {MOST_TOKENS} px"
        )
    near = ", ".join(f"{h}x{w}" for h, w in _nearest(height, width))
    raise UsageError(
        f"size {height}x{width} cannot be halved as a UNet needs it ({why}); nearest"
        f" sizes that can: {near}"
    )


def _levels(height: int, width: int) -> int:
    """Return how many levels there are; the second may be small, the next not."""
    count = 1
    while (
        count < len(_GROWTH)
        and not (height >> (count - 1)) % 2
        and not (width >> (count - 1)) % 2
        and (count == 1 or min(height, width) >> count >= _LEAST_SIDE)
    ):
        count += 1
    return count


def _fits(height: int, width: int) -> bool:
    halvings = _levels(height, width) - 1
    return halvings > 0 and (height >> halvings) * (width >> halvings) <= MOST_TOKENS


def _nearest(height: int, width: int) -> list[tuple[int, int]]:
    """Return sizes that are possible: sides and aspect change least, as logarithms."""
    found: dict[tuple[int, int], float] = {}
    heights, widths = (_around(side) for side in (height, width))
    for high in heights:
        for wide in widths:
            if _fits(high, wide):
                up, across = math.log(high / height), math.log(wide / width)
                found[high, wide] = up**2 + across**2 + (up - across) ** 2
    return sorted(found, key=lambda one: (found[one], one))[:_NAMED]


def _around(side: int) -> list[int]:
    """Return even sides about one, near and, where that is too large a level, far."""
    steps = (2, 4, 8, 16)
    near = {side // step * step + more for step in steps for more in (0, step)}
    return sorted(one for one in near if SHORTEST <= one <= LONGEST)


def _groups(width: int) -> int:
    """Return groups of a normalisation: 4 channels each or more, at most 32 groups."""
    return math.gcd(width // _GROUP, width, _MOST_GROUPS)
