"""Augmentation inside the training of a GAN: gradients go through it to the generator.

Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS
2020: the critic sees real and generated images augmented by the same operations, in
the step of the critic and in that of the generator. Section 4 gives the policies and
ranges; images are in [-1, 1], and 0 is what fills.
"""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from fiberaug.errors import UsageError

__all__ = ["DifferentiableAugment"]

Params = dict[str, torch.Tensor]
Size = tuple[int, int]


class DifferentiableAugment(nn.Module):
    """Colour, translation and cut-out that gradients go through, any number of times.

    Args:
        policy: Names of what is done, in order, with commas between: ``color``
            (brightness, saturation, contrast), ``translation``, ``cutout``.
        shift: Translation goes up to this share of a side, 0 to below 1.
        cut: Share of each side that a cut-out has, 0 to 1.

    Raises:
        UsageError: A name is not known, or a share is out of its range.

    >>> augment = DifferentiableAugment("translation,cutout")
    >>> params = augment.draw((4, 3, 32, 48), torch.Generator().manual_seed(0))
    >>> augment(torch.ones(4, 3, 32, 48), params).shape
    torch.Size([4, 3, 32, 48])
    """

    def __init__(
        self,
        policy: str = "color,translation,cutout",
        *,
        shift: float = 1 / 8,
        cut: float = 1 / 2,
    ) -> None:
        super().__init__()
        self.policy = [name.strip() for name in policy.split(",") if name.strip()]
        for name in self.policy:
            if name not in _APPLY:
                raise UsageError(
                    f'policy has "{name}", which is none of {", ".join(_APPLY)}'
                )
        if not 0 <= shift < 1 or not 0 <= cut <= 1:
            raise UsageError(
                f"shift is {shift} and cut is {cut}; they are shares of a side, from 0"
                " to below 1 and from 0 to 1"
            )
        self.shift, self.cut = shift, cut

    def draw(
        self, shape: tuple[int, int, int, int], generator: torch.Generator
    ) -> Params:
        """Return parameters, each row's by itself; all of them, whatever the policy.

        Args:
            shape: (rows, channels, height, width) of the images.
            generator: What numbers are drawn from; they lie where it is.

        Returns:
            float32 [rows]: ``brightness`` -0.5 to 0.5, ``saturation`` 0 to 2,
            ``contrast`` 0.5 to 1.5; int64 [rows, 2] (down, right): ``shift`` px and
            ``cut``, the first line and column of a cut-out, which can begin outside.
        """
        rows, _, height, width = shape
        spread = torch.rand(rows, 7, generator=generator, device=generator.device)
        sides = torch.tensor([height, width], device=spread.device)
        most = (sides * self.shift + 0.5).floor()
        shift = (spread[:, 3:5] * (2 * most + 1)).floor() - most
        middle = (spread[:, 5:7] * sides).floor()
        cut = self._cut_px((height, width))
        half = torch.tensor(cut, device=spread.device) // 2
        return {
            "brightness": spread[:, 0] - 0.5,
            "saturation": spread[:, 1] * 2,
            "contrast": spread[:, 2] + 0.5,
            "shift": shift.clamp(-most, most).long(),
            "cut": middle.long() - half,
        }

    def _cut_px(self, size: Size) -> Size:
        return int(size[0] * self.cut + 0.5), int(size[1] * self.cut + 0.5)

    def forward(
        self, images: torch.Tensor, params: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """Return augmented images.

        Args:
            images: float [rows, channels, H, W] in [-1, 1], on any device.
            params: What :meth:`draw` gave for such a batch: the same parameters do
                the same to real and to generated images.

        Raises:
            UsageError: The images are no such batch, or of another number of rows.
        """
        if images.dim() != 4 or not images.is_floating_point():
            raise UsageError(
                f"images are {list(images.shape)} {images.dtype}; give floats"
                " [rows, channels, height, width]"
            )
        if len(params["shift"]) != len(images):
            raise UsageError(
                f"parameters are of {len(params['shift'])} rows, images are"
                f" {len(images)}; draw for the shape of the images"
            )
        here = {n: v.to(images.device, non_blocking=True) for n, v in params.items()}
        cut = self._cut_px((images.shape[2], images.shape[3]))
        for name in self.policy:
            images = _APPLY[name](images, here, cut)
        return images


def _color(x: torch.Tensor, params: Params, cut: Size) -> torch.Tensor:
    del cut
    brightness, saturation, contrast = (
        params[name].to(x.dtype)[:, None, None, None]
        for name in ("brightness", "saturation", "contrast")
    )
    x = x + brightness
    gray = x.mean(1, keepdim=True)
    x = gray + (x - gray) * saturation
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * contrast


def _translation(x: torch.Tensor, params: Params, cut: Size) -> torch.Tensor:
    del cut
    for dim, shift in zip((2, 3), params["shift"].T, strict=True):
        side = x.shape[dim]
        shape = [-1, 1, 1, 1]
        shape[dim] = side
        places = torch.arange(side, device=x.device) - shift[:, None]
        inside = ((places >= 0) & (places < side)).view(shape)
        # no pixel is read twice where anything remains: adding gradients has no order
        index = places.clamp(0, side - 1).view(shape).expand_as(x)
        x = x.gather(dim, index) * inside
    return x


def _cutout(x: torch.Tensor, params: Params, cut: Size) -> torch.Tensor:
    top, left = params["cut"][:, :, None, None].unbind(1)
    lines = torch.arange(x.shape[2], device=x.device)[:, None]
    columns = torch.arange(x.shape[3], device=x.device)
    cut_out = (lines >= top) & (lines < top + cut[0])
    cut_out = cut_out & (columns >= left) & (columns < left + cut[1])
    return torch.mul(x, ~cut_out[:, None])


_APPLY: Mapping[str, Callable[[torch.Tensor, Params, Size], torch.Tensor]] = {
    "color": _color,
    "translation": _translation,
    "cutout": _cutout,
}
