"""What the arguments of a stranger's recipe may be: bounded before anything is built.

Each bound was chosen so that the transform, at its most expensive permitted arguments,
takes less than about 2 s for an RGB image of 512 x 512 px. What an image can grow to
is followed through the pipeline: a square of 2,048 px never has sides above 8,192 px.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from fiberaug.errors import UsageError
from fiberaug.recipe import MOST_OPERATIONS, shorten

__all__ = [
    "BOUNDS",
    "LARGEST_PX",
    "MOST_ITEMS",
    "MOST_TEXT",
    "NUMBER",
    "Bound",
    "bound_of",
    "check_growth",
    "check_values",
]

LARGEST_PX = 8192
"""Longest side of an image, in pixels."""
MOST_ITEMS = 1024
"""Items of a list or a mapping."""
MOST_TEXT = 1024
"""Characters of a text."""
_REFERENCE_PX = 2048


class Bound(NamedTuple):
    """The smallest and the largest number that an argument may hold."""

    low: float
    high: float


NUMBER = Bound(-1000, 1000)
"""Every number that has no bound of its own."""

_SIDE = Bound(1, LARGEST_PX)
_LENGTH = Bound(0, LARGEST_PX)
_SHIFT_PX = Bound(-2048, 2048)
_SHARE = Bound(0, 1)
_KERNEL = Bound(0, 99)
_SIGMA = Bound(0, 50)
_LEVEL = Bound(-65535, 65535)
_MAXIMUM = Bound(1e-6, 2**32)

BOUNDS: Mapping[str, Bound] = {
    # of every operation that has the argument
    "blur_limit": _KERNEL,
    "channels": Bound(0, 63),
    "drop_value": _LEVEL,
    "fill": _LEVEL,
    "fill_mask": _LEVEL,
    "height": _SIDE,
    "hole_height_range": _LENGTH,
    "hole_width_range": _LENGTH,
    "kernel_size": _KERNEL,
    "mask_drop_value": _LEVEL,
    "mask_x_length": _LENGTH,
    "mask_y_length": _LENGTH,
    "max_pixel_value": _MAXIMUM,
    "max_size": _SIDE,
    "max_size_hw": _SIDE,
    "max_value": _MAXIMUM,
    "min_height": _SIDE,
    "min_max_height": _SIDE,
    "min_width": _SIDE,
    "mean": _LEVEL,
    "n": Bound(1, MOST_OPERATIONS),
    "num_output_channels": Bound(1, 4),
    "p": _SHARE,
    "pad_height_divisor": _SIDE,
    "pad_width_divisor": _SIDE,
    "padding": _LENGTH,
    "percent": Bound(-1, 2),
    "px": Bound(-LARGEST_PX, LARGEST_PX),
    "ratio": Bound(0.01, 100),
    "shift_limit": Bound(-2, 2),
    "shift_limit_x": Bound(-2, 2),
    "shift_limit_y": Bound(-2, 2),
    "sigma_limit": _SIGMA,
    "size": _SIDE,
    "std": _LEVEL,
    "translate_percent": Bound(-2, 2),
    "translate_px": _SHIFT_PX,
    "width": _SIDE,
    "x_max": _LENGTH,
    "x_min": _LENGTH,
    "y_max": _LENGTH,
    "y_min": _LENGTH,
    # of one operation
    "Affine.scale": Bound(0.01, 10),
    "Affine.shear": Bound(-85, 85),
    "CLAHE.tile_grid_size": Bound(1, 64),
    "Defocus.alias_blur": Bound(0, 10),
    "Defocus.radius": Bound(1, 50),
    "Downscale.scale_range": Bound(0.01, 1),
    "ElasticTransform.alpha": Bound(0, 10_000),
    "ElasticTransform.sigma": Bound(1, 200),
    "Erasing.scale": _SHARE,
    "GlassBlur.iterations": Bound(1, 2),
    "GlassBlur.max_delta": Bound(1, 50),
    "GlassBlur.sigma": Bound(0.1, 50),
    "GridDistortion.num_steps": Bound(1, 100),
    "GridDropout.holes_number_xy": Bound(1, 100),
    "GridDropout.unit_size_range": Bound(2, LARGEST_PX),
    "GridElasticDeform.num_grid_xy": Bound(1, 16),
    "Morphological.scale": Bound(1, 64),
    "PlanckianJitter.temperature_limit": Bound(0, 15_000),
    "PlasmaBrightnessContrast.plasma_size": Bound(1, 1024),
    "PlasmaShadow.plasma_size": Bound(1, 1024),
    "Posterize.num_bits": Bound(0, 8),
    "RandomFog.fog_coef_range": Bound(0.1, 1),
    "RandomGravel.gravel_roi": _SHARE,
    "RandomGravel.number_of_patches": Bound(1, 100),
    "RandomGridShuffle.grid": Bound(1, 64),
    "RandomRain.blur_value": _KERNEL,
    "RandomRain.drop_length": Bound(0, 100),
    "RandomRain.drop_width": Bound(1, 20),
    "RandomScale.scale_limit": Bound(-0.99, 3),
    "RandomShadow.num_shadows_limit": Bound(1, 20),
    "RandomShadow.shadow_dimension": Bound(3, 100),
    "RandomShadow.shadow_roi": _SHARE,
    "RandomSunFlare.flare_roi": _SHARE,
    "RandomSunFlare.num_flare_circles_range": Bound(0, 100),
    "RandomSunFlare.src_color": Bound(0, 255),
    "RingingOvershoot.blur_limit": Bound(3, 51),
    "Sharpen.sigma": _SIGMA,
    "ShiftScaleRotate.scale_limit": Bound(-1, 9),
    "SmallestMaxSize.max_size": Bound(1, 4096),
    "SmallestMaxSize.max_size_hw": Bound(1, 4096),
    "Spatter.gauss_sigma": _SIGMA,
    "Superpixels.max_size": Bound(2, 256),
    "Superpixels.n_segments": Bound(1, 500),
    "ThinPlateSpline.num_control_points": Bound(2, 6),
    "ZoomBlur.max_factor": Bound(1, 2),
    "ZoomBlur.step_factor": Bound(0.01, 1),
}
"""Bounds by ``argument`` or ``Operation.argument``, the latter first."""


def bound_of(operation: str, argument: str) -> Bound:
    """Return the bound of the numbers in an argument."""
    return BOUNDS.get(f"{operation}.{argument}", BOUNDS.get(argument, NUMBER))


def check_values(operation: str, argument: str, value: object, where: str) -> None:
    """Check the size of everything in an argument, and each number.

    Args:
        operation: Name of the operation; with a dot, numbers only have to be finite.
        argument: Name of the argument.
        value: What the recipe says.
        where: Place of the operation, for the message.

    Raises:
        UsageError: With the argument, the value and the bound.
    """
    low, high = (
        (-math.inf, math.inf) if "." in operation else bound_of(operation, argument)
    )
    name = f"{where}: {operation}: {argument}"
    for item in _walk(value):
        if isinstance(item, str):
            if len(item) > MOST_TEXT:
                raise UsageError(
                    f"{name} has at most {MOST_TEXT} characters, got {len(item)}"
                )
        elif isinstance(item, list | tuple | dict):
            if len(item) > MOST_ITEMS:
                raise UsageError(
                    f"{name} has at most {MOST_ITEMS} items, got {len(item)}"
                )
        elif isinstance(item, int | float) and not low <= item <= high:
            raise UsageError(
                f"{name} must be from {low:g} to {high:g}, got {shorten(item)}"
            )


def _walk(value: object) -> Iterator[object]:
    yield value
    if isinstance(value, list | tuple):
        for item in value:
            yield from _walk(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _walk(item)


def check_growth(transforms: list[Any], where: str = "cpu") -> None:
    """Check how often and how far built transforms can be applied to an image.

    Args:
        transforms: Built transforms; the user's own operations are passed over.
        where: How messages call the list.

    Raises:
        UsageError: More than 256 operations can run on one image, or one of them can
            make an image of 2,048 x 2,048 px longer than 8,192 px.
    """
    runs = sum(map(_runs, transforms))
    if runs > MOST_OPERATIONS:
        raise UsageError(
            f"{where}: at most {MOST_OPERATIONS} operations run on one image,"
            f" got {runs}"
        )
    side = float(_REFERENCE_PX)
    for i, transform in enumerate(transforms):
        side = _side(transform, side, f"{where}[{i}]")


def _runs(transform: Any) -> int:  # noqa: ANN401
    children = getattr(transform, "transforms", None)
    if not children:
        return 1
    inner = [_runs(child) for child in children]
    name = type(transform).__name__
    if name in {"OneOf", "OneOrOther"}:
        return max(inner)
    return int(transform.n) * max(inner) if name in _DRAWS else sum(inner)


_DRAWS = {"SomeOf", "RandomOrder"}


def _side(transform: Any, side: float, where: str) -> float:  # noqa: ANN401
    """Return the longest side that a square image can have after a transform."""
    name = type(transform).__name__
    where = f"{where}.{name}"
    children = getattr(transform, "transforms", None)
    if not children:
        after = _leaf(transform, name, side)
        if after > LARGEST_PX:
            raise UsageError(
                f"{where} can make an image of {_REFERENCE_PX} x {_REFERENCE_PX} px"
                f" {after:.0f} px long; at most {LARGEST_PX} px"
            )
    elif name in {"OneOf", "OneOrOther"}:
        after = max(_side(t, side, f"{where}[{i}]") for i, t in enumerate(children))
    elif name in _DRAWS:
        after = side
        for _ in range(transform.n):
            before = after
            for i, child in enumerate(children):
                after = max(after, _side(child, before, f"{where}[{i}]"))
            if after == before:
                break
    else:
        after = side
        for i, child in enumerate(children):
            after = _side(child, after, f"{where}[{i}]")
    return max(after, side) if getattr(transform, "p", 1) < 1 else after


def _numbers(value: object) -> list[float]:
    return [v for v in _walk(value) if isinstance(v, int | float)] or [0]


_FIXED = {
    "CropNonEmptyMaskIfExists",
    "AtLeastOneBBoxRandomCrop",
    "CenterCrop",
    "LongestMaxSize",
    "RandomCrop",
    "RandomResizedCrop",
    "RandomSizedBBoxSafeCrop",
    "RandomSizedCrop",
    "Resize",
    "SmallestMaxSize",
}
_SIDES = ("size", "height", "width", "max_size", "max_size_hw")


def _leaf(t: Any, name: str, side: float) -> float:  # noqa: ANN401, PLR0911
    if name in _FIXED:
        return max(_numbers([getattr(t, a, None) for a in _SIDES]))
    match name:
        case "RandomScale":
            return side * (1 + max(_numbers(t.scale_limit)))
        case "Affine" if t.fit_output:
            shear = math.tan(math.radians(max(map(abs, _numbers(t.shear)))))
            return side * math.sqrt(2) * (1 + shear) * max(_numbers(t.scale))
        case "Perspective" if not t.keep_size:
            return side * math.sqrt(2)  # the sides of a quadrangle in the image
        case "Crop" if t.pad_if_needed:
            return max(_numbers([side, t.x_max, t.y_max]))
        case "Pad":
            return side + 2 * max(_numbers(t.padding))
        case "PadIfNeeded":
            return max(_numbers([side, t.min_height, t.min_width])) + max(
                _numbers([t.pad_height_divisor, t.pad_width_divisor])
            )
        case "CropAndPad":
            grown = side * max(_numbers(t.percent))
            return side + 2 * max(0, grown, *_numbers(t.px))
    return side
