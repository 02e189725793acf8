"""The generator: a learned basis, modulated by a latent, grown by residual levels."""

import torch
from torch import nn
from torch.nn import functional

from fiberaug.models.blocks import SLOPE, Residual, Up, fan_in
from fiberaug.models.conditions import (
    PLACE_FEATURES,
    check_conditions,
    class_table,
    place_features,
)
from fiberaug.models.config import Block, GeneratorConfig
from fiberaug.models.limits import check_total
from fiberaug.models.sizes import SizePlan, plan_size

__all__ = ["Generator"]

_PLACE_WIDTH = 32


class Generator(nn.Module):
    """Makes images of latents; the size may be any that doublings reach.

    The smallest level is a learned image of many channels, times a linear function of
    latent, class and place, a number a channel. Each next level doubles the sides and
    adds residual blocks; a 1x1 convolution gives the channels of the image. No layer
    normalises, so rows of a batch do not see each other (after Huang et al., "The GAN
    is dead; long live the GAN!", NeurIPS 2024, section 3).

    Args:
        size: (height, width) of the images, px; text such as ``"96x128"``; or one
            number for both.
        classes: Classes that images are conditioned on; 0: none.
        channels: Of the images, 1 to 4.
        width: Channels of the level of the whole size; doubled with each halving.
        z_dim: Numbers of a latent.
        places: Make windows of larger photos, which are told where they lie.
        blocks: Residual blocks of each level.
        block: ``dense`` or ``grouped``, see :data:`fiberaug.models.config.Block`.
        most_width: Most channels of a level. None: 4 times ``width``.

    Raises:
        UsageError: An argument is out of its range (the nearest sizes are named), or
            there would be more than 500 million parameters.

    >>> generator = Generator((24, 32), classes=3, width=8, z_dim=16)
    >>> generator(torch.randn(2, 16), torch.tensor([0, 2])).shape
    torch.Size([2, 3, 24, 32])
    """

    def __init__(
        self,
        size: int | tuple[int, int] | str,
        classes: int = 0,
        channels: int = 3,
        width: int = 64,
        z_dim: int = 128,
        *,
        places: bool = False,
        blocks: int = 1,
        block: Block = "dense",
        most_width: int | None = None,
    ) -> None:
        super().__init__()
        self.config = GeneratorConfig(
            size=plan_size(size).size, classes=classes, channels=channels, width=width,
            z_dim=z_dim, places=places, blocks=blocks, block=block,
            most_width=most_width,
        )  # fmt: skip
        config = self.config
        if torch.get_default_device().type != "meta":
            with torch.device("meta"):
                Generator.of(config)
        widths = config.widths
        given = z_dim + (z_dim if classes else 0) + (_PLACE_WIDTH if places else 0)
        self.embedding = class_table(classes, z_dim) if classes else None
        self.place = (
            fan_in(nn.Linear(PLACE_FEATURES, _PLACE_WIDTH), 1.0) if places else None
        )
        self.modulation = fan_in(nn.Linear(given, widths[0]), 1.0)
        self.basis = nn.Parameter(torch.randn(widths[0], *config.plan.base))
        self.levels = nn.ModuleList()
        before = widths[0]
        for i, wide in enumerate(widths):
            level: list[nn.Module] = [Up(before, wide)] if i else []
            level += [Residual(wide, block) for _ in range(blocks)]
            self.levels.append(nn.Sequential(*level))
            before = wide
        self.out = fan_in(nn.Conv2d(before, channels, 1), 1.0)
        if self.basis.is_meta:
            check_total(self, "generator")

    @classmethod
    def of(cls, config: GeneratorConfig) -> "Generator":
        """Return the generator of a config, with weights drawn anew."""
        told = config.to_dict()
        return cls(**told | {"size": config.size})

    @property
    def plan(self) -> SizePlan:
        """How the size is reached."""
        return self.config.plan

    @property
    def z_dim(self) -> int:
        """Numbers of a latent."""
        return self.config.z_dim

    def forward(
        self,
        z: torch.Tensor,
        labels: torch.Tensor | None = None,
        places: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return images, float [B, channels, H, W]; those of photos are in [-1, 1].

        Args:
            z: Latents, float [B, z_dim], of a standard normal distribution.
            labels: int64 [B], 0 to below ``classes``; not looked at without classes.
            places: float [B, 3], see :class:`fiberaug.training.contracts.RealBatch`;
                not looked at without ``places``.

        Raises:
            UsageError: Labels or places are missing.
        """
        config = self.config
        check_conditions(config.classes, labels, places, wants_places=config.places)
        given = [z]
        if self.embedding is not None:
            given.append(self.embedding(labels))
        if self.place is not None and places is not None:
            told = self.place(place_features(places))
            given.append(functional.leaky_relu(told, SLOPE).to(z.dtype))
        modulation = self.modulation(torch.cat(given, 1))
        x = modulation[:, :, None, None] * self.basis.to(modulation.dtype)
        for level in self.levels:
            x = level(x)
        images: torch.Tensor = self.out(x)
        return images.to(self.basis.dtype)
