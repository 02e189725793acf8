"""AugMix as an Albumentations transform: drawn for each image, recorded."""

from typing import Annotated, Any

import albumentations as A
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fiberaug.augment.policy_arguments import (
    Interpolation,
    Levels,
    Share,
    TransformNumbers,
    as_levels,
    chain,
    spec_of,
)
from fiberaug.augment.policy_pixels import change
from fiberaug.augmixing import AugMixPolicy
from fiberaug.errors import UsageError
from fiberaug.policy_checks import check_pixels

__all__ = ["AugMix"]

_REFUSED = ("mask", "masks", "bboxes", "keypoints")


class AugMix(A.ImageOnlyTransform):  # type: ignore[misc]  # Albumentations has no types
    """A mean of the image and of copies changed by chains (arXiv 1912.02781).

    The record holds ``operations`` and ``magnitudes`` of each chain, and ``weights``:
    of the image itself and of each chain.

    Args:
        severity: Of 10 bins of strength, the first ones that are drawn from; 1 to 10.
        mixture_width: Copies, 1 to 8.
        chain_depth: Operations a copy, 1 to 8; -1: 1 to 3, drawn for each copy.
        alpha: Of the Beta and Dirichlet distributions of weights, above 0 to 100.
        all_ops: Also brightness, colour, contrast and sharpness, which ImageNet-C
            tests.
        interpolation: ``nearest`` or ``bilinear``, where pixels move.
        fill: Level, 0 to 255, of what comes from outside of the image; one, or one for
            each channel.
        p: Probability that anything is done.

    Images are uint8 [H, W, C] with 1 or 3 channels. A mean of moved copies leaves no
    place for masks, boxes and points.

    Raises:
        UsageError: An argument is out of its bounds; or, when it runs, the sample has
            masks, boxes or points.
    """

    def __init__(
        self,
        severity: Annotated[int, Field(ge=1, le=10)] = 3,
        mixture_width: Annotated[int, Field(ge=1, le=8)] = 3,
        chain_depth: Annotated[int, Field(ge=-1, le=8)] = -1,
        alpha: Annotated[float, Field(gt=0, le=100)] = 1.0,
        *,
        all_ops: bool = True,
        interpolation: Interpolation = "bilinear",
        fill: Levels = 0,
        p: Share = 1.0,
    ) -> None:
        check_pixels(interpolation, fill, p=p)
        super().__init__(p=p)
        self._policy = AugMixPolicy(
            severity=severity,
            mixture_width=mixture_width,
            chain_depth=chain_depth,
            alpha=alpha,
            all_ops=all_ops,
        )
        self.severity, self.mixture_width = severity, mixture_width
        self.chain_depth, self.alpha, self.all_ops = chain_depth, alpha, all_ops
        self.interpolation, self.fill = interpolation, as_levels(fill)

    def spec(self) -> dict[str, dict[str, Any]]:
        """Return the transform as it stands in a recipe: ``{name: arguments}``."""
        return spec_of(self)

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the operations and magnitudes of each chain, and the weights."""
        there = [name for name in _REFUSED if name in data]
        if there:
            raise UsageError(
                "AugMix blends moved copies of an image, which leaves no place for"
                f" {', '.join(there)}: RandAugment and TrivialAugmentWide move them"
                " along",
                stage="augment",
            )
        numbers = TransformNumbers(self.random_generator)
        drawn = self._policy.draw(numbers, 1, params["shape"][:2])
        operations, magnitudes = drawn.chains
        chains = list(map(chain, operations[0], magnitudes[0]))
        return {
            "operations": [list(names) for names, _ in chains],
            "magnitudes": [list(strengths) for _, strengths in chains],
            "weights": tuple(drawn.weights[0].tolist()),
        }

    def apply(self, img: NDArray[Any], **params: Any) -> NDArray[Any]:  # noqa: ANN401
        """Return the mean, to the nearest level."""
        own, *weights = params["weights"]
        mean = np.float32(own) * img
        for names, strengths, weight in zip(
            params["operations"], params["magnitudes"], weights, strict=True
        ):
            copy = change(
                img,
                list(zip(names, strengths, strict=True)),
                interpolation=self.interpolation,
                fill=self.fill,
                name="AugMix",
            )
            mean += np.float32(weight) * copy
        made: NDArray[np.uint8] = np.rint(mean).clip(0, 255).astype(np.uint8)
        return made
