"""Windows of photos as an Albumentations transform: drawn for each photo, recorded."""

from typing import Any

import albumentations as A
from numpy.typing import NDArray

from fiberaug.augment.ours import sized_crop
from fiberaug.record import Record
from fiberaug.training.windows import NUMBERS, Crop, Window, place_of

__all__ = ["TrainingWindow", "recorded_place"]


@sized_crop
class TrainingWindow(A.ImageOnlyTransform):  # type: ignore[misc]  # it has no types
    """A window of a photo, resized; only its pixels are decoded where they can be.

    The record holds ``crop_coords`` (x_min, y_min, x_max, y_max), px, ``photo``
    (height, width), px, and ``flipped``.

    Args:
        size: See :class:`fiberaug.training.windows.Crop`, as all others.
        scales: See there.
        centred: See there.
        flip: See there.
        p: Probability of a cut; below 1 sizes differ.
    """

    def __init__(
        self,
        size: tuple[int, int],
        scales: tuple[float, float | None] | None = None,
        *,
        centred: bool = False,
        flip: bool = False,
        p: float = 1.0,
    ) -> None:
        super().__init__(p=p)
        self.size: tuple[int, int] = (int(size[0]), int(size[1]))
        self.scales = None if scales is None else (scales[0], scales[1])
        self.centred, self.flip = centred, flip

    @property
    def crop(self) -> Crop:
        """How windows are drawn."""
        return Crop(
            size=self.size, scales=self.scales, centred=self.centred, flip=self.flip
        )

    @classmethod
    def of(cls, crop: Crop) -> "TrainingWindow":
        """Return the transform that draws as ``crop`` says."""
        return cls(crop.size, crop.scales, centred=crop.centred, flip=crop.flip)

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the window."""
        del data
        photo = tuple(params["shape"][:2])
        numbers = self.random_generator.random(NUMBERS).tolist()
        window = self.crop.draw(photo, numbers)
        return {"crop_coords": window.box, "photo": photo, "flipped": window.flipped}

    def apply(self, img: NDArray[Any], **params: Any) -> NDArray[Any]:  # noqa: ANN401
        """Return the pixels of the window, [h, w, C] of ``size``."""
        window = Window.of(params["crop_coords"], flipped=params["flipped"])
        pixels = img if img.ndim == 3 else img[..., None]
        return self.crop.cut(pixels, window)


def recorded_place(record: Record, size: tuple[int, int]) -> tuple[float, float, float]:
    """Return where the window of a record lies.

    Args:
        record: Of a photo whose last transform is :class:`TrainingWindow`.
        size: (height, width) to which windows are resized, px.
    """
    drawn = next(
        one.params
        for one in reversed(record.applied_transforms)
        if one.name == TrainingWindow.__name__
    )
    window = Window.of(drawn["crop_coords"], flipped=drawn["flipped"])
    return place_of(window, tuple(drawn["photo"]), size)
