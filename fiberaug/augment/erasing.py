"""Random erasing as an Albumentations transform: drawn for each image, recorded."""

from typing import Annotated, Any, Literal

import albumentations as A
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fiberaug.augment.policy_arguments import (
    Levels,
    Share,
    TransformNumbers,
    as_levels,
    spec_of,
)
from fiberaug.augment.policy_pixels import noise
from fiberaug.erasing import ErasingPolicy
from fiberaug.errors import UsageError
from fiberaug.policy_checks import check_chance, check_erased

__all__ = ["RandomErasing"]

_Ratio = Annotated[float, Field(ge=0.01, le=100)]


class RandomErasing(A.ImageOnlyTransform):  # type: ignore[misc]  # it has no types
    """A rectangle of random size, shape and place is erased (arXiv 1708.04896).

    The record holds ``box``, (top, left, height, width) in px, all 0 where none of ten
    tries fitted into the image, and ``noise_seed``.

    Args:
        scale: Smallest and largest area, shares of the image, 0 to 1.
        ratio: Smallest and largest height / width, 0.01 to 100.
        value: What is put there: a level from 0 to 255, one for each channel, or
            ``random``: uniform noise.
        p: Probability that anything is erased.

    Images are uint8, or float32 in [0, 1], [H, W, C]. Nothing moves: masks, boxes and
    points stay.

    Raises:
        UsageError: An argument is out of its bounds.
    """

    def __init__(
        self,
        scale: tuple[Share, Share] = (0.02, 0.33),
        ratio: tuple[_Ratio, _Ratio] = (0.3, 3.3),
        value: Levels | Literal["random"] = 0,
        *,
        p: Share = 0.5,
    ) -> None:
        check_chance(p)
        check_erased(value)
        super().__init__(p=p)
        self._policy = ErasingPolicy(scale=scale, ratio=ratio)
        self.scale, self.ratio = tuple(scale), tuple(ratio)
        self.value = as_levels(value)

    def spec(self) -> dict[str, dict[str, Any]]:
        """Return the transform as it stands in a recipe: ``{name: arguments}``."""
        return spec_of(self)

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the rectangle, and the seed of its noise."""
        del data
        numbers = TransformNumbers(self.random_generator)
        drawn = self._policy.draw(numbers, 1, params["shape"][:2])
        return {
            "box": tuple(drawn.boxes[0].tolist()),
            "noise_seed": int(drawn.seeds[0]),
        }

    def apply(self, img: NDArray[Any], **params: Any) -> NDArray[Any]:  # noqa: ANN401
        """Return the image with the rectangle erased."""
        if img.dtype not in {np.dtype(np.uint8), np.dtype(np.float32)}:
            raise UsageError(
                "RandomErasing takes uint8 images, or float32 in [0, 1], not"
                f" {img.dtype}: put ToFloat first",
                stage="augment",
            )
        top, left, height, width = params["box"]
        made = img.copy().reshape(*img.shape[:2], -1)
        channels = made.shape[2]
        levels = self._levels(params, made.shape)
        if levels.size not in {1, channels} and self.value != "random":
            raise UsageError(
                f"RandomErasing: value has {levels.size} levels, the image {channels}"
                " channels: give one level, or one for each",
                stage="augment",
            )
        if made.dtype == np.float32:
            levels = levels / np.float32(255)
        made[top : top + height, left : left + width] = levels
        return made.reshape(img.shape)

    def _levels(
        self, params: dict[str, Any], shape: tuple[int, int, int]
    ) -> NDArray[Any]:
        if self.value == "random":
            return noise(params["noise_seed"], params["box"], shape)
        return np.asarray(self.value)
