"""Numbers that follow from logged parameters, and that a recipe has bounds for."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Derived", "derived"]

_ROUNDING = 1e-5  # degrees


class Derived(NamedTuple):
    """A number that follows from parameters, which rounding has blurred."""

    value: float
    least: float
    most: float
    """Between these was what had been drawn."""


def derived(name: str, params: Mapping[str, Any]) -> dict[str, Derived]:
    """Return what follows from the parameters of an operation of Albumentations.

    Args:
        name: Class name.
        params: Its parameters, as a record has them.
    """
    try:
        if name == "RandomResizedCrop":
            return _crop(params["crop_coords"], params["shape"])
        if name == "Rotate":
            (cosine, sine, _), *_ = params["matrix"]
            angle = math.degrees(math.atan2(sine, cosine))
            return {"angle": Derived(angle, angle - _ROUNDING, angle + _ROUNDING)}
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError):
        pass  # not what this version of the library logs
    return {}


def _crop(box: Sequence[float], shape: Sequence[float]) -> dict[str, Derived]:
    """Return the part of the area, and width by height, before sides were rounded."""
    wide, high = box[2] - box[0], box[3] - box[1]
    height, width = shape[:2]
    area = height * width
    scale = Derived(
        wide * high / area,
        (wide - 0.5) * (high - 0.5) / area,
        (wide + 0.5) * (high + 0.5) / area,
    )
    if wide == width or high == height:  # what is left after ten tries, perhaps
        scale = Derived(scale.value, 0.0, math.inf)
    ratio = Derived(
        wide / high, (wide - 0.5) / (high + 0.5), (wide + 0.5) / (high - 0.5)
    )
    return {"scale": scale, "ratio": ratio}
