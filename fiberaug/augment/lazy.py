"""Drawing before decoding: the pipeline runs on an image that is not decoded yet.

In place of the pixels the pipeline gets an array of the right shape without any memory
behind it. Draws look at its shape alone. The first transform that executes gets pixels:
a crop those of its window, any other all of them. Draws, the generators' stream, masks
and boxes are those of a pipeline that got all pixels at once.
"""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol

import albumentations as A
import cv2
import numpy as np
from albumentations.augmentations.geometric import functional
from numpy.typing import NDArray

from fiberaug.augment.ours import SIZED_CROPS
from fiberaug.augment.spec import foreign, leaves

__all__ = ["Box", "Undecoded", "apply_undecoded", "can_wait", "draws_blind", "reach"]

Box = tuple[int, int, int, int]
"""(x_min, y_min, x_max, y_max), px of the upright image."""

_SIZED = (A.RandomSizedCrop, A.RandomResizedCrop)
_CROPS = frozenset(
    {
        *_SIZED,
        A.AtLeastOneBBoxRandomCrop,
        A.BBoxSafeRandomCrop,
        A.CenterCrop,
        A.Crop,
        A.CropNonEmptyMaskIfExists,
        A.RandomCrop,
        A.RandomCropFromBorders,
        A.RandomCropNearBBox,
        A.RandomSizedBBoxSafeCrop,
    }
)
_TO_SIDE = (A.LongestMaxSize, A.SmallestMaxSize)
_BLIND = _CROPS | {A.Resize, *_TO_SIDE}
"""What draws from the shape, boxes and masks alone."""

_COMPOSITIONS = frozenset(
    {A.Compose, A.OneOf, A.OneOrOther, A.RandomOrder, A.Sequential, A.SomeOf}
)
"""What hands the image on without looking at it."""


