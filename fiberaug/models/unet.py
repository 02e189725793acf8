"""A UNet that takes noise out of images: diffusers' own, and conditions."""

from typing import Any

import torch
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.models.extras import import_diffusers
from fiberaug.models.limits import check_total
from fiberaug.models.unet_config import UNetConfig, unet_size

__all__ = ["UNet"]

_SCALE = 8  # log2 of photo px per window px that becomes 1
_FAR_PX = 256  # from the middle of a window, in px of the photo, that becomes 1


class UNet(nn.Module):
    """Predicts, from noisy images and times, what takes the noise out.

    ``inner`` is a plain ``UNet2DModel`` of diffusers. Classes alone are its own
    (``num_class_embeds``); with a context, classes and context are told by a small
    conditioner of ours. One class more than there are, the last, stands for "no class":
    it is what guidance compares with (Ho and Salimans, "Classifier-free diffusion
    guidance", 2022). The last convolution begins at zero.

    Args:
        size: (height, width) of the images, px; text such as ``"96x128"``; or one
            number for both.
        classes: Classes that images are conditioned on; 0: none.
        context_dim: Numbers that images are conditioned on; 0: none.
        channels: Of the images, 1 to 4.
        width: Channels at the whole size, a multiple of 8.
        places: Make windows of larger photos, which are told where they lie.

    Raises:
        UsageError: An argument is out of its range (the nearest sizes are named), there
            would be more than 500 million parameters, or diffusers is not installed.

    >>> unet = UNet((8, 12), classes=3, width=8)
    >>> unet(torch.randn(2, 3, 8, 12), torch.tensor([999, 0])).shape
    torch.Size([2, 3, 8, 12])
    """

    def __init__(
        self,
        size: int | tuple[int, int] | str,
        classes: int = 0,
        context_dim: int = 0,
        *,
        channels: int = 3,
        width: int = 64,
        places: bool = False,
    ) -> None:
        super().__init__()
        self.config = UNetConfig(
            size=unet_size(size), classes=classes, context_dim=context_dim,
            channels=channels, width=width, places=places,
        )  # fmt: skip
        config = self.config
        if torch.get_default_device().type != "meta":
            with torch.device("meta"):
                UNet.of(config)
        self.inner: Any = import_diffusers().UNet2DModel(**config.inner)
        nn.init.zeros_(self.inner.conv_out.weight)
        nn.init.zeros_(self.inner.conv_out.bias)
        self.conditioner = _Conditioner(config) if context_dim else None
        if self.inner.conv_out.weight.is_meta:
            check_total(self, "UNet")

    @classmethod
    def of(cls, config: UNetConfig) -> "UNet":
        """Return the UNet of a config, with weights drawn anew."""
        told = config.to_dict()
        return cls(**told | {"size": config.size})

    def forward(
        self,
        images: torch.Tensor,
        times: torch.Tensor,
        labels: torch.Tensor | None = None,
        context: torch.Tensor | None = None,
        places: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return what is predicted, float [B, channels, H, W].

        Args:
            images: Noisy ones, float [B, channels, H, W].
            times: int64 [B], 0 (hardly any noise) to 999 (nothing else).
            labels: int64 [B], 0 to below ``classes``; ``classes`` stands for no class,
                as None does for all. Not looked at without classes.
            context: float32 [B, context_dim]; zeros stand for none, as None does for
                all. Not looked at without ``context_dim``.
            places: float32 [B, 3], see :class:`fiberaug.training.contracts.RealBatch`;
                not looked at without ``places``.

        Raises:
            UsageError: Images are of another shape, or places are missing.
        """
        config = self.config
        shape = (config.channels, *config.size)
        if images.ndim != 4 or tuple(images.shape[1:]) != shape:
            raise UsageError(
                f"images must be [B, {', '.join(map(str, shape))}], got"
                f" {list(images.shape)}"
            )
        rows = len(images)
        if config.classes and labels is None:
            labels = times.new_full((rows,), config.classes)
        given = images
        if config.places:
            given = torch.cat([images, _planes(places, images)], 1)
        told = labels if config.classes else None
        if self.conditioner is not None:
            if context is None:
                context = images.new_zeros(rows, config.context_dim)
            told = self.conditioner(told, context)
        made: torch.Tensor = self.inner(given, times, told, return_dict=False)[0]
        return made.to(images.dtype)


class _Conditioner(nn.Module):
    """Tells class and context in numbers of the width of the time's; none is zero."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        wide = config.time_width
        self.embedding = (
            nn.Embedding(config.classes + 1, wide) if config.classes else None
        )
        # no bias: a context of zeros stays zero
        self.context = nn.Sequential(
            nn.Linear(config.context_dim, wide, bias=False), nn.SiLU(),
            nn.Linear(wide, wide, bias=False),
        )  # fmt: skip

    def forward(
        self, labels: torch.Tensor | None, context: torch.Tensor
    ) -> torch.Tensor:
        """Return float [B, time_width]."""
        told: torch.Tensor = self.context(context)
        if self.embedding is not None:
            told = told + self.embedding(labels)
        return told


def _planes(places: torch.Tensor | None, images: torch.Tensor) -> torch.Tensor:
    """Return places as channels, [B, 5, H, W]; as Patch Diffusion does (Wang 2023).

    Three are constant: how far down and right the middle of the window is, and its
    scale. Two are how far down and right of that middle each pixel is, in px of the
    photo: of photos of one size, a sum of two channels is where the pixel lies in it.

    Raises:
        UsageError: Places are missing.
    """
    if places is None:
        raise UsageError(
            "places are missing: the network makes windows; give float32 [B, 3]"
        )
    height, width = images.shape[2:]
    told = places * places.new_tensor([1.0, 1.0, 1 / _SCALE])
    planes = told[:, :, None, None].expand(-1, -1, height, width)
    zoom = torch.exp2(places[:, 2])[:, None, None, None] / _FAR_PX
    down, right = (
        torch.arange(side, device=places.device, dtype=places.dtype) - (side - 1) / 2
        for side in (height, width)
    )
    pixels = torch.stack(torch.meshgrid(down, right, indexing="ij"))
    return torch.cat([planes, zoom * pixels], 1).to(images.dtype)
