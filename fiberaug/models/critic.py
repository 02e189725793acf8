"""The critic: residual levels down to a small base, and a projection head."""

import math

import torch
from torch import nn
from torch.nn import functional

from fiberaug.models.blocks import GAIN, SLOPE, Down, Residual, fan_in
from fiberaug.models.conditions import (
    PLACE_FEATURES,
    check_conditions,
    class_table,
    place_features,
)
from fiberaug.models.config import Block, CriticConfig
from fiberaug.models.limits import check_total
from fiberaug.models.sizes import SizePlan, plan_size

__all__ = ["Critic"]


class Critic(nn.Module):
    """Says how real images look: one number each, of no fixed scale.

    It mirrors the generator: a 1x1 convolution, residual blocks at each level, and a
    learned basis that the smallest level is multiplied with and summed up. A class
    counts by the inner product of its vector with the features of the image (Miyato
    and Koyama, "cGANs with Projection Discriminator", ICLR 2018, equation 3), and so
    does a place.

    Args:
        size: (height, width) of the images, px; text such as ``"96x128"``; or one
            number for both.
        classes: Classes that images are conditioned on; 0: none.
        channels: Of the images, 1 to 4.
        width: Channels of the level of the whole size; doubled with each halving.
        places: Whether windows of larger photos are judged, with where they lie.
        blocks: Residual blocks of each level.
        block: ``dense`` or ``grouped``, see :data:`fiberaug.models.config.Block`.
        most_width: Most channels of a level. None: 4 times ``width``.

    Raises:
        UsageError: An argument is out of its range (the nearest sizes are named), or
            there would be more than 500 million parameters.

    >>> critic = Critic((24, 32), classes=3, width=8)
    >>> critic(torch.zeros(2, 3, 24, 32), torch.tensor([0, 2])).shape
    torch.Size([2])
    """

    def __init__(
        self,
        size: int | tuple[int, int] | str,
        classes: int = 0,
        channels: int = 3,
        width: int = 64,
        *,
        places: bool = False,
        blocks: int = 1,
        block: Block = "dense",
        most_width: int | None = None,
    ) -> None:
        super().__init__()
        self.config = CriticConfig(
            size=plan_size(size).size, classes=classes, channels=channels, width=width,
            places=places, blocks=blocks, block=block, most_width=most_width,
        )  # fmt: skip
        config = self.config
        if torch.get_default_device().type != "meta":
            with torch.device("meta"):
                Critic.of(config)
        widths = config.widths
        deep = widths[0]
        self.enter = fan_in(nn.Conv2d(channels, widths[-1], 1), 1.0)
        self.levels = nn.ModuleList()
        for wide, after in zip(widths[::-1], [*widths[-2::-1], None], strict=True):
            level: list[nn.Module] = [Residual(wide, block) for _ in range(blocks)]
            level += [Down(wide, after)] if after is not None else []
            self.levels.append(nn.Sequential(*level))
        height, across = config.plan.base
        self.basis = nn.Parameter(
            torch.randn(deep, height, across) / math.sqrt(height * across)
        )
        self.dense = fan_in(nn.Linear(deep, deep), GAIN)
        self.linear = fan_in(nn.Linear(deep, 1), 1.0)
        self.embedding = class_table(classes, deep) if classes else None
        self.place = fan_in(nn.Linear(PLACE_FEATURES, deep), 1.0) if places else None
        if self.basis.is_meta:
            check_total(self, "critic")

    @classmethod
    def of(cls, config: CriticConfig) -> "Critic":
        """Return the critic of a config, with weights drawn anew."""
        told = config.to_dict()
        return cls(**told | {"size": config.size})

    @property
    def plan(self) -> SizePlan:
        """How the size is halved."""
        return self.config.plan

    def forward(
        self,
        images: torch.Tensor,
        labels: torch.Tensor | None = None,
        places: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return a logit for each image, float [B]: larger for what looks more real.

        Args:
            images: float [B, channels, H, W] in [-1, 1].
            labels: int64 [B], 0 to below ``classes``; not looked at without classes.
            places: float [B, 3], see :class:`fiberaug.training.contracts.RealBatch`;
                not looked at without ``places``.

        Raises:
            UsageError: Labels or places are missing.
        """
        config = self.config
        check_conditions(config.classes, labels, places, wants_places=config.places)
        x = self.enter(images)
        for level in self.levels:
            x = level(x)
        exact = self.basis.dtype  # under autocast too: logits are what is compared
        h = (x.to(exact) * self.basis).sum((2, 3))
        h = functional.leaky_relu(self.dense(h).to(exact), SLOPE)
        weight = self.linear.weight[0].expand(h.shape)
        if self.embedding is not None:
            weight = weight + self.embedding(labels) / math.sqrt(h.shape[1])
        if self.place is not None and places is not None:
            told = self.place(place_features(places)).to(exact)
            weight = weight + told / math.sqrt(h.shape[1])
        logits: torch.Tensor = (h * weight).sum(1) + self.linear.bias
        return logits
