"""Kornia's 2D augmentations as operations of the batch engine.

Kornia draws from torch's global generator on the CPU, as long as its modules stay
there, and applies what it is given as ``params=``: so drawing and applying are apart.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from kornia.constants import Resample, SamplePadding
from kornia.core.exceptions import BaseError
from torch import nn
from torch.nn import functional

from fiberaug.errors import UsageError
from fiberaug.gpu.layouts import layout_of
from fiberaug.gpu.operation import Operation, Params, Shape

__all__ = ["KorniaOperation"]

_MASKS = {
    "resample": Resample.NEAREST,
    "antialias": False,
    "fill": 0,
    "pad_value": 0,
    "fill_value": None,
}
"""Flags of Kornia's that are others for masks: classes do not blend."""


class KorniaOperation(Operation):
    """One Kornia augmentation.

    With ``same_on_batch=True`` the rows of a unit share their parameters, whatever
    batches they come in.

    Args:
        module: A 2D augmentation of Kornia's that :func:`layouts.layout_of` knows, in
            the memory of the host.

    Raises:
        UsageError: The class is not known, or cannot run here; the message says why.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__(type(module).__name__)
        self.module = cast("Any", module)
        known = self._known = layout_of(module)
        self.layout, self.joined = known.layout, known.joined
        self.moves = known.moves or known.erases  # of masks
        self.resizes, self.loses_points = known.resizes, known.loses_points
        if torch.device(self.module.device).type != "cpu":
            raise UsageError(
                f"{self.name} was moved to {self.module.device}, where it would draw"
                " other numbers; do not call .to() or .cuda() on it: give the loader"
                " device="
            )
        if self.resizes and (self.module.p < 1 or self.module.p_batch < 1):
            raise UsageError(
                f"{self.name} changes the size of images and is applied with"
                f" p={min(self.module.p, self.module.p_batch)}: rows of a batch would"
                " have two sizes; give p=1"
            )

    def draw(self, shape: Shape) -> Params:
        """Return the parameters of all rows.

        Raises:
            UsageError: It cannot be done to images of this shape.
        """
        with self._refusing(shape):
            params = self.module.forward_parameters(torch.Size(shape))
        if self.name == "RandomRain":
            # as many drops as a row can have, not as the unit's rainiest row has
            places = params["coordinates_factor"]
            most = int(max(self.module._param_generator.number_of_drops))  # noqa: SLF001
            params["coordinates_factor"] = functional.pad(
                places, (0, 0, 0, most - places.shape[1])
            )
        return {
            name: value.detach().clone()
            for name, value in params.items()
            if name not in self._known.unused
        }

    def size_after(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return (height, width) of what comes out of images of ``size``.

        Raises:
            UsageError: Images of this size are too small for it.
        """
        if not self.resizes:
            return size
        flags = self.module.flags
        if self.name == "PadTo":
            height, width = flags["size"]
            if flags["crop_if_exceeds"]:
                return int(height), int(width)
            return max(int(height), size[0]), max(int(width), size[1])
        if self.name == "RandomCrop":
            self._check_crop(size)
        with torch.random.fork_rng(devices=[]):
            params = self.draw((1, 3, *size))
        after = params["output_size"][0].tolist()
        return int(after[0]), int(after[1])

    def _check_crop(self, size: tuple[int, int]) -> None:
        left, right, top, bottom = self.module.compute_padding((1, 1, *size))
        height, width = self.module.flags["size"]
        if height > size[0] + top + bottom or width > size[1] + left + right:
            raise UsageError(
                f"RandomCrop is {height} px high and {width} px wide, images are"
                f" {size[0]} and {size[1]} px, and would be stretched; give"
                " pad_if_needed=True or a smaller size",
                stage="augment",
            )

    def matrix(self, params: Params, shape: Shape) -> torch.Tensor | None:
        """Return float32 [B, 3, 3]: pixels before to pixels after."""
        if not self.moves or self.loses_points:
            return None
        # of the shape, without the memory
        like = torch.empty((), dtype=torch.float32).expand(shape)
        made: torch.Tensor = self.module.generate_transformation_matrix(
            like, params, self.module.flags
        )
        return made

    def run(self, image: torch.Tensor, params: Params) -> torch.Tensor:
        """Return images.

        Raises:
            UsageError: It cannot be done to images of this shape.
        """
        if self._known.pairs and len(image) == 1 and image.device.type == "cpu":
            return self.run(image.expand(2, -1, -1, -1), self.take(params, [0, 0]))[:1]
        with self._refusing(image.shape):
            made: torch.Tensor = self.module(image, params=dict(params))
        return made

    @contextlib.contextmanager
    def _refusing(self, shape: Sequence[int]) -> Iterator[None]:
        """Say which operation it is that Kornia's own errors speak of."""
        try:
            yield
        except (BaseError, AssertionError, ValueError) as error:
            raise UsageError(
                f"{self.name} refuses a batch of {list(shape)}: {error}"
            ) from error

    def run_mask(self, mask: torch.Tensor, params: Params) -> torch.Tensor:
        """Return masks, to the nearest pixel; 0 where there is nothing, or erased."""
        if self._known.followed:
            return self._followed(mask, params)
        if not self.moves:
            return mask
        flags = dict(self.module.flags)
        flags.update({name: _MASKS[name] for name in _MASKS.keys() & flags.keys()})
        if flags.get("padding_mode") is SamplePadding.FILL:
            flags["padding_mode"] = SamplePadding.ZEROS
        made: torch.Tensor = self.module.transform_masks(
            mask, dict(params), flags, self._matrix_of(mask, params)
        )
        return made

    def _matrix_of(self, mask: torch.Tensor, params: Params) -> torch.Tensor | None:
        made = self.matrix(params, tuple(mask.shape))  # type: ignore[arg-type]
        return None if made is None else made.to(mask.device, non_blocking=True)

    def _followed(self, mask: torch.Tensor, params: Params) -> torch.Tensor:
        """Return masks at the places that the pixels of an image came from.

        Where each pixel was is an image too: it is moved, and read to the nearest.
        """
        rows, _, height, width = mask.shape
        y = torch.linspace(0, 1, height, device=mask.device)
        x = torch.linspace(0, 1, width, device=mask.device)
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        places = torch.stack([grid_y, grid_x, torch.ones_like(grid_y)])
        moved = self.run(places.expand(rows, -1, -1, -1).contiguous(), params)
        weight = moved[:, 2].clamp(min=0.5)  # of the image; the rest is nothing
        top = (moved[:, 0] / weight * (height - 1)).round().long()
        left = (moved[:, 1] / weight * (width - 1)).round().long()
        index = top.clamp(0, height - 1) * width + left.clamp(0, width - 1)
        index = index.flatten(1).unsqueeze(1).expand(-1, mask.shape[1], -1)
        read = mask.flatten(2).gather(2, index).view(mask.shape)
        return torch.where(moved[:, 2:] > 0.5, read, torch.zeros_like(read))
