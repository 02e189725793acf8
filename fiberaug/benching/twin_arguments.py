"""The arguments of an operation on single images in the words of that on batches.

And back. Each function takes all arguments of an operation, defaults included, and
returns those of its twin that are not fixed. Conventions that differ between the two
libraries stand here and nowhere else: levels and shares, the sign of an angle, what a
number alone means.
"""

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["TRANSLATORS", "Arguments", "NoTwin", "Translate"]

Arguments = Mapping[str, Any]
Translate = Callable[[Arguments], dict[str, Any]]

_LEVELS = 255
_HUES = 180
"""Steps of OpenCV's hue for 8 bits: a turn."""
_SIGMAS = 3.5
"""Of a kernel to each side, where Albumentations computes its size."""


class NoTwin(Exception):  # an answer, not an error
    """These arguments cannot be said otherwise; the message is the reason."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _pair(name: str, value: Any, around: float | None = 0) -> list[float]:  # noqa: ANN401
    """Return [low, high]; a number alone is as far on both sides of ``around``."""
    if isinstance(value, list | tuple) and len(value) == 2:
        return list(value)
    if _is_number(value) and around is not None:
        return [_neat(around - value), _neat(around + value)]
    raise NoTwin(f"{name}={value!r} is no range of two numbers")


def _one(name: str, value: Any) -> Any:  # noqa: ANN401  # a number
    """Return the number of a range that holds only one."""
    if _is_number(value):
        return value
    low, high = _pair(name, value)
    if low != high:
        raise NoTwin(f"{name} is a range, and the other takes one number")
    return low


def _neat(value: float) -> float:
    """Return a number without the dust of 1 + 0.1 - 1."""
    return round(value, 12)


def _factor(name: str, value: Any) -> list[float]:  # noqa: ANN401
    """Return [low, high] of a factor; a number alone is as far on both sides of 1."""
    low, high = _pair(name, value, 1)
    return [max(0, low), high]


def _all(given: Arguments) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name != "p"}


def _sides(given: Arguments) -> dict[str, Any]:
    return {"size": [given["height"], given["width"]]}


def _sides_back(given: Arguments) -> dict[str, Any]:
    size = given["size"]
    height, width = (size, size) if _is_number(size) else size
    return {"height": height, "width": width}


def _resized_back(given: Arguments) -> dict[str, Any]:
    if _is_number(given["size"]):
        raise NoTwin("size is one number: the length of a side, whichever")
    return _sides_back(given)


def _cropped(given: Arguments) -> dict[str, Any]:
    return {name: list(given[name]) for name in ("size", "scale", "ratio")}


def _rotated(given: Arguments) -> dict[str, Any]:
    return {"degrees": _pair("limit", given["limit"])}


def _rotated_back(given: Arguments) -> dict[str, Any]:
    return {"limit": _pair("degrees", given["degrees"])}


def _axes(name: str, value: Any, default: float) -> tuple[list[float], list[float]]:  # noqa: ANN401
    """Return the ranges of x and y."""
    each = value if isinstance(value, Mapping) else {"x": value, "y": value}
    x, y = (each.get(axis, default) for axis in "xy")
    x, y = ([v, v] if _is_number(v) else _pair(name, v) for v in (x, y))
    return x, y


def _affine(given: Arguments) -> dict[str, Any]:
    if any(any(v) for v in _axes("shear", given["shear"], 0)):
        raise NoTwin("it shears: the two do it about different points")
    rotate = given["rotate"]
    low, high = [rotate, rotate] if _is_number(rotate) else _pair("rotate", rotate)
    made: dict[str, Any] = {"degrees": [_neat(0 - high), _neat(0 - low)]}
    x, y = _axes("scale", given["scale"], 1)
    if [*x, *y] != [1, 1, 1, 1]:
        made["scale"] = x if given["keep_ratio"] else [*x, *y]
    if given["translate_px"] is not None and given["translate_px"] != 0:
        raise NoTwin("translate_px is in pixels, and batches know shares alone")
    if given["translate_percent"] is not None:
        axes = _axes("translate_percent", given["translate_percent"], 0)
        if any(low != -high for low, high in axes):
            raise NoTwin("it moves more to one side, and batches to both alike")
        made["translate"] = [high for _, high in axes]
    return made


def _affine_back(given: Arguments) -> dict[str, Any]:
    low, high = _pair("degrees", given["degrees"])
    made: dict[str, Any] = {"rotate": [_neat(0 - high), _neat(0 - low)]}
    scale = given["scale"]
    if scale is not None and len(scale) == 2:
        made |= {"scale": list(scale), "keep_ratio": True}
    elif scale is not None:
        made["scale"] = {"x": list(scale[:2]), "y": list(scale[2:])}
    if given["translate"] is not None:
        x, y = given["translate"]
        made["translate_percent"] = {"x": [-x, x], "y": [-y, y]}
    return made


_COLORS = ("brightness", "contrast", "saturation")


def _jitter(given: Arguments) -> dict[str, Any]:
    made = {name: _factor(name, given[name]) for name in _COLORS}
    return {**made, "hue": _pair("hue", given["hue"])}


def _brightness(given: Arguments) -> dict[str, Any]:
    if any(_pair("contrast_limit", given["contrast_limit"])):
        raise NoTwin("it changes contrast and brightness at once, and clips once")
    limits = _pair("brightness_limit", given["brightness_limit"])
    return {"brightness": [_neat(1 + value) for value in limits]}


def _brightness_back(given: Arguments) -> dict[str, Any]:
    limits = _pair("brightness", given["brightness"], None)
    return {
        "brightness_limit": [_neat(value - 1) for value in limits],
        "contrast_limit": [0, 0],
    }


def _contrast(given: Arguments) -> dict[str, Any]:
    if any(_pair("brightness_limit", given["brightness_limit"])):
        raise NoTwin("it changes contrast and brightness at once, and clips once")
    limits = _pair("contrast_limit", given["contrast_limit"])
    return {"contrast": [_neat(1 + value) for value in limits]}


def _contrast_back(given: Arguments) -> dict[str, Any]:
    limits = _pair("contrast", given["contrast"], None)
    return {
        "brightness_limit": [0, 0],
        "contrast_limit": [_neat(value - 1) for value in limits],
    }


def _hue(given: Arguments) -> dict[str, Any]:
    for name in ("sat_shift_limit", "val_shift_limit"):
        if any(_pair(name, given[name])):
            raise NoTwin("it adds to saturation and value; batches multiply")
    limits = _pair("hue_shift_limit", given["hue_shift_limit"])
    return {"hue": [_neat(value / _HUES) for value in limits]}


def _hue_back(given: Arguments) -> dict[str, Any]:
    limits = _pair("hue", given["hue"])
    made: dict[str, Any] = {"hue_shift_limit": [_neat(v * _HUES) for v in limits]}
    return made | {"sat_shift_limit": [0, 0], "val_shift_limit": [0, 0]}


def _blur(given: Arguments) -> dict[str, Any]:
    size = given["blur_limit"]
    if _is_number(size) and size:
        raise NoTwin(f"blur_limit={size} draws the size of the kernel")
    return _blurred(given, _one("blur_limit", size))


def _blur_largest(given: Arguments) -> dict[str, Any]:
    size = given["blur_limit"]
    return _blurred(given, size if _is_number(size) else max(size))


def _blurred(given: Arguments, size: int) -> dict[str, Any]:
    sigma = given["sigma_limit"]
    if not isinstance(sigma, list | tuple):
        raise NoTwin(f"sigma_limit={sigma!r} begins at 0, where nothing is blurred")
    size = size or int(max(sigma) * _SIGMAS) * 2 + 1
    return {"kernel_size": [size, size], "sigma": list(sigma)}


def _blur_back(given: Arguments) -> dict[str, Any]:
    size = _one("kernel_size", given["kernel_size"])
    return {"blur_limit": [size, size], "sigma_limit": list(given["sigma"])}


def _noise(given: Arguments) -> dict[str, Any]:
    names = {"std": "std_range", "mean": "mean_range"}
    return {name: _one(of, given[of]) for name, of in names.items()}


def _noise_back(given: Arguments) -> dict[str, Any]:
    return {f"{name}_range": [given[name], given[name]] for name in ("std", "mean")}


def _solarized(given: Arguments) -> dict[str, Any]:
    return {"thresholds": _pair("threshold_range", given["threshold_range"], None)}


def _solarized_back(given: Arguments) -> dict[str, Any]:
    return {"threshold_range": _pair("thresholds", given["thresholds"], 0.5)}


def _posterized(given: Arguments) -> dict[str, Any]:
    bits = _one("num_bits", given["num_bits"])
    return {"bits": [bits, bits]}


def _posterized_back(given: Arguments) -> dict[str, Any]:
    if _is_number(given["bits"]):
        raise NoTwin("bits is one number: from there to 8 are drawn, fractions too")
    bits = _one("bits", given["bits"])
    if bits != int(bits):
        raise NoTwin(f"bits={bits} is not whole")
    return {"num_bits": int(bits)}


def _gamma(given: Arguments) -> dict[str, Any]:
    limits = _pair("gamma_limit", given["gamma_limit"], None)
    return {"gamma": [_neat(value / 100) for value in limits]}


def _gamma_back(given: Arguments) -> dict[str, Any]:
    limits = _pair("gamma", given["gamma"], None)
    return {"gamma_limit": [_neat(value * 100) for value in limits]}


_SHIFTS = ("r_shift_limit", "g_shift_limit", "b_shift_limit")


def _shift(given: Arguments) -> dict[str, Any]:
    made = {}
    for name in _SHIFTS:
        low, high = _pair(name, given[name])
        if low != -high:
            raise NoTwin(f"{name} is not alike on both sides of 0")
        made[name] = _neat(high / _LEVELS) if high > 1 else high
    return made


def _shift_back(given: Arguments) -> dict[str, Any]:
    return {name: _pair(name, given[name]) for name in _SHIFTS}


TRANSLATORS: Mapping[str, tuple[Translate, Translate]] = {
    "affine": (_affine, _affine_back),
    "all": (_all, _all),
    "blur": (_blur, _blur_back),
    "blur_largest": (_blur_largest, _blur_back),
    "brightness": (_brightness, _brightness_back),
    "contrast": (_contrast, _contrast_back),
    "cropped": (_cropped, _cropped),
    "gamma": (_gamma, _gamma_back),
    "hue": (_hue, _hue_back),
    "jitter": (_jitter, _jitter),
    "noise": (_noise, _noise_back),
    "posterized": (_posterized, _posterized_back),
    "resized": (_sides, _resized_back),
    "rotated": (_rotated, _rotated_back),
    "shift": (_shift, _shift_back),
    "sides": (_sides, _sides_back),
    "solarized": (_solarized, _solarized_back),
}
"""(To batches, back to workers), by what they are about."""
