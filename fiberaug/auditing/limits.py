"""What a recipe's arguments say of logged parameters, where the mapping is certain.

The tables name a parameter of a class and the argument that it is drawn from. They are
tried in the tests: each against what the libraries draw.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fiberaug.auditing.asked import Leaf
from fiberaug.auditing.binomial import beta_share

__all__ = ["Limits", "limits_of"]


class Limits(NamedTuple):
    """Where a parameter has to lie."""

    low: float
    high: float
    """Both are allowed."""

    law: str = ""
    """``uniform``, ``beta``, or empty: no distribution is asked for."""

    shape: float = 1.0
    """Of ``beta``: alpha, which is beta, too."""

    def share(self, value: float) -> float:
        """Return the distribution function that is asked for."""
        place = (value - self.low) / (self.high - self.low)
        if self.law == "beta":
            return beta_share(self.shape, self.shape, place)
        return min(1.0, max(0.0, place))

    def edges(self, count: int) -> list[float]:
        """Return values inside of the limits, evenly spaced."""
        width = self.high - self.low
        return [self.low + width * i / count for i in range(1, count)]


Params = Mapping[str, Any]
Range = tuple[float, float]

_UNIFORM: Mapping[str, Mapping[str, str]] = {
    "CLAHE": {"clip_limit": "clip_limit"},
    "ColorJitter": {n: n for n in ("brightness", "contrast", "saturation", "hue")},
    "Defocus": {"alias_blur": "alias_blur"},
    "Downscale": {"scale": "scale_range"},
    "HueSaturationValue": {
        "hue_shift": "hue_shift_limit",
        "sat_shift": "sat_shift_limit",
        "val_shift": "val_shift_limit",
    },
    "ISONoise": {"color_shift": "color_shift", "intensity": "intensity"},
    "PlasmaBrightnessContrast": {
        "brightness_factor": "brightness_range",
        "contrast_factor": "contrast_range",
    },
    "PlasmaShadow": {"intensity": "shadow_intensity_range"},
    "RandomGamma": {"gamma": "gamma_limit"},
    "RandomScale": {"scale": "scale_limit"},
    "Rotate": {"angle": "limit"},
    "SafeRotate": {"rotate": "limit"},
    "Sharpen": {"alpha": "alpha"},
    "ShiftScaleRotate": {"rotate": "rotate_limit"},
    "ShotNoise": {"scale": "scale_range"},
    "Solarize": {"threshold": "threshold_range"},
    "UnsharpMask": {"alpha": "alpha", "sigma": "sigma_limit"},
    "Affine": {"rotate": "rotate"},
}
"""Albumentations: parameter by argument, a pair (low, high)."""

_BETWEEN: Mapping[str, Mapping[str, str]] = {
    "Blur": {"kernel": "blur_limit"},
    "Defocus": {"radius": "radius"},
    "ImageCompression": {"quality": "quality_range"},
    "RandomResizedCrop": {"scale": "scale", "ratio": "ratio"},
    "UnsharpMask": {"ksize": "blur_limit"},
}
"""Albumentations: parameters of which only the ends are known."""

_SCALED: Mapping[str, Callable[[float], float]] = {
    "RandomGamma.gamma": lambda value: value / 100,
    "RandomScale.scale": lambda value: value + 1,
}

_JITTER = {
    "brightness_factor": "1 brightness",
    "contrast_factor": "1 contrast",
    "saturation_factor": "1 saturation",
    "hue_factor": "0 hue",
}
_KORNIA: Mapping[str, Mapping[str, str]] = {
    "ColorJiggle": _JITTER,
    "ColorJitter": _JITTER,
    "RandomAffine": {"angle": "0 degrees"},
    "RandomBrightness": {"brightness_factor": "brightness"},
    "RandomClahe": {"clip_limit_factor": "clip_limit"},
    "RandomContrast": {"contrast_factor": "contrast"},
    "RandomGamma": {"gamma_factor": "gamma", "gain_factor": "gain"},
    "RandomGaussianBlur": {"sigma": "sigma"},
    "RandomHue": {"hue_factor": "hue"},
    "RandomPlasmaBrightness": {"roughness": "roughness", "intensity": "intensity"},
    "RandomPlasmaContrast": {"roughness": "roughness"},
    "RandomPlasmaShadow": {
        "roughness": "roughness",
        "shade_intensity": "shade_intensity",
        "shade_quantity": "shade_quantity",
    },
    "RandomRGBShift": {
        "r_shift": "0 r_shift_limit",
        "g_shift": "0 g_shift_limit",
        "b_shift": "0 b_shift_limit",
    },
    "RandomRotation": {"degrees": "0 degrees"},
    "RandomSaturation": {"saturation_factor": "saturation"},
    "RandomSnow": {"snow_coefficient": "snow_coefficient", "brightness": "brightness"},
}
"""Kornia: parameter by argument; ``1 x``: a number x means 1 - x to 1 + x."""


def limits_of(leaf: Leaf) -> dict[str, Limits]:
    """Return the limits of an operation's parameters, as far as they are certain.

    Args:
        leaf: The operation, as the manifest says it.
    """
    if not leaf.known:
        return {}
    if leaf.path.startswith("batch."):
        return _of_mix(leaf)
    if leaf.path.startswith("gpu."):
        return _of_kornia(leaf)
    found = _of_tables(leaf)
    if leaf.name == "RandomBrightnessContrast":
        found |= _brightness(leaf.arguments)
    elif leaf.name == "Affine":
        found |= _scales(leaf.arguments)
    elif leaf.name == "Rotate" and not _turns_once(found.get("angle")):
        found.pop("angle", None)  # beyond half a turn two angles have one matrix
    return found


def _of_tables(leaf: Leaf) -> dict[str, Limits]:
    found = {}
    for law, table in (("uniform", _UNIFORM), ("", _BETWEEN)):
        for name, argument in table.get(leaf.name, {}).items():
            pair = _pair(leaf.arguments.get(argument))
            scaled = _SCALED.get(f"{leaf.name}.{name}")
            if pair is not None and scaled is not None:
                pair = scaled(pair[0]), scaled(pair[1])
            if pair is not None:
                found[name] = Limits(*pair, law)
    return found


def _brightness(arguments: Params) -> dict[str, Limits]:
    contrast = _pair(arguments.get("contrast_limit"))
    if contrast is None or arguments.get("ensure_safe_range"):
        return {}
    return {"alpha": Limits(1 + contrast[0], 1 + contrast[1], "uniform")}


def _scales(arguments: Params) -> dict[str, Limits]:
    scale = arguments.get("scale")
    if not isinstance(scale, Mapping) or arguments.get("fit_output"):
        return {}  # fitting changes what was drawn
    pairs = {axis: _pair(scale.get(axis)) for axis in ("x", "y")}
    free = not arguments.get("balanced_scale") and not arguments.get("keep_ratio")
    law = "uniform" if free else ""
    if arguments.get("keep_ratio"):
        pairs["y"] = pairs["x"]
    return {f"scale.{axis}": Limits(*p, law) for axis, p in pairs.items() if p}


def _turns_once(limits: Limits | None) -> bool:
    return limits is not None and -180 < limits.low <= limits.high < 180


def _of_kornia(leaf: Leaf) -> dict[str, Limits]:
    found = {}
    for name, rule in _KORNIA.get(leaf.name, {}).items():
        *middle, argument = rule.split()
        value = leaf.arguments.get(argument)
        pair = _pair(value)
        if pair is None and middle and isinstance(value, int | float):
            pair = float(middle[0]) - abs(value), float(middle[0]) + abs(value)
        if pair is None or (middle == ["1"] and (pair[0] < 0 or pair[1] > 2)):
            continue  # Kornia cuts what is beyond
        law = "" if leaf.arguments.get("same_on_batch") else "uniform"
        found[name] = Limits(*pair, law)
    return found


def _of_mix(leaf: Leaf) -> dict[str, Limits]:
    given = leaf.arguments
    match leaf.name:
        case "MixUp":
            return {"lam": Limits(0, 1, "beta", given["alpha"])}
        case "CutMix" | "MixUpOrCutMix":
            alpha = given.get("alpha", given.get("cutmix_alpha"))
            return {
                "lam": Limits(0, 1),
                "cut": Limits(0, 1, "beta", float(alpha)),
                "center[0]": Limits(0, 1, "uniform"),
                "center[1]": Limits(0, 1, "uniform"),
            }
    return {}


def _pair(value: object) -> Range | None:
    """Return two numbers that rise, or None."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        return None
    low, high = value
    if not all(isinstance(end, int | float) for end in value) or low > high:
        return None
    return float(low), float(high)