class Undecoded(Protocol):
    """An image that is decoded when somebody needs pixels of it."""

    @property
    def standin(self) -> NDArray[np.uint8]:
        """An array [H, W, C] of the image's shape, which holds nothing."""
        ...

    def whole(self, fit: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Return the image, uint8 [H, W, C]; see :meth:`window`."""
        ...

    def window(self, box: Box, fit: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Return the pixels of a window, uint8 [h, w, C].

        Args:
            box: The window.
            fit: (height, width) in px to which it is about to be resized. Where less
                than exact pixels is asked for, it may come smaller, but not than this.
        """
        ...


def can_wait(compose: A.Compose) -> bool:
    """Return whether a pipeline can run on a stand-in, and may gain by it."""
    found = [leaf for _, leaf in leaves(compose)]
    base = A.BasicTransform
    return (
        any(map(draws_blind, found))
        and _hands_on(compose)
        # Code that is not the library's could look at the stand-in.
        and all(
            type(leaf).__call__ is base.__call__
            and type(leaf).update_transform_params is base.update_transform_params
            for leaf in foreign(compose)
        )
    )


def _hands_on(compose: Any) -> bool:  # noqa: ANN401  # Albumentations has no types
    if not isinstance(compose, A.BaseCompose):
        return True
    return type(compose) in _COMPOSITIONS and all(map(_hands_on, compose.transforms))


def draws_blind(leaf: Any) -> bool:  # noqa: ANN401
    """Return whether a transform draws without looking at pixels."""
    return type(leaf) in _BLIND or type(leaf) in SIZED_CROPS


def apply_undecoded(
    leaf: Any,  # noqa: ANN401
    original: Callable[..., Any],
    params: Mapping[str, Any],
    data: dict[str, Any],
    image: Undecoded,
) -> Any:  # noqa: ANN401
    """Return what a transform makes of a sample whose image is a stand-in.

    Args:
        leaf: The transform.
        original: Its ``apply_with_params``.
        params: What was drawn.
        data: The sample.
        image: What the stand-in stands for.
    """
    kind = type(leaf)
    if kind in _CROPS or kind in SIZED_CROPS:
        box = params.get("crop_coords")
        if box is not None and not params.get("pad_params") and _inside(box, image):
            return _cropped(leaf, original, params, data, image)
    elif kind is A.Resize:
        fit = leaf.height, leaf.width
        return original(params, **data | {"image": image.whole(fit)})
    elif kind in _TO_SIDE:
        return _to_side(leaf, original, params, data, image)
    return original(params, **data | {"image": image.whole()})


def _inside(box: Box, image: Undecoded) -> bool:
    height, width = image.standin.shape[:2]
    return bool(0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height)


def _cropped(
    leaf: Any,  # noqa: ANN401
    original: Callable[..., Any],
    params: Mapping[str, Any],
    data: dict[str, Any],
    image: Undecoded,
) -> dict[str, Any]:
    """Return the sample, whose other fields are cropped where the image is."""
    fit = _fit(leaf)
    pixels = image.window(params["crop_coords"], fit)
    out: dict[str, Any]
    if fit is not None and pixels.shape[2] == 3 and type(leaf) not in SIZED_CROPS:
        # What the transform would do, past the library's wrappers: 10 us an image.
        out = {"image": _resized(leaf, pixels, fit)}
    else:
        height, width = pixels.shape[:2]
        moved = {"crop_coords": (0, 0, width, height), "shape": pixels.shape}
        out = original({**params, **moved}, image=pixels)
    return out | _others(original, params, data)


def _others(
    original: Callable[..., Any], params: Mapping[str, Any], data: dict[str, Any]
) -> dict[str, Any]:
    """Return what a transform makes of all fields but the image."""
    rest = {name: value for name, value in data.items() if name != "image"}
    found: dict[str, Any] = original(params, **rest) if rest else {}
    return found


def _resized(
    leaf: Any,  # noqa: ANN401
    pixels: NDArray[np.uint8],
    size: tuple[int, int],
) -> NDArray[Any]:
    if pixels.shape[:2] == size:
        return np.ascontiguousarray(pixels)
    how = leaf.interpolation
    if type(leaf) in _SIZED:
        how = leaf._get_interpolation_for_resize(pixels.shape[:2], "image")  # noqa: SLF001
    return cv2.resize(pixels, size[::-1], interpolation=how)


def _fit(leaf: Any) -> tuple[int, int] | None:  # noqa: ANN401
    """Return (height, width) to which a crop is resized, px; None: it is not."""
    if type(leaf) is A.RandomSizedBBoxSafeCrop:
        return leaf.height, leaf.width
    sized = type(leaf) in _SIZED or type(leaf) in SIZED_CROPS
    return tuple(leaf.size) if sized else None


def _to_side(
    leaf: Any,  # noqa: ANN401
    original: Callable[..., Any],
    params: Mapping[str, Any],
    data: dict[str, Any],
    image: Undecoded,
) -> Any:  # noqa: ANN401
    height, width = image.standin.shape[:2]
    scale = params["scale"]
    size = max(1, round(height * scale)), max(1, round(width * scale))
    pixels = image.whole(size)
    if pixels.shape[:2] == (height, width):
        return original(params, **data | {"image": pixels})
    # The transform would scale what is scaled already once more.
    area = leaf.area_for_downscale in {"image", "image_mask"} and scale < 1
    how = cv2.INTER_AREA if area else leaf.interpolation
    resized = np.ascontiguousarray(functional.resize(pixels, size, how))
    return {"image": resized} | _others(original, params, data)


class _Reached(Exception):  # it is no error: it ends a run of draws
    def __init__(self, box: Box | None) -> None:
        super().__init__()
        self.box = box


class _Probe:
    """Stands for an image of which nobody gets pixels."""

    def __init__(self, standin: NDArray[np.uint8]) -> None:
        self.standin = standin

    def whole(self, fit: tuple[int, int] | None = None) -> NoReturn:
        del fit
        raise _Reached(None)

    def window(self, box: Box, fit: tuple[int, int] | None = None) -> NoReturn:
        del fit
        raise _Reached(box)


def reach(run: Callable[[Undecoded], Any], image: Undecoded) -> Box | None:
    """Return the window that a pipeline will ask for; None: the whole image.

    Args:
        run: Runs the pipeline up to where it needs pixels.
        image: The image.
    """
    try:
        run(_Probe(image.standin))
    except _Reached as reached:
        return reached.box
    return None
