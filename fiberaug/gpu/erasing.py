"""Random erasing on batches."""

import torch
from torch import Tensor

from fiberaug.erasing import ErasingPolicy
from fiberaug.gpu.operation import Params, Shape
from fiberaug.gpu.policy import NUMBERS, Policy, check_levels_fit
from fiberaug.gpu.policy_moves import upload
from fiberaug.gpu.policy_pixels import levels_of, noise
from fiberaug.policy_checks import Fill, check_erased

__all__ = ["RandomErasing"]


class RandomErasing(Policy):
    """A rectangle of each row; :class:`fiberaug.transforms.RandomErasing`."""

    def __init__(
        self,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: Fill | str = 0,
        *,
        p: float = 0.5,
    ) -> None:
        check_erased(value)
        super().__init__(ErasingPolicy(scale=scale, ratio=ratio), value=value, p=p)
        self.value = value

    def draw(self, shape: Shape) -> Params:
        """Return ``box`` int64 [B, 4] and ``noise_seed`` int64 [B].

        Raises:
            UsageError: Images have another number of channels than ``value``.
        """
        if not isinstance(self.value, str):
            check_levels_fit(self.name, "value", self.value, shape)
        gate = self.gate(shape[0])
        boxes, seeds = self.policy.draw(NUMBERS, shape[0], shape[2:])
        return {
            "batch_prob": gate,
            "box": torch.from_numpy(boxes),
            "noise_seed": torch.from_numpy(seeds),
        }

    def run(self, image: Tensor, params: Params) -> Tensor:
        """Return images with the rectangles erased."""
        rows = self.applied(params).nonzero()[:, 0]
        there = upload(rows, image)
        part = image.index_select(0, there)
        top, left, height, width = upload(params["box"][rows], image).t()[..., None]
        y = torch.arange(image.shape[-2], device=image.device)
        x = torch.arange(image.shape[-1], device=image.device)
        down, across = (y >= top) & (y < top + height), (x >= left) & (x < left + width)
        hole = down[:, None, :, None] & across[:, None, None, :]
        erased = torch.where(hole, self._erased(part, params["noise_seed"][rows]), part)
        return image.index_copy(0, there, erased.to(image.dtype))

    def _erased(self, image: Tensor, seeds: Tensor) -> Tensor | float:
        if isinstance(self.value, str):
            return noise(upload(seeds, image), image)
        return levels_of(self.value, image)
