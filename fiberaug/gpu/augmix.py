"""AugMix on batches."""

from typing import Any

import torch
from torch import Tensor

from fiberaug.augmixing import AugMixPolicy
from fiberaug.gpu.operation import Params, Shape
from fiberaug.gpu.policy import NUMBERS, Policy, check_channels, named
from fiberaug.gpu.policy_moves import upload
from fiberaug.gpu.policy_pixels import change
from fiberaug.magnitudes import NOTHING
from fiberaug.policy_checks import Fill, check_pixels

__all__ = ["AugMix"]


class AugMix(Policy):
    """A mean of copies changed by chains; :class:`fiberaug.transforms.AugMix`."""

    loses_masks = (
        "it blends moved copies of an image; RandAugment and TrivialAugmentWide move"
        " masks along"
    )

    moves = True
    loses_points = "it blends an image with moved copies of it"

    def __init__(
        self,
        severity: int = 3,
        mixture_width: int = 3,
        chain_depth: int = -1,
        alpha: float = 1.0,
        *,
        all_ops: bool = True,
        interpolation: str = "bilinear",
        fill: Fill = 0,
        p: float = 1.0,
    ) -> None:
        check_pixels(interpolation, fill)
        policy = AugMixPolicy(
            severity=severity,
            mixture_width=mixture_width,
            chain_depth=chain_depth,
            alpha=alpha,
            all_ops=all_ops,
        )
        super().__init__(policy, interpolation=interpolation, fill=fill, p=p)
        self.interpolation, self.fill = interpolation, fill

    def draw(self, shape: Shape) -> Params:
        """Return what is done to each row.

        ``operations`` int64 and ``magnitudes`` float64 are [B, width, depth];
        ``weights`` float64 [B, 1 + width] are those of the image itself and of each
        chain.

        Raises:
            UsageError: Images have neither 1 nor 3 channels, or ``fill`` has others.
        """
        check_channels(self.name, self.fill, shape)
        gate = self.gate(shape[0])
        chains, weights = self.policy.draw(NUMBERS, shape[0], shape[2:])
        done = gate > 0.5
        alone = torch.eye(1, weights.shape[1], dtype=torch.float64)
        operations = torch.from_numpy(chains.operations)
        return {
            "batch_prob": gate,
            "operations": torch.where(done[:, None, None], operations, NOTHING),
            "magnitudes": torch.from_numpy(chains.magnitudes),
            "weights": torch.where(done[:, None], torch.from_numpy(weights), alone),
        }

    def run(self, image: Tensor, params: Params) -> Tensor:
        """Return the means."""
        weights = upload(params["weights"].to(image.dtype), image)
        mean = image * weights[:, 0, None, None, None]
        for chain in range(params["operations"].shape[1]):
            copy = change(
                image,
                params["operations"][:, chain],
                params["magnitudes"][:, chain],
                interpolation=self.interpolation,
                fill=self.fill,
            )
            mean = mean + copy * weights[:, chain + 1, None, None, None]
        return mean

    def row(self, params: Params, row: int) -> dict[str, Any]:
        """Return ``operations`` and ``magnitudes`` of each chain, and ``weights``."""
        parts = params["operations"][row], params["magnitudes"][row]
        chains = [named(*chain) for chain in zip(*parts, strict=True)]
        return {
            "operations": [chain["operations"] for chain in chains],
            "magnitudes": [chain["magnitudes"] for chain in chains],
            "weights": params["weights"][row].tolist(),
        }
