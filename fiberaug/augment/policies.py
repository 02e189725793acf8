"""Augmentation policies as Albumentations transforms: drawn for each image, recorded.

What is drawn stands in the parameters by name, ``{"operations": ("Rotate",
"Posterize"), "magnitudes": (-9.0, 6.0)}``, and is all that pixels depend on.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import albumentations as A
from albumentations.augmentations.geometric import functional
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
from fiberaug.augment.policy_pixels import (
    change,
    move_boxes,
    move_mask,
    point_matrix,
)
from fiberaug.policies import (
    AutoAugmentPolicy,
    RandAugmentPolicy,
    TrivialAugmentPolicy,
)
from fiberaug.policy_checks import check_pixels

__all__ = ["AutoAugment", "RandAugment", "TrivialAugmentWide"]

_Bins = Annotated[int, Field(ge=2, le=1000)]


class _Policy(A.DualTransform):  # type: ignore[misc]  # Albumentations has no types
    """One operation behind the other; masks, boxes and points go along."""

    _targets = A.HorizontalFlip._targets  # noqa: SLF001  # all that an image has

    def __init__(
        self,
        policy: Any,  # noqa: ANN401  # one of fiberaug.policies
        interpolation: Interpolation,
        fill: Levels,
        fill_mask: float,
        p: float,
    ) -> None:
        check_pixels(interpolation, fill, fill_mask, p)
        super().__init__(p=p)
        self._policy = policy
        self.interpolation = interpolation
        self.fill = as_levels(fill)
        self.fill_mask = fill_mask

    def spec(self) -> dict[str, dict[str, Any]]:
        """Return the transform as it stands in a recipe: ``{name: arguments}``."""
        return spec_of(self)

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the operations that are done, and their signed magnitudes."""
        del data
        numbers = TransformNumbers(self.random_generator)
        drawn = self._policy.draw(numbers, 1, params["shape"][:2])
        names, magnitudes = chain(drawn.operations[0], drawn.magnitudes[0])
        return {"operations": names, "magnitudes": magnitudes}

    def apply(self, img: NDArray[Any], **params: Any) -> NDArray[Any]:  # noqa: ANN401
        """Return the image after the operations."""
        return change(
            img,
            _steps(params),
            interpolation=self.interpolation,
            fill=self.fill,
            name=type(self).__name__,
        )

    def apply_to_mask(self, mask: NDArray[Any], **params: Any) -> NDArray[Any]:  # noqa: ANN401
        """Return a mask moved as the image was, to the nearest pixel."""
        return move_mask(mask, _steps(params), self.fill_mask)

    def apply_to_bboxes(self, bboxes: NDArray[Any], **params: Any) -> NDArray[Any]:  # noqa: ANN401
        """Return the upright boxes around the moved boxes."""
        return move_boxes(bboxes, _steps(params), params["shape"][:2])

    def apply_to_keypoints(
        self,
        keypoints: NDArray[Any],
        **params: Any,  # noqa: ANN401
    ) -> NDArray[Any]:
        """Return points moved as the image was."""
        size = params["shape"][:2]
        matrix = point_matrix(_steps(params), size)
        if matrix is None or not len(keypoints):
            return keypoints
        moved: NDArray[Any] = functional.keypoints_affine(
            keypoints, matrix, size, {"x": 1, "y": 1}, border_mode=0
        )
        return moved


def _steps(params: dict[str, Any]) -> Sequence[tuple[str, float]]:
    return list(zip(params["operations"], params["magnitudes"], strict=True))


class RandAugment(_Policy):
    """Some operations, each one of 14, all at one strength (arXiv 1909.13719).

    Args:
        num_ops: Operations an image, 1 to 16.
        magnitude: Bin of the strength, 0 to ``num_magnitude_bins`` - 1.
        num_magnitude_bins: Bins from the weakest to the strongest, 2 to 1,000.
        interpolation: ``nearest`` or ``bilinear``, where pixels move.
        fill: Level, 0 to 255, of what comes from outside of the image; one, or one for
            each channel.
        fill_mask: Class id of what comes from outside of a mask.
        p: Probability that anything is done.

    Images are uint8 [H, W, C] with 1 or 3 channels.

    Raises:
        UsageError: An argument is out of its bounds.
    """

    def __init__(
        self,
        num_ops: Annotated[int, Field(ge=1, le=16)] = 2,
        magnitude: Annotated[int, Field(ge=0, le=999)] = 9,
        num_magnitude_bins: _Bins = 31,
        *,
        interpolation: Interpolation = "nearest",
        fill: Levels = 0,
        fill_mask: float = 0,
        p: Share = 1.0,
    ) -> None:
        policy = RandAugmentPolicy(
            num_ops=num_ops,
            magnitude=magnitude,
            num_magnitude_bins=num_magnitude_bins,
        )
        super().__init__(policy, interpolation, fill, fill_mask, p)
        self.num_ops, self.magnitude = num_ops, magnitude
        self.num_magnitude_bins = num_magnitude_bins


class TrivialAugmentWide(_Policy):
    """One operation of 14 at any strength of a wide range (arXiv 2103.10158).

    Args:
        num_magnitude_bins: Bins from the weakest to the strongest, 2 to 1,000.
        interpolation: See :class:`RandAugment`; also what follows.
        fill: Level of what comes from outside of the image.
        fill_mask: Class id of what comes from outside of a mask.
        p: Probability that anything is done.

    Raises:
        UsageError: An argument is out of its bounds.
    """

    def __init__(
        self,
        num_magnitude_bins: _Bins = 31,
        *,
        interpolation: Interpolation = "nearest",
        fill: Levels = 0,
        fill_mask: float = 0,
        p: Share = 1.0,
    ) -> None:
        policy = TrivialAugmentPolicy(num_magnitude_bins=num_magnitude_bins)
        super().__init__(policy, interpolation, fill, fill_mask, p)
        self.num_magnitude_bins = num_magnitude_bins


class AutoAugment(_Policy):
    """One of the 25 pairs of operations found on ImageNet (arXiv 1805.09501).

    Args:
        interpolation: See :class:`RandAugment`; also what follows.
        fill: Level of what comes from outside of the image.
        fill_mask: Class id of what comes from outside of a mask.
        p: Probability that a pair is drawn.

    Raises:
        UsageError: An argument is out of its bounds.
    """

    def __init__(
        self,
        *,
        interpolation: Interpolation = "nearest",
        fill: Levels = 0,
        fill_mask: float = 0,
        p: Share = 1.0,
    ) -> None:
        super().__init__(AutoAugmentPolicy(), interpolation, fill, fill_mask, p)
